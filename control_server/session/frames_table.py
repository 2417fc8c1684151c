"""`frames.parquet`: one row per delivered frame of a session, made from the video alone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from capture_protocol import InputError, SegmentName, SessionFolder
from capture_protocol.frame import FRAME_DTYPE
from capture_protocol.publish import publishing
from control_server.session.record_times import midpoints_ns
from control_server.session.segment_scan import SegmentScan, scan_segment

Progress = Callable[[Path], None]
"""Called with every segment file when it has been read."""

_INDEX_COLUMN = "camera_index"
_RECORD_COLUMNS = {
    name: _INDEX_COLUMN if name == "camera" else name for name in FRAME_DTYPE.names or ()
}
"""Field of the frame record → column; `camera` is the name, as people know it."""

_NAMES = pa.dictionary(pa.int32(), pa.string())
FRAMES_SCHEMA = pa.schema(
    [
        pa.field("camera", _NAMES, nullable=False),
        *(
            pa.field(column, pa.from_numpy_dtype(FRAME_DTYPE[name]), nullable=False)
            for name, column in _RECORD_COLUMNS.items()
        ),
        pa.field("midpoint_ns", pa.int64(), nullable=False),
        pa.field("grid_error_ns", pa.int64(), nullable=False),
        pa.field("container_ns", pa.int64(), nullable=False),
        pa.field("size", pa.uint32(), nullable=False),
        pa.field("key", pa.bool_(), nullable=False),
        pa.field("part", pa.uint16(), nullable=False),
        pa.field("segment", pa.uint32(), nullable=False),
        pa.field("file", _NAMES, nullable=False),
    ],
    metadata={"tutti.format": "1"},
)
"""Rows are ordered by camera (as in the plan) and slot. Every field of `FrameRecord` is a column
of its own name, except that `camera` is the camera's name and `camera_index` its index. Besides:
exposure midpoint and its error against Tn, time stamp in the container, size of the access unit,
key frame, and where the frame lies (part, segment, file relative to the session's folder)."""

_MONOTONE = ("slot", "slot_time_ns", "release_ns", "frame_start_ns", "midpoint_ns", "container_ns")
_PLAIN_INTEGERS = ("sequence", "size", "grid_error_ns")
_ENCODINGS = dict.fromkeys(_MONOTONE + _PLAIN_INTEGERS, "DELTA_BINARY_PACKED")
"""Instants that grow by about Δ pack to a few bits each as differences."""


@dataclass(frozen=True, slots=True)
class CameraFrames:
    """One camera's rows of the table, ordered by slot."""

    records: npt.NDArray[np.void]
    """`FRAME_DTYPE`."""
    midpoint_ns: npt.NDArray[np.int64]
    grid_error_ns: npt.NDArray[np.int64]
    container_ns: npt.NDArray[np.int64]
    key: npt.NDArray[np.bool_]
    file: npt.NDArray[np.int32]
    """Index into `files`."""
    files: list[str]


def write_frames(folder: SessionFolder, progress: Progress | None = None) -> None:
    """Scan all segments of a session and publish `frames.parquet` atomically.

    A slot that several files hold (resent after a break) is taken from the first file.

    Raises:
        InputError: no session folder.
        OSError: the disk is full or does not take the file; an older table is then untouched.
    """
    cameras = folder.read_plan().cameras
    with publishing(folder.frames_path) as file, frames_writer(file) as writer:
        for camera in cameras:
            collected = RowCollector(camera.name)
            for path in folder.segments(camera.name):
                collected.add(scan_segment(path), str(path.relative_to(folder.path)))
                if progress is not None:
                    progress(path)
            writer.write_table(collected.table())


def frames_writer(file: BinaryIO) -> pq.ParquetWriter:
    """A writer of `FRAMES_SCHEMA`; write one table per camera, in the order of the plan."""
    return pq.ParquetWriter(
        file,
        FRAMES_SCHEMA,
        compression="zstd",
        use_dictionary=[name for name in FRAMES_SCHEMA.names if name not in _ENCODINGS],
        column_encoding=_ENCODINGS,
    )


def read_frames(folder: SessionFolder, camera: str) -> CameraFrames:
    """One camera's rows of `frames.parquet`.

    Raises:
        InputError: the table is missing, damaged, or of another layout.
    """
    try:
        with pq.ParquetFile(folder.frames_path) as file:
            _require_layout(folder, file.schema_arrow)
            return _camera_frames(file.read_row_groups(_row_groups(file.metadata, camera)))
    except FileNotFoundError as error:
        raise InputError(
            f"{folder.frames_path} is missing", hint="make it anew with: manager audit --rebuild"
        ) from error
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{folder.frames_path} is damaged: {error}",
            hint="make it anew with: manager audit --rebuild",
        ) from error


