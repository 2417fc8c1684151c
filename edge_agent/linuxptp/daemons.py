"""Which programs on this node steer CLOCK_REALTIME: read from the process table."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_NTP = frozenset({"chronyd", "ntpd", "systemd-timesyncd", "openntpd"})
_KNOWN = _NTP | {"ptp4l", "phc2sys", "timemaster", "ts2phc"}
_CHRONY_HANDS_OFF = "-x"  # chronyd then serves time but does not steer the clock


@dataclass(frozen=True)
class Daemon:
    """A running program that may steer a clock."""

    name: str
    arguments: tuple[str, ...] = ()

    def option(self, flag: str, default: str = "") -> str:
        """Return the value after a flag, or glued to it (``-s eth0``, ``-seth0``)."""
        for position, argument in enumerate(self.arguments):
            if argument == flag and position + 1 < len(self.arguments):
                return self.arguments[position + 1]
            if argument.startswith(flag) and len(argument) > len(flag):
                return argument[len(flag) :]
        return default

    @property
    def is_ntp(self) -> bool:
        """Whether this is an NTP client that steers CLOCK_REALTIME."""
        return self.name in _NTP and _CHRONY_HANDS_OFF not in self.arguments

    @property
    def automatic(self) -> bool:
        """Whether a phc2sys finds its clocks by itself (``-a``, ``-r``, ``-ar``, ``-arr``)."""
        return any(
            argument.startswith("-a") and set(argument[1:]) <= {"a", "r"}
            for argument in self.arguments
        )

    @property
    def both_ways(self) -> bool:
        """Whether an automatic phc2sys takes CLOCK_REALTIME as a source, too (``-arr``)."""
        flags = [argument for argument in self.arguments if set(argument) <= set("-ar")]
        return self.automatic and sum(argument.count("r") for argument in flags) >= 2

    @property
    def source(self) -> str:
        """What a phc2sys copies from: an interface, a device or a clock's name."""
        return self.option("-s")

    @property
    def sink(self) -> str:
        """What a phc2sys copies to; CLOCK_REALTIME unless told otherwise."""
        if self.automatic:
            follows = any(set(argument) == {"-", "a", "r"} for argument in self.arguments)
            return "CLOCK_REALTIME" if follows or "-r" in self.arguments else ""
        return self.option("-c", "CLOCK_REALTIME")


def find_daemons(processes: Iterable[tuple[str, ...]]) -> tuple[Daemon, ...]:
    """Return the known clock programs among command lines."""
    named = ((Path(line[0]).name, line[1:]) for line in processes if line)
    return tuple(Daemon(name, arguments) for name, arguments in named if name in _KNOWN)


def read_processes(proc: Path = Path("/proc")) -> list[tuple[str, ...]]:
    """Return the command line of every process that may be read."""
    lines = []
    for folder in proc.glob("[0-9]*"):
        try:
            content = (folder / "cmdline").read_bytes()
        except OSError:  # it has ended meanwhile, or belongs to another user's namespace
            continue
        words = content.decode(errors="replace").rstrip("\0").split("\0")
        if words[0]:
            lines.append(tuple(words))
    return lines
