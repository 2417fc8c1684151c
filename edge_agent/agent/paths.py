"""Where an agent keeps what."""

from dataclasses import dataclass
from pathlib import Path

from capture_protocol.rig import NodeConfig


@dataclass(frozen=True, slots=True)
class NodePaths:
    """Files of one node, beside node.toml."""

    folder: Path
    """Where node.toml and the keys lie."""
    state: Path
    """Spool, event logs and memory."""

    @classmethod
    def of(cls, config_path: Path, config: NodeConfig) -> "NodePaths":
        """The paths of a node.toml."""
        folder = config_path.resolve().parent
        return cls(folder, folder / config.state)

    @property
    def memory(self) -> Path:
        """`agent.json`."""
        return self.state / "agent.json"

    @property
    def spool(self) -> Path:
        """Root of all spools."""
        return self.state / "spool"

    def log(self, camera: str, stage: str) -> Path:
        """One event-log ring."""
        return self.state / "events" / f"{camera}.{stage}.ring"

    def make(self) -> None:
        """Create the folders.

        Raises:
            OSError: they cannot be made.
        """
        self.spool.mkdir(parents=True, exist_ok=True)
        (self.state / "events").mkdir(exist_ok=True)