def _require_layout(folder: SessionFolder, schema: pa.Schema) -> None:
    if not schema.equals(FRAMES_SCHEMA):
        raise InputError(
            f"{folder.frames_path} has another layout than this software writes",
            hint="make it anew with: manager audit --rebuild",
        )


def _row_groups(metadata: pq.FileMetaData, camera: str) -> list[int]:
    """The row groups of one camera: a group never holds two."""
    column = FRAMES_SCHEMA.get_field_index("camera")
    statistics = [
        metadata.row_group(at).column(column).statistics for at in range(metadata.num_row_groups)
    ]
    return [at for at, found in enumerate(statistics) if found and found.min == camera]


def _camera_frames(table: pa.Table) -> CameraFrames:
    records = np.empty(table.num_rows, FRAME_DTYPE)
    for name, column in _RECORD_COLUMNS.items():
        records[name] = table[column].to_numpy()
    files = table["file"].combine_chunks()
    return CameraFrames(
        records,
        midpoint_ns=table["midpoint_ns"].to_numpy(),
        grid_error_ns=table["grid_error_ns"].to_numpy(),
        container_ns=table["container_ns"].to_numpy(),
        key=table["key"].to_numpy(),
        file=files.indices.to_numpy(),
        files=files.dictionary.to_pylist(),
    )


class RowCollector:
    """Gathers one camera's frames from its scans, the first file that holds a slot winning."""

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._taken: set[int] = set()
        self._rows: list[tuple[SegmentScan, npt.NDArray[np.intp]]] = []
        self._files: list[str] = []

    def add(self, scan: SegmentScan, file: str) -> None:
        """Take the frames of the next file, in order of part and segment."""
        chosen = []
        for at, slot in enumerate(scan.slots.tolist()):
            if slot not in self._taken:
                self._taken.add(slot)
                chosen.append(at)
        self._rows.append((scan, np.array(chosen, np.intp)))
        self._files.append(file)

    def table(self) -> pa.Table:
        """The camera's rows, ordered by slot."""
        records = self._joined(lambda scan: scan.records, FRAME_DTYPE)
        order = np.argsort(records["slot"], kind="stable")
        records = records[order]
        midpoints = midpoints_ns(records)
        counts = [len(rows) for _, rows in self._rows]
        which = np.repeat(np.arange(len(counts), dtype=np.int32), counts)[order]
        columns = {column: records[name] for name, column in _RECORD_COLUMNS.items()}
        columns |= {
            "midpoint_ns": midpoints,
            "grid_error_ns": midpoints - records["slot_time_ns"],
            "container_ns": self._joined(lambda scan: scan.container_ns, np.int64)[order],
            "size": self._joined(lambda scan: scan.sizes, np.uint32)[order],
            "key": self._joined(lambda scan: scan.keys, np.bool_)[order],
            "part": self._of_name("part", np.uint16)[which],
            "segment": self._of_name("segment", np.uint32)[which],
        }
        arrays = {name: pa.array(np.ascontiguousarray(column)) for name, column in columns.items()}
        arrays["camera"] = _dictionary(np.zeros(len(records), np.int32), [self._camera])
        arrays["file"] = _dictionary(which, self._files)
        return pa.table([arrays[name] for name in FRAMES_SCHEMA.names], schema=FRAMES_SCHEMA)

    def _joined(
        self, field: Callable[[SegmentScan], npt.NDArray[Any]], dtype: npt.DTypeLike
    ) -> npt.NDArray[Any]:
        parts = [field(scan)[rows] for scan, rows in self._rows]
        return np.concatenate(parts) if parts else np.empty(0, dtype)

    def _of_name(self, field: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        names = [SegmentName.parse(scan.path.name) for scan, _ in self._rows]
        return np.array([getattr(name, field) for name in names], dtype)


def _dictionary(which: npt.NDArray[np.int32], names: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(which), pa.array(names, pa.string()))
