"""Are the systemd units sound and locked up: `make lint-systemd`.

Every unit is verified, and every service's exposure is scored by systemd itself (0: locked up, 10:
wide open). Exit code 1 if a unit is unsound or too exposed.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from capture_protocol.errors import EnvironmentLackError

UNITS = Path(__file__).parents[1] / "systemd"
HARDWARE_LIMIT = 2.5
"""For services that need devices: cameras, or the clock in the network card."""
LIMIT = 1.5
"""For all others."""
HARDWARE = ("edge-agent.service", "phc2sys@.service")
_SCORE = re.compile(r"^→ Overall exposure level for \S+: ([0-9.]+)", re.MULTILINE)
_PROGRAM = re.compile(r"^(ExecStart=)\S+", re.MULTILINE)


@dataclass(frozen=True)
class Judgement:
    """What systemd says of one unit."""

    unit: str
    exposure: float | None
    """None for units that run nothing."""
    complaints: str
    """Of `systemd-analyze verify`; empty if there are none."""

    @property
    def limit(self) -> float:
        """Largest exposure that is allowed."""
        return HARDWARE_LIMIT if self.unit in HARDWARE else LIMIT

    @property
    def ok(self) -> bool:
        """Whether the unit may be shipped."""
        return not self.complaints and (self.exposure is None or self.exposure <= self.limit)


def judge_units(units: Path = UNITS) -> list[Judgement]:
    """Judge every unit of a folder.

    Raises:
        EnvironmentLackError: systemd-analyze is missing, or does not answer as it should.
    """
    if shutil.which("systemd-analyze") is None:
        raise EnvironmentLackError("systemd-analyze is missing", hint="sudo apt install systemd")
    with tempfile.TemporaryDirectory() as name:
        copies = Path(name)
        paths = sorted(path for path in units.iterdir() if path.is_file())
        for path in paths:
            _copy(path, copies / path.name)
        return [_judge(copies / path.name) for path in paths]


def _copy(unit: Path, copy: Path) -> None:
    """What a unit starts need not be installed here, and its port is one that exists."""
    text = _PROGRAM.sub(rf"\1{sys.executable}", unit.read_text())
    copy.write_text(text.replace("ListenStream=%i", "ListenStream=127.0.0.1:7710"))


def _judge(unit: Path) -> Judgement:
    verified = _analyze("verify", "--man=no", str(unit))
    complaints = (verified.stdout + verified.stderr).strip()
    if verified.returncode != 0 and not complaints:
        complaints = f"systemd-analyze verify: exit code {verified.returncode}"
    exposure = _exposure(unit) if unit.suffix == ".service" else None
    return Judgement(unit.name, exposure, complaints)


def _exposure(unit: Path) -> float:
    done = _analyze("security", "--offline=true", "--no-pager", str(unit))
    found = _SCORE.search(done.stdout)
    if found is None:
        raise EnvironmentLackError(f"systemd-analyze gives no score: {done.stderr.strip()}")
    return float(found[1])


def _analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False
    )


def main() -> int:
    """Print all judgements; the exit code."""
    console = Console()
    try:
        judgements = judge_units()
    except EnvironmentLackError as error:
        console.print(f"error: {error}\n  hint: {error.hint}", markup=False)
        return error.exit_code
    table = Table("unit", "exposure", "at most", "", box=None, pad_edge=False)
    for judged in judgements:
        score = "" if judged.exposure is None else f"{judged.exposure:.1f}"
        limit = "" if judged.exposure is None else f"{judged.limit:.1f}"
        verdict = "[green]ok[/]" if judged.ok else "[bold red]failed[/]"
        table.add_row(judged.unit, score, limit, verdict)
    console.print(table)
    for judged in judgements:
        if judged.complaints:
            console.print(f"{judged.unit}: {judged.complaints}", markup=False)
    return 0 if all(judged.ok for judged in judgements) else 1


if __name__ == "__main__":
    sys.exit(main())
