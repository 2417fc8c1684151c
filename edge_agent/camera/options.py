"""Options of a backend, checked: a misspelt one is an error, not a silent default."""

from typing import TypeVar

from capture_protocol.errors import InputError
from capture_protocol.rig import NodeCamera, Option

_Kind = TypeVar("_Kind", bool, int, float, str)


class Options:
    """Takes options out of a camera's section one by one; `finish` refuses what is left."""

    def __init__(self, config: NodeCamera) -> None:
        self._camera = config.name
        self._backend = config.backend
        self._left: dict[str, Option] = dict(config.options)
        self._known: list[str] = []

    def take(self, name: str, default: _Kind) -> _Kind:
        """The option's value, of the default's type.

        Raises:
            InputError: a value of another type.
        """
        self._known.append(name)
        value = self._left.pop(name, default)
        kind = type(default)
        if kind is float and type(value) is int:
            return kind(value)
        if type(value) is not kind:
            raise InputError(
                f"camera {self._camera}: option {name} must be {kind.__name__}, not {value!r}"
            )
        return value

    def finish(self) -> None:
        """Raise InputError where options are left that the backend does not know."""
        if self._left:
            raise InputError(
                f"camera {self._camera}: backend {self._backend} has no option "
                f"{', '.join(sorted(self._left))}",
                hint=f"it knows: {', '.join(self._known)}",
            )
