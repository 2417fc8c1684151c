"""Builds the preloaded virtual clock (vclock.c), makes clocks, and knows the truth about them."""

import math
import mmap
import os
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from capture_protocol.clock import ClockReading, read_clock

SOURCE = Path(__file__).with_name("vclock.c")
_LAYOUT = struct.Struct("=Iiqqqddddqqqqq")
"""`struct clock_state`: natural alignment needs no padding in this order."""
_STA_UNSYNC = 0x0040
_NOMINAL_TICK = 10_000
_UNKNOWN_ERROR_US = 16_000_000  # the kernel's at boot (NTP_PHASE_LIMIT)
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class Oscillator:
    """How wrong a virtual clock is by itself."""

    offset_ns: int
    """Error at the start."""
    ppm: float
    """Constant frequency error."""
    wander_ppm: float = 0.0
    """Amplitude of a slow sine on top, as of a room's temperature."""
    wander_period_s: float = 60.0


class VirtualClock:
    """One simulated node's CLOCK_REALTIME, in a file that its processes share."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def wind(self, oscillator: Oscillator) -> None:
        """Power it on; no process that lives by it may run yet."""
        now = read_clock()
        self.path.write_bytes(
            _LAYOUT.pack(
                0,
                _STA_UNSYNC,
                now.mono_ns,
                now.mono_ns,
                now.real_ns + oscillator.offset_ns,
                oscillator.ppm,
                oscillator.wander_ppm,
                oscillator.wander_period_s,
                0.0,
                0,
                _NOMINAL_TICK,
                _UNKNOWN_ERROR_US,
                _UNKNOWN_ERROR_US,
                0,
            )
        )

    def environment(self, library: Path) -> dict[str, str]:
        """What a process needs in its environment to live by this clock."""
        return {"LD_PRELOAD": str(library), "VCLOCK_FILE": str(self.path)}

    def error_ns(self, now: ClockReading | None = None) -> int:
        """Virtual minus kernel CLOCK_REALTIME: the truth that no node can see."""
        now = now or read_clock()
        return self._shown_ns(now.mono_ns) - now.real_ns

    def _shown_ns(self, mono_ns: int) -> int:
        """As `virtual_ns` of vclock.c."""
        _, _, start_ns, base_mono_ns, base_real_ns, ppm, wander, period_s, adjusted, *_ = (
            self._snapshot()
        )

        def oscillator_error_ns(at_ns: int) -> float:
            elapsed_ns = at_ns - start_ns
            radians_per_ns = 2 * math.pi / (period_s * _NS_PER_S)
            wandered_ns = wander * 1e-6 / radians_per_ns
            return ppm * 1e-6 * elapsed_ns + wandered_ns * (
                1 - math.cos(radians_per_ns * elapsed_ns)
            )

        elapsed_ns = mono_ns - base_mono_ns
        gained_ns = oscillator_error_ns(mono_ns) - oscillator_error_ns(base_mono_ns)
        return base_real_ns + elapsed_ns + int(gained_ns + adjusted * 1e-6 * elapsed_ns)

    def _snapshot(self) -> tuple[int, ...]:
        with (
            self.path.open("rb") as file,
            mmap.mmap(file.fileno(), _LAYOUT.size, prot=mmap.PROT_READ) as shared,
        ):
            while True:
                before = bytes(shared)
                after = bytes(shared)
                if before == after and not _LAYOUT.unpack(before)[0] & 1:
                    return _LAYOUT.unpack(before)


def build(folder: Path) -> Path:
    """Compile the library into a folder; its path."""
    library = folder / "vclock.so"
    compiler = os.environ.get("CC") or shutil.which("gcc") or "cc"
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-restrict", "-shared", "-fPIC"]
    command = [compiler, *flags, "-o", str(library), str(SOURCE), "-ldl", "-lm"]
    subprocess.run(command, check=True)
    return library
