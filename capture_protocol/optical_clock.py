"""A clock that machines read in the picture itself.

A simulated camera draws the true instant of its exposure into every frame; the audit reads it
back from the decoded video. What the stream claims about a frame can so be checked against
pixels that went through encoder, network and segmenter.

Three bands (top, middle, bottom) each hold two rows of 40 square black and white cells: a
64-bit instant (ns) and its CRC-16/CCITT, most significant bit first. A cell is ``width // 40``
pixels, at least 4; at 640 pixels it is one 16-pixel macroblock. Three bands, because a rolling
shutter exposes the rows of one frame at different instants: the instant of a band is the
exposure midpoint of its centre row.
"""

import binascii
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capture_protocol.errors import InputError

BAND_COUNT = 3
CELLS_PER_ROW = 40
MIN_CELL_PX = 4
BLACK, WHITE = 16, 235  # limited-range video levels (ITU-R BT.601), which every encoder keeps

_CODE = struct.Struct(">QH")  # instant_ns, CRC-16: the 80 bits of a band
_CRC_START = 0xFFFF  # so that an all-black band is not a valid code
_MIN_CONTRAST = 60.0  # grey levels between the darkest and the brightest cell of a real band
_AMBIGUOUS = 0.2  # a cell this close to the threshold (fraction of contrast) voids the band

Luma = NDArray[np.uint8]


class BandReading(NamedTuple):
    """What one band shows: its centre row, and the instant or None where it is unreadable."""

    row: int
    instant_ns: int | None


def band_rows(height: int, width: int) -> tuple[int, ...]:
    """Return the centre rows of the bands, top to bottom; each starts a row of cells.

    Raises InputError where the picture is too small to hold the clock.
    """
    cell = _cell_px(height, width)
    return (cell, height // 2, height - cell)


def fits(height: int, width: int) -> bool:
    """Tell whether a picture of this size can hold the clock."""
    cell = width // CELLS_PER_ROW
    return cell >= MIN_CELL_PX and height >= 2 * BAND_COUNT * cell


def draw(luma: Luma, instants_ns: Sequence[int]) -> None:
    """Draw one instant per band into a luma plane (height x width, uint8), in place.

    Raises InputError for a picture that is too small, a wrong number of instants, or an
    instant outside 0 .. 2**64 - 1 ns.
    """
    rows = band_rows(*luma.shape)
    if len(instants_ns) != len(rows):
        raise InputError(
            f"the optical clock has {len(rows)} bands, got {len(instants_ns)} instants"
        )
    cell = luma.shape[1] // CELLS_PER_ROW
    for row, instant_ns in zip(rows, instants_ns, strict=True):
        upper, lower = np.repeat(_encode(instant_ns), cell, axis=1)
        luma[row - cell : row, : upper.size] = upper
        luma[row : row + cell, : lower.size] = lower


def read(luma: Luma) -> list[BandReading]:
    """Read every band of a luma plane; an empty list where the picture is too small for them.

    A band is readable when its contrast is sufficient, no cell is ambiguous and the CRC holds.
    """
    if not fits(*luma.shape):
        return []
    return [BandReading(row, _read_band(luma, row)) for row in band_rows(*luma.shape)]


def _cell_px(height: int, width: int) -> int:
    if not fits(height, width):
        raise InputError(
            f"a {width}x{height} picture is too small for the optical clock",
            hint=f"use at least {CELLS_PER_ROW * MIN_CELL_PX} pixels in width and a height of "
            "three twentieths of the width",
        )
    return width // CELLS_PER_ROW


def _encode(instant_ns: int) -> Luma:
    """Return the cells of one band: 2 x 40 grey levels."""
    if not 0 <= instant_ns < 1 << 64:
        raise InputError(f"the optical clock cannot show {instant_ns} ns: it is not in 64 bits")
    payload = instant_ns.to_bytes(8, "big")
    code = payload + binascii.crc_hqx(payload, _CRC_START).to_bytes(2, "big")
    bits = np.unpackbits(np.frombuffer(code, np.uint8)).reshape(2, CELLS_PER_ROW)
    return np.where(bits, np.uint8(WHITE), np.uint8(BLACK))


def _read_band(luma: Luma, row: int) -> int | None:
    levels = _cell_levels(luma, row)
    darkest, brightest = float(levels.min()), float(levels.max())
    contrast = brightest - darkest
    signed = levels - (darkest + brightest) / 2
    if contrast < _MIN_CONTRAST or np.abs(signed).min() < _AMBIGUOUS * contrast:
        return None
    code = np.packbits(signed.ravel() > 0).tobytes()
    instant_ns, crc = _CODE.unpack(code)
    return int(instant_ns) if crc == binascii.crc_hqx(code[:8], _CRC_START) else None


def _cell_levels(luma: Luma, row: int) -> NDArray[np.float64]:
    """Return the mean grey of the inner half of each cell: blur at the edges does not count."""
    cell = luma.shape[1] // CELLS_PER_ROW
    rim = cell // 4
    band = luma[row - cell : row + cell, : CELLS_PER_ROW * cell]
    cells = band.reshape(2, cell, CELLS_PER_ROW, cell)
    inner: NDArray[np.float64] = cells[:, rim : cell - rim, :, rim : cell - rim].mean(axis=(1, 3))
    return inner
