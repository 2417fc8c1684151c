"""One reader, one measurement: run as a script in the Python that has the reader installed.

``python ingest_readers.py READER MEASUREMENT CLIP`` prints one line of JSON. Each measurement has a
process of its own, so that memory, caches and libraries of one reader do not touch another's.
"""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

CELL, BITS = 32, 16
QUERIES = 60
NEAR_FRAMES = 10

Read = Callable[[int], Any]


class Ours:
    """This project's file source; pictures in BGR."""

    def __init__(self, path: str) -> None:
        from multiview.sources import FileVideoSource

        self._source = FileVideoSource(path, "bench")
        self._source.open()
        self.count = self._source.get_metadata().total_frames

    def each(self) -> Iterator[Any]:
        """All pictures in order."""
        return (frame.image for frame in self._source.frames())

    def at(self, number: int) -> Any:
        """One picture."""
        return self._source.frame_by_number(number).image


class OpenCV:
    """cv2.VideoCapture with its FFmpeg backend; pictures in BGR."""

    def __init__(self, path: str) -> None:
        import cv2

        self._cv2 = cv2
        self._capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
        self.count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    def each(self) -> Iterator[Any]:
        """All pictures in order."""
        while (got := self._capture.read())[0]:
            yield got[1]

    def at(self, number: int) -> Any:
        """One picture."""
        self._capture.set(self._cv2.CAP_PROP_POS_FRAMES, number)
        return self._capture.read()[1]


class PyAV:
    """PyAV's own loop with to_ndarray; random access by seek and decoding up to the time."""

    def __init__(self, path: str) -> None:
        import av

        self._container = av.open(path)
        self._stream = self._container.streams.video[0]
        self.count = self._stream.frames

    def each(self) -> Iterator[Any]:
        """All pictures in order."""
        for frame in self._container.decode(self._stream):
            yield frame.to_ndarray(format="rgb24")

    def at(self, number: int) -> Any:
        """One picture."""
        pts = round(number / self._stream.average_rate / self._stream.time_base)
        self._container.seek(pts, stream=self._stream)
        for frame in self._container.decode(self._stream):
            if frame.pts >= pts:
                return frame.to_ndarray(format="rgb24")
        return None


class Decord:
    """decord.VideoReader; pictures in RGB."""

    def __init__(self, path: str) -> None:
        import decord

        self._reader = decord.VideoReader(path)
        self.count = len(self._reader)

    def each(self) -> Iterator[Any]:
        """All pictures in order."""
        return (self._reader[k].asnumpy() for k in range(self.count))

    def at(self, number: int) -> Any:
        """One picture."""
        return self._reader[number].asnumpy()


class TorchCodec:
    """torchcodec's VideoDecoder in its exact mode; pictures in RGB."""

    def __init__(self, path: str) -> None:
        from torchcodec.decoders import VideoDecoder

        self._decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=0)
        self.count = len(self._decoder)

    def each(self) -> Iterator[Any]:
        """All pictures in order."""
        return (self._decoder[k].numpy() for k in range(self.count))

    def at(self, number: int) -> Any:
        """One picture."""
        return self._decoder[number].numpy()


READERS: dict[str, type] = {
    "multiview": Ours,
    "opencv": OpenCV,
    "pyav": PyAV,
    "decord": Decord,
    "torchcodec": TorchCodec,
}


def shown_number(image: Any) -> int:
    """The number that the clip shows in black and white cells."""
    cells = image[CELL // 2, CELL // 2 : BITS * CELL : CELL, 1]
    return sum(int(cell > 120) << bit for bit, cell in enumerate(cells))


def opening(reader: type, path: str) -> dict[str, float]:
    """Until the first picture is there; the libraries are loaded by a first opening."""
    next(reader(path).each())
    begin = time.perf_counter()
    next(reader(path).each())
    return {"open_ms": (time.perf_counter() - begin) * 1e3}


def sequence(reader: type, path: str) -> dict[str, float]:
    """All pictures in order."""
    made, count = reader(path), 0
    begin, cpu = time.perf_counter(), time.process_time()
    for image in made.each():
        count += image.shape[2] == 3
    wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
    return {"fps": count / wall, "cpu_ms_per_frame": cpu / count * 1e3, "frames": count}


def anywhere(reader: type, path: str) -> dict[str, float]:
    """Pictures all over the clip, and whether they were the right ones."""
    made, dice = reader(path), random.Random(1)
    return _queries(made.at, [dice.randrange(made.count) for _ in range(QUERIES)], "random")


def nearby(reader: type, path: str) -> dict[str, float]:
    """A walk to and fro of up to ten frames at a time."""
    made, dice = reader(path), random.Random(2)
    place, walk = made.count // 2, []
    for _ in range(QUERIES * 2):
        place += dice.randint(-NEAR_FRAMES, NEAR_FRAMES)
        walk.append(place)
    return _queries(made.at, walk, "near")


def memory(reader: type, path: str) -> dict[str, float]:
    """Growth of the process by reading everything once."""
    before = _resident()
    for image in reader(path).each():
        image.shape  # noqa: B018 - the picture must exist
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"memory_mib": (peak - before) / 2**20}


def _queries(at: Read, numbers: list[int], name: str) -> dict[str, float]:
    times, right = [], 0
    for number in numbers:
        begin = time.perf_counter()
        image = at(number)
        times.append((time.perf_counter() - begin) * 1e3)
        right += image is not None and shown_number(image) == number
    share = right / len(numbers)
    return {
        f"{name}_p50_ms": statistics.median(times),
        f"{name}_p99_ms": statistics.quantiles(times, n=100)[98],
        f"{name}_right": share,
    }


def _resident() -> int:
    with open("/proc/self/statm") as status:  # noqa: PTH123 - runs in any Python
        return int(status.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


MEASUREMENTS = {
    "open": opening,
    "sequence": sequence,
    "random": anywhere,
    "near": nearby,
    "memory": memory,
}

if __name__ == "__main__":
    name, measurement, clip = sys.argv[1:]
    print(json.dumps(MEASUREMENTS[measurement](READERS[name], clip)))
