"""Videos made from synchronised sources: one per camera, or all in one preview."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from multiview.flash._errors import FlashInputError
from multiview.flash._sources import SynchronizedImageSource
from multiview.flash._synchronization import FlashVideoSynchronization
from multiview.flash._writer import open_sound, published, write_video
from multiview.sources import FileVideoSource, Image

Progress = Callable[[float], None]
Views = Mapping[str, SynchronizedImageSource]

NS_PER_S = 1_000_000_000
LARGEST_DENOMINATOR = 1001  # of a frame rate: 30000/1001 and its kin
TILE_HEIGHT = 270
LABEL_COLOUR = (255, 255, 255)


def write_synchronized_videos(
    sync: FlashVideoSynchronization,
    folder: Path,
    fps: Fraction | None = None,
    progress: Progress = lambda _: None,
) -> dict[str, Path]:
    """Write every video again, at one rate on the common timeline, with its own sound.

    All files begin at the same instant and have equally many frames; frame ``n`` of each is the
    nearest to the same instant, repeated or left out as the rates demand. ``fps`` defaults to
    the base camera's. A file appears under its final name only when it is complete.

    Raises FlashInputError if the videos do not overlap or one would be overwritten.
    """
    rate = fps or _base_rate(sync)
    targets = {
        name: folder / f"{path.stem}_{name}_synchronized.mp4" for name, path in sync.paths.items()
    }
    _check_targets(sync, targets.values())
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        views = _views(sync, rate, stack)
        for index, (name, view) in enumerate(views.items()):
            sound = open_sound(sync.paths[name], sync.timelines[name], int(view.times_ns[0]))
            pictures = _filled(view, _share(progress, index, len(views)))
            with published(targets[name]) as part:
                write_video(part, pictures, rate, sound)
    return targets


def write_preview(
    sync: FlashVideoSynchronization,
    target: Path,
    fps: Fraction | None = None,
    progress: Progress = lambda _: None,
) -> None:
    """Write all cameras side by side, small, each with its time on the common timeline."""
    rate = fps or _base_rate(sync)
    _check_targets(sync, [target])
    with ExitStack() as stack:
        views = _views(sync, rate, stack)
        with published(target) as part:
            write_video(part, _montages(views, progress), rate)


def _share(progress: Progress, index: int, count: int) -> Progress:
    return lambda done: progress((index + done) / count)


def _base_rate(sync: FlashVideoSynchronization) -> Fraction:
    period_ns = sync.tracks[str(sync.timelines.reference)].period_ns
    return Fraction(NS_PER_S / period_ns).limit_denominator(LARGEST_DENOMINATOR)


def _check_targets(sync: FlashVideoSynchronization, targets: Iterable[Path]) -> None:
    for target in targets:
        if target.resolve() in {path.resolve() for path in sync.paths.values()}:
            raise FlashInputError(f"{target} is an input video", hint="name another output")


def _views(sync: FlashVideoSynchronization, rate: Fraction, stack: ExitStack) -> Views:
    sources = {
        name: stack.enter_context(FileVideoSource(sync.paths[name], name))
        for name in sync.timelines
    }
    views = sync.get_regular_image_sources(sources, float(NS_PER_S / rate))
    if not len(next(iter(views.values()))):
        raise FlashInputError("the videos do not overlap in time: there is nothing to write")
    return views


def _filled(view: SynchronizedImageSource, progress: Progress) -> Iterator[Image]:
    """The view's pictures; where there is none the last one stays, black before the first."""
    meta = view.get_metadata()
    last = np.zeros((meta.height, meta.width, 3), np.uint8)
    for number in range(len(view)):
        image = view.get_image(number)
        last = last if image is None else image
        yield last
        progress((number + 1) / len(view))


def _montages(views: Views, progress: Progress) -> Iterator[Image]:
    columns = math.ceil(math.sqrt(len(views)))
    length = len(next(iter(views.values())))
    width = max(_tile_width(view) for view in views.values())
    black = np.zeros((TILE_HEIGHT, width, 3), np.uint8)
    for number in range(length):
        tiles = [_tile(name, view, number, width) for name, view in views.items()]
        tiles += [black] * (-len(tiles) % columns)
        rows = [np.hstack(tiles[k : k + columns]) for k in range(0, len(tiles), columns)]
        yield np.vstack(rows)
        progress((number + 1) / length)


def _tile_width(view: SynchronizedImageSource) -> int:
    meta = view.get_metadata()
    return round(meta.width * TILE_HEIGHT / meta.height / 2) * 2


def _tile(name: str, view: SynchronizedImageSource, number: int, width: int) -> Image:
    tile = np.zeros((TILE_HEIGHT, width, 3), np.uint8)
    frame = view.frame_by_number(number)
    if frame.image is not None:
        own = min(_tile_width(view), width)
        tile[:, :own] = cv2.resize(frame.image, (own, TILE_HEIGHT), interpolation=cv2.INTER_AREA)
    label = f"{name}  {frame.time_ns / NS_PER_S:.4f} s"
    place = (8, TILE_HEIGHT - 10)
    cv2.putText(tile, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(tile, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, LABEL_COLOUR, 1, cv2.LINE_AA)
    return tile
