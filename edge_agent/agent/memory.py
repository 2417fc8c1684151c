"""What an agent must still know after a kill: replays, the running session, what is not sealed."""

from fractions import Fraction
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from capture_protocol.errors import InputError
from capture_protocol.grid import parse_rate
from capture_protocol.publish import publish_text


class AgentMemory(BaseModel):
    """`agent.json` in the state folder; published whole at every change."""

    model_config = ConfigDict(extra="forbid")

    finished: int = 0
    """Highest session finished here: a START must be newer."""
    start: str = ""
    """START datagram of the session being recorded, in hex."""
    stop: str = ""
    """Its STOP datagram."""
    rate: str = "30"
    """Frame rate of the last session: cameras are kept locked to it while idle."""
    unsealed: dict[int, str] = {}
    """START datagrams of sessions whose frames or logs the server may still want."""

    @property
    def idle_rate(self) -> Fraction:
        """`rate`, exact."""
        return parse_rate(self.rate)

    @classmethod
    def load(cls, path: Path) -> "AgentMemory":
        """What was published last, or a new memory.

        Raises:
            InputError: the file is damaged.
        """
        if not path.exists():
            return cls()
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise InputError(
                f"{path} is damaged: {error}",
                hint="delete it: the agent then forgets the running session and old replays",
            ) from error

    def save(self, path: Path) -> None:
        """Publish it atomically.

        Raises:
            OSError: the disk is full or read-only.
        """
        publish_text(path, self.model_dump_json(indent=1) + "\n")
