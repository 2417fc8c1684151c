"""Where a video shows flashes: the rows that are lit, frame by frame.

A flash lights rows for at most one exposure, so it is a deviation from the temporal median of
a row that lasts a frame or two. Slow changes, moving objects and lasting steps of light do not
deviate from that median.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter, uniform_filter1d

from multiview.flash._features import Float32, RowFeatures

Bool = npt.NDArray[np.bool_]

MEDIAN_FRAMES = 7  # three frames on either side outvote a flash of up to three frames
MAX_BURST_FRAMES = 4  # two flashes in a row; what lasts longer is no flash
DARK_LEVEL = 4.0  # luminance added to the ambient before dividing, so that black rows stay quiet
MIN_GAIN = 0.05  # a weaker brightening is not told from the scene
MOTION_QUANTILE = 0.95  # of the change within two frames, by which a median may lag behind
MOTION_FACTOR = 2.0
SAMPLED_FRAMES = 500  # enough to know the motion
SMOOTH_SHARE = 1 / 90  # of the picture's height, over which rows are averaged to find lit runs
MIN_RUN_SHARE = 1 / 50  # of the height: narrower lit runs are ignored
BORDER_ROWS = 3  # an edge so near the picture's border counts as beyond it
LIT_SHARE = 0.3  # of the flash's peak gain: rows above it count as lit


@dataclass(frozen=True)
class Piece:
    """The rows of one frame that one flash lit."""

    frame: int
    """index of the frame"""
    first: int
    """first lit row"""
    end: int
    """row after the last lit one"""
    gain: Float32
    """H relative gains of this frame's rows over the ambient"""

    @property
    def begins_inside(self) -> bool:
        """Whether the leading edge lies within the picture."""
        return self.first >= BORDER_ROWS

    @property
    def ends_inside(self) -> bool:
        """Whether the trailing edge lies within the picture."""
        return self.end <= len(self.gain) - BORDER_ROWS

    @property
    def level(self) -> float:
        """Gain of the fully lit rows."""
        return float(np.quantile(self.gain[self.first : self.end], 0.8))

    def upside_down(self) -> Piece:
        """Return the piece with the rows in opposite order."""
        height = len(self.gain)
        return Piece(self.frame, height - self.end, height - self.first, self.gain[::-1])


@dataclass(frozen=True)
class Sighting:
    """One flash in one video: a piece in one frame, or in two successive ones."""

    pieces: tuple[Piece, ...]

    @property
    def frame(self) -> int:
        """Index of the first frame that shows it."""
        return self.pieces[0].frame

    @property
    def level(self) -> float:
        """Gain of the fully lit rows."""
        return max(piece.level for piece in self.pieces)


def find_pieces(features: RowFeatures) -> list[Piece]:
    """Return what flashes lit, by frame and row."""
    gain, threshold = _relative_gain(features.luminance)
    height = features.height
    width = max(3, round(height * SMOOTH_SHARE))
    shortest = max(2, round(height * MIN_RUN_SHARE))
    smooth = uniform_filter1d(gain, width, axis=1, mode="nearest")
    pieces: list[Piece] = []
    for burst in _bursts(smooth.max(axis=1) > threshold):
        level = max(LIT_SHARE * float(smooth[burst].max()), threshold)
        runs = [(k, *run) for k in burst for run in _runs(smooth[k] > level, shortest)]
        if len({k for k, _, _ in runs}) <= MAX_BURST_FRAMES:
            pieces += [Piece(k, first, end, gain[k]) for k, first, end in runs]
    return pieces


def reading_order(pieces: list[Piece]) -> int:
    """Tell from flashes that span two frames which way the rows were read.

    The earlier of the two frames is lit in the rows that were read last. Positive: top first;
    negative: bottom first, so the picture is upside down; 0: no flash tells.
    """
    votes = 0
    for one, two in pairwise(pieces):
        if two.frame == one.frame + 1:
            votes += one.begins_inside and not one.ends_inside and not two.begins_inside
            votes -= one.ends_inside and not one.begins_inside and not two.ends_inside
    return votes


def turned(pieces: list[Piece]) -> list[Piece]:
    """Return the pieces of the picture turned upside down."""
    return sorted((p.upside_down() for p in pieces), key=lambda p: (p.frame, p.first))


def chain(pieces: list[Piece]) -> list[Sighting]:
    """Join what one flash lit at the end of a frame and at the beginning of the next."""
    sightings: list[Sighting] = []
    for piece in pieces:
        last = sightings[-1].pieces[-1] if sightings else None
        continues = (
            last is not None
            and piece.frame == last.frame + 1
            and not last.ends_inside
            and not piece.begins_inside
        )
        if continues and len(sightings[-1].pieces) == 1:
            sightings[-1] = Sighting((*sightings[-1].pieces, piece))
        else:
            sightings.append(Sighting((piece,)))
    return sightings


def _relative_gain(luminance: Float32) -> tuple[Float32, float]:
    """Gain over the ambient, and the gain that motion and noise do not reach."""
    ambient = median_filter(luminance, (MEDIAN_FRAMES, 1), mode="nearest") + DARK_LEVEL
    gain: Float32 = (luminance + DARK_LEVEL) / ambient - 1
    some = slice(None, None, max(1, len(luminance) // SAMPLED_FRAMES))
    moved = np.abs(luminance[2:][some] - luminance[:-2][some]) / ambient[2:][some]
    return gain, max(MOTION_FACTOR * float(np.quantile(moved, MOTION_QUANTILE)), MIN_GAIN)


def _runs(mask: Bool, shortest: int) -> Iterator[tuple[int, int]]:
    """Yield the half-open ranges of True that are long enough."""
    steps = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    for first, end in steps.reshape(-1, 2):
        if end - first >= shortest:
            yield int(first), int(end)


def _bursts(lit: Bool) -> Iterator[list[int]]:
    """Yield runs of successive lit frames."""
    frames = np.flatnonzero(lit)
    for group in np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1):
        if len(group):
            yield [int(frame) for frame in group]
