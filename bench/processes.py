"""CPU time and memory of running processes, from /proc (proc(5))."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """What a set of processes has used."""

    cpu_s: float
    memory_bytes: int
    """Proportional set size: shared pages are divided among their users."""


def usage(pids: Iterable[int]) -> Usage:
    """Sum over processes; those that have ended count for nothing."""
    cpu_s, memory = 0.0, 0
    for pid in pids:
        try:
            cpu_s += _cpu_s(pid)
            memory += _pss_bytes(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return Usage(cpu_s, memory)


def session_members(leader: int) -> list[int]:
    """All processes of the session that ``leader`` started."""
    return [pid for pid in _all_pids() if _session(pid) == leader]


def working_below(folder: Path) -> list[int]:
    """All processes whose working folder lies below ``folder``."""
    return [pid for pid in _all_pids() if _working_folder(pid).is_relative_to(folder)]


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _cpu_s(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _session(pid: int) -> int:
    try:
        return int(_stat(pid)[3])
    except (FileNotFoundError, ProcessLookupError):
        return -1


def _stat(pid: int) -> list[str]:
    """Fields from the state on: the name before it may hold blanks."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _pss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * _KIB
    return 0


def _working_folder(pid: int) -> Path:
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return Path("/")
