"""Sources seen through the common timeline: frame n of each shows the same instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from multiview.sources import Clock, Frame, Image, NumberedSource, Times, VideoMetadata
from multiview.timeline import Timeline

Float64 = npt.NDArray[np.float64]

NEAR_PERIODS = 0.75  # of a source's own: a frame farther from an instant does not show it
NO_FRAME = -1


class SynchronizedImageSource(NumberedSource):
    """One source's frames for given instants of the common timeline.

    Frame ``n`` is the source's frame nearest to ``instants_ns[n]``; where there is none near, it
    has no picture and says so. ``uncertainty_ns`` is that of the shown frame's time.
    """

    def __init__(
        self, source: NumberedSource, line: Timeline, instants_ns: Times, numbers: Times
    ) -> None:
        self.camera_id = source.camera_id
        self._source = source
        self._line = line
        self._instants = instants_ns
        self._numbers = numbers

    @property
    def times_ns(self) -> Times:
        """The instants (ns) on the common timeline."""
        return self._instants

    def __len__(self) -> int:
        return len(self._instants)

    def get_image(self, number: int) -> Image | None:
        """H×W×3 uint8 BGR of frame ``number``, or None if the source has no frame there."""
        return self.frame_by_number(number).image

    def frame_by_number(self, number: int) -> Frame:
        """Frame ``number``; its time is the instant, its source time says what is shown."""
        self._check_number(number)
        instant = int(self._instants[number])
        own = int(self._numbers[number])
        if own == NO_FRAME:
            return Frame(self.camera_id, instant, number, reason="no frame near this instant")
        shown = self._source.frame_by_number(own)
        return Frame(
            self.camera_id,
            instant,
            number,
            picture=shown.picture,
            uncertainty_ns=round(self._line.sigma_ns(shown.time_ns)),
            source_time_ns=shown.time_ns,
            reason=shown.reason,
            metadata=shown.metadata,
        )

    def open(self) -> None:
        """Open the source."""
        self._source.open()
        self._next = 0

    def get_metadata(self) -> VideoMetadata:
        """The source's metadata with the extent of the instants."""
        own = self._source.get_metadata()
        span = int(self._instants[-1] - self._instants[0]) if len(self) else 0
        return VideoMetadata(
            self.camera_id,
            own.width,
            own.height,
            fps=1e9 * (len(self) - 1) / span if span else own.fps,
            codec=own.codec,
            clock=Clock.OWN,
            total_frames=len(self),
            start_ns=int(self._instants[0]) if len(self) else 0,
            duration_ns=span,
            complete=own.complete,
            notes=own.notes,
        )

    def release(self) -> None:
        """Close the source."""
        self._source.release()


def frame_instants(times_ns: Times, line: Timeline, height: int, exposure_ns: float) -> Times:
    """Return when the middle row of each frame was half exposed, on the common timeline."""
    return line.at_many(times_ns, (height - 1) / 2) - round(exposure_ns / 2)


def laid_on(
    sources: Mapping[Any, NumberedSource],
    lines: Mapping[str, Timeline],
    shown_ns: Mapping[Any, Times],
    wanted_ns: Times,
    dropped: bool,
) -> dict[Any, SynchronizedImageSource]:
    """Return the sources seen at the wanted instants, by when each of their frames was taken.

    Instants at which one has no frame are left out, unless ``dropped`` keeps them.
    """
    numbers = {camera: nearest_frames(shown_ns[camera], wanted_ns) for camera in sources}
    if not dropped:
        complete = np.all([own != NO_FRAME for own in numbers.values()], axis=0)
        wanted_ns = wanted_ns[complete]
        numbers = {camera: own[complete] for camera, own in numbers.items()}
    return {
        camera: SynchronizedImageSource(source, lines[str(camera)], wanted_ns, numbers[camera])
        for camera, source in sources.items()
    }


def nearest_frames(shown_ns: Times, wanted_ns: Times) -> Times:
    """Return for each wanted instant the number of the nearest frame, or NO_FRAME."""
    after = np.clip(np.searchsorted(shown_ns, wanted_ns), 1, len(shown_ns) - 1)
    before = after - 1
    early = wanted_ns - shown_ns[before] <= shown_ns[after] - wanted_ns
    numbers = np.where(early, before, after)
    period = float(np.median(np.diff(shown_ns)))
    near = np.abs(shown_ns[numbers] - wanted_ns) <= NEAR_PERIODS * period
    found: Times = np.where(near, numbers, NO_FRAME)
    return found


def regular_instants(spans_ns: Sequence[tuple[int, int]], period_ns: float) -> Times:
    """Return instants at an even rate over the time that all sources filmed."""
    begin = max(start for start, _ in spans_ns)
    end = min(stop for _, stop in spans_ns)
    count = max(0, int((end - begin) / period_ns) + 1) if end >= begin else 0
    instants: Times = begin + np.rint(np.arange(count) * period_ns).astype(np.int64)
    return instants
