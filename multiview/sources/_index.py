"""Where every frame of a file is and when it was shown, from its packets alone.

Containers lie about frame counts and rates, so neither is used: the index is made of the
packets that are really there. A *packet number* counts packets in the order of the file, a
*frame number* counts frames in the order of presentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multiview.errors import SyncConfigError
from multiview.sources._numbered import LATEST_NS, Times

NS_PER_S = 1_000_000_000

Numbers = NDArray[np.int64]


class PacketRow(NamedTuple):
    """What the container says of one packet; stamps in ticks of the stream's time base."""

    pts: int | None
    dts: int | None
    position: int | None
    size: int
    key: bool
    discard: bool
    """True for what an edit list cuts away: needed to decode others, never shown."""


@dataclass(frozen=True)
class FrameIndex:
    """Times and decoding entry points of all frames, in order of presentation."""

    times_ns: Times
    packet_of_frame: Numbers
    frame_of_packet: Numbers
    """-1 for a packet that is not shown."""
    entry_of_frame: Numbers
    """The key packet at which decoding has to start to get this frame undamaged."""
    estimated: NDArray[np.bool_]
    """True where the container had no time for the frame."""
    sigma_ns: Times
    """Standard deviation of every time."""

    def __len__(self) -> int:
        return len(self.times_ns)

    def with_times(
        self, times_ns: Sequence[int | None], sigma_ns: Sequence[int] | int = 0
    ) -> FrameIndex:
        """The same frames with times from elsewhere, one per frame; None where there is none.

        Raises:
            SyncConfigError: not one time per frame, none at all, or one before the one before it.
        """
        if len(times_ns) != len(self):
            raise SyncConfigError(f"{len(times_ns)} times were given for {len(self)} frames")
        given = np.array([time for time in times_ns if time is not None], dtype=np.int64)
        if not len(given) or (np.diff(given) < 0).any():
            raise SyncConfigError("the given frame times go back, or there are none")
        period_ns = round(typical_period_ns(given) or typical_period_ns(self.times_ns))
        filled, known = _fill_gaps(times_ns, period_ns)
        sigma = np.broadcast_to(np.asarray(sigma_ns, dtype=np.int64), known.shape)
        return replace(
            self,
            times_ns=filled,
            estimated=~known,
            sigma_ns=np.where(known, sigma, period_ns),
        )


def ticks_to_ns(ticks: int, time_base: Fraction) -> int:
    """Exact conversion, rounded to the nearest nanosecond."""
    scale, per = time_base.numerator * NS_PER_S, time_base.denominator
    return (2 * ticks * scale + per) // (2 * per)


def typical_period_ns(times_ns: Times) -> float:
    """Mean distance of neighbours, leaving out gaps and repeats; 0 if there is none.

    The mean, because containers round times to ticks; of those near the middle one, because a
    gap is no rate.
    """
    steps = np.sort(np.diff(times_ns))
    steps = steps[steps > 0]
    if not len(steps):
        return 0.0
    middle = steps[len(steps) // 2]
    return float(steps[np.abs(steps - middle) <= middle / 2].mean())


def presentation_order(rows: Sequence[PacketRow]) -> list[int] | None:
    """Packet numbers in order of presentation, or None if the stamps do not tell it."""
    stamps = [row.pts for row in rows]
    if any(pts is None for pts in stamps):
        return None
    return sorted(range(len(rows)), key=lambda number: (stamps[number], number))


def build_index(
    rows: Sequence[PacketRow],
    order: Sequence[int],
    time_base: Fraction,
    assumed_period: Fraction,
) -> FrameIndex:
    """The index of packets ``rows`` that are shown in ``order``.

    ``assumed_period`` in seconds is used only where the container has no times at all. A time
    that the container gives is uncertain by the rounding to its ticks (tick/√12), an estimated
    one by a whole period.
    """
    stamps, known = _times_in_order(rows, order, time_base, assumed_period)
    shown = [place for place, number in enumerate(order) if not rows[number].discard]
    packets = np.array([order[place] for place in shown], dtype=np.int64)
    frame_of_packet = np.full(len(rows), -1, dtype=np.int64)
    frame_of_packet[packets] = np.arange(len(packets))
    period_ns = round(typical_period_ns(stamps) or assumed_period * NS_PER_S)
    tick_sigma_ns = round(time_base * NS_PER_S / sqrt(12))
    return FrameIndex(
        times_ns=stamps[shown],
        packet_of_frame=packets,
        frame_of_packet=frame_of_packet,
        entry_of_frame=_entries(rows, order)[packets],
        estimated=~known[shown],
        sigma_ns=np.where(known[shown], tick_sigma_ns, period_ns),
    )


def _times_in_order(
    rows: Sequence[PacketRow], order: Sequence[int], time_base: Fraction, assumed_period: Fraction
) -> tuple[Times, NDArray[np.bool_]]:
    """Time of every packet in ``order``, never decreasing, and whether the container knew it."""
    ticks = [rows[number].pts for number in order]
    if all(tick is None for tick in ticks):
        ticks = _decoding_stamps(rows)
    times = [None if tick is None else ticks_to_ns(tick, time_base) for tick in ticks]
    return _fill_gaps(times, max(1, round(assumed_period * NS_PER_S)))


def _decoding_stamps(rows: Sequence[PacketRow]) -> list[int | None]:
    """AVI and its like store no presentation times: the k-th frame shown gets the k-th stamp."""
    stamps = sorted(row.dts for row in rows if row.dts is not None)
    return list(stamps) if len(stamps) == len(rows) else [None] * len(rows)


def _fill_gaps(times_ns: Sequence[int | None], period_ns: int) -> tuple[Times, NDArray[np.bool_]]:
    """Straight lines between known times, ``period_ns`` steps outside; and which are known."""
    at = np.arange(len(times_ns), dtype=np.int64)
    known = np.array([time is not None and abs(time) < LATEST_NS for time in times_ns], np.bool_)
    places = at[known]
    if not len(places):
        return at * period_ns, known
    sure = np.maximum.accumulate(np.array([times_ns[place] for place in places], dtype=np.int64))
    between = np.interp(at, places, (sure - sure[0]).astype(np.float64))
    filled = sure[0] + np.rint(between).astype(np.int64)
    filled[places] = sure
    before, behind = at < places[0], at > places[-1]
    filled[before] = sure[0] - (places[0] - at[before]) * period_ns
    filled[behind] = sure[-1] + (at[behind] - places[-1]) * period_ns
    return filled, known


def _entries(rows: Sequence[PacketRow], order: Sequence[int]) -> Numbers:
    """For every packet the last key packet that precedes it both in the file and on screen.

    The second condition matters for open groups of pictures, whose leading pictures follow
    their key packet in the file but refer to the group before.
    """
    place = np.empty(len(rows), dtype=np.int64)
    place[list(order)] = np.arange(len(order))
    keys = np.array([n for n, row in enumerate(rows) if row.key], dtype=np.int64)
    if not len(keys):
        return np.zeros(len(rows), dtype=np.int64)
    number = np.arange(len(rows))
    candidate = np.searchsorted(keys, number, side="right") - 1
    while True:
        late = (candidate >= 0) & (place[keys[candidate]] > place)
        if not late.any():
            return np.where(candidate >= 0, keys[candidate], 0)
        candidate[late] -= 1
