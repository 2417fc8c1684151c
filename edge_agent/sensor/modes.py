"""The table of sensor modes: what a sensor can do with its frame length, and how late it does it.

Line lengths, pixel rates and shortest blanking are those of the Raspberry Pi kernel drivers
(`drivers/media/i2c/imx708.c`, `imx477.c`, `imx219.c`, `imx296.c`); the resulting top rates are
those that `rpicam-hello --list-cameras` prints. Control delays are those of libcamera's camera
helpers. None was measured here on hardware.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from capture_protocol.errors import InputError
from capture_protocol.rig import SensorModeSection

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class SensorMode:
    """One read-out mode of one sensor. Times are nominal: a real sensor is ppm away from them."""

    name: str
    """Sensor and width, the key of the table: ``imx708-2304``."""
    width: int
    """Active pixels per row."""
    rows: int
    """Active rows, read out one per line time."""
    line_time_ns: float
    """Time to read one row; frame lengths are whole multiples of it."""
    shortest_lines: int
    """Shortest frame: active rows and the least vertical blanking."""
    vblank_delay: int
    """Frames from the write of a frame length to the frame that has it."""
    longest_lines: int = 65_535
    """Longest frame: the frame-length register of these sensors has 16 bits."""
    exposure_margin_lines: int = 48
    """An exposure ends at least this many lines before its frame does."""
    global_shutter: bool = False
    """All rows are exposed at one instant; otherwise row r is exposed r line times after row 0."""

    def __post_init__(self) -> None:
        """Raise InputError for values no sensor has: rig.toml may define modes of its own."""
        if not (self.line_time_ns >= 2_000 and 0 < self.rows <= self.shortest_lines):
            raise InputError(
                f"sensor mode {self.name}: a line takes at least 2 µs, and the shortest frame "
                "has at least the active rows"
            )
        if self.longest_lines < self.shortest_lines or not 0 <= self.vblank_delay <= 8:
            raise InputError(
                f"sensor mode {self.name}: the longest frame is not shorter than the shortest, "
                "and the control delay is 0 to 8 frames"
            )

    @property
    def shortest_frame_ns(self) -> float:
        """Duration of the shortest frame."""
        return self.shortest_lines * self.line_time_ns

    @property
    def top_rate_hz(self) -> float:
        """Frame rate of the shortest frame: the mode's own limit, without head-room."""
        return _NS_PER_S / self.shortest_frame_ns

    def lines_of(self, limit_us: int) -> int:
        """Return the frame length that libcamera programs for a limit: floored, then clamped."""
        lines = math.floor(limit_us * 1_000 / self.line_time_ns)
        return min(max(lines, self.shortest_lines), self.longest_lines)

    def limit_us(self, lines: int) -> int:
        """Return the integer-µs limit that `lines_of` turns into exactly this many lines.

        It lies a quarter line above them, so that it holds if the line time is a little off.
        """
        return math.ceil((lines + 0.25) * self.line_time_ns / 1_000)

    def midpoint_offset_ns(self, exposure_ns: float, row: float | None = None) -> float:
        """Return exposure midpoint minus frame start, of a row (default: the middle row).

        Frame start is the start of read-out of row 0, which ends its exposure; with a rolling
        shutter every later row follows by one line time (DESIGN: ``FS + row·line − exposure/2``).
        """
        if self.global_shutter:
            return -exposure_ns / 2
        row = self.rows / 2 if row is None else row
        return row * self.line_time_ns - exposure_ns / 2


def _mode(
    sensor: str, width: int, rows: int, line_px: int, pixel_rate_hz: int, shortest: int, delay: int
) -> SensorMode:
    line_time_ns = float(Fraction(line_px * _NS_PER_S, pixel_rate_hz))
    return SensorMode(
        name=f"{sensor}-{width}",
        width=width,
        rows=rows,
        line_time_ns=line_time_ns,
        shortest_lines=shortest,
        vblank_delay=delay,
        global_shutter=sensor == "imx296",
    )


#      sensor    width  rows  px/line  pixel rate  shortest  delay
_TABLE = (
    ("imx708", 4608, 2592, 15_664, 595_200_000, 2592 + 58, 3),
    ("imx708", 2304, 1296, 7_824, 585_600_000, 1296 + 40, 3),
    ("imx708", 1536, 864, 5_216, 566_400_000, 864 + 40, 3),
    ("imx477", 4056, 3040, 24_000, 840_000_000, 3500, 3),
    ("imx477", 2028, 1520, 12_740, 840_000_000, 1648, 3),
    ("imx477", 1332, 990, 6_664, 840_000_000, 1050, 3),
    ("imx219", 3280, 2464, 3_448, 182_400_000, 2464 + 32, 2),
    ("imx219", 1920, 1080, 3_448, 182_400_000, 1080 + 32, 2),
    ("imx219", 1640, 1232, 3_448, 182_400_000, 1232 + 32, 2),
    ("imx219", 640, 480, 3_448, 182_400_000, 480 + 32, 2),
    ("imx296", 1456, 1088, 1_100, 74_250_000, 1088 + 30, 2),
)

MODES: dict[str, SensorMode] = {mode.name: mode for mode in (_mode(*row) for row in _TABLE)}


def own_modes(sections: Iterable[SensorModeSection]) -> dict[str, SensorMode]:
    """The modes that rig.toml adds, by name. Raises InputError for values no sensor has."""
    return {section.name: SensorMode(**section.model_dump()) for section in sections}


def sensor_mode(name: str, more: dict[str, SensorMode] | None = None) -> SensorMode:
    """Return a mode by name, from ``more`` (the modes of rig.toml) or else from the table.

    Raises InputError that lists the known names.
    """
    known = {**MODES, **(more or {})}
    if name not in known:
        raise InputError(f"unknown sensor mode {name!r}", hint="known: " + ", ".join(sorted(known)))
    return known[name]
