"""What holds files, devices or threads until it is released."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType


class Released(ABC):
    """Something with ``release``, which the end of a ``with`` calls; how it begins differs."""

    @abstractmethod
    def release(self) -> None:
        """Let go of everything; may be called more than once."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
