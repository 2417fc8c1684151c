"""Instants of many frame records at once; exact integer arithmetic, as for a single record."""

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from capture_protocol import Grid
from capture_protocol.grid import NS_PER_S

Instants = npt.NDArray[np.int64]
_INT64_MAX = 2**63 - 1


def midpoints_ns(records: npt.NDArray[np.void]) -> Instants:
    """Exposure midpoints of `FRAME_DTYPE` records, UTC ns: `capture_protocol.midpoint_ns`."""
    read_out = (records["rows"] // 2).astype(np.int64) * records["line_time_ns"]
    half_exposure = records["exposure_ns"].astype(np.int64) // 2
    instants: Instants = (
        records["frame_start_ns"] + records["sensor_delay_ns"] + read_out - half_exposure
    )
    return instants


def row_midpoints_ns(
    records: npt.NDArray[np.void], picture_rows: npt.NDArray[np.int64], height: int
) -> Instants:
    """When a row of the picture was half exposed, UTC ns.

    A picture ``height`` rows high may be scaled from the sensor's; its middle is the sensor's
    middle, and its whole height takes the sensor's whole read-out time.
    """
    readout_ns = records["rows"].astype(np.int64) * records["line_time_ns"]
    from_middle = (2 * picture_rows - height) * readout_ns // (2 * height)
    instants: Instants = midpoints_ns(records) + from_middle
    return instants


def slot_offsets_ns(rate: Fraction, slots: npt.NDArray[np.uint64]) -> Instants:
    """``n·Δ`` of many slots, rounded half up each: `Grid.offset_ns` without its loop.

    A slot is split into whole runs of ``rate.numerator`` slots, which last whole seconds times
    the denominator, and a rest; so 64 bits hold every product.
    """
    num, den = rate.numerator, rate.denominator
    if 2 * num * den * NS_PER_S + num > _INT64_MAX:  # no frame rate in use comes near
        grid = Grid(0, rate)
        return np.array([grid.offset_ns(int(slot)) for slot in slots], np.int64)
    runs, rest = np.divmod(slots.astype(np.int64), num)
    offsets: Instants = runs * (den * NS_PER_S) + (2 * rest * (den * NS_PER_S) + num) // (2 * num)
    return offsets
