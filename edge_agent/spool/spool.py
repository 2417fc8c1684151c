"""A spool: the chunks of one camera and session, with an index in memory."""

import bisect
import os
import threading
from pathlib import Path

from edge_agent.spool.chunk import (
    FRAME_OVERHEAD,
    HEADER_SIZE,
    Entry,
    SpoolError,
    SpoolHeader,
    frame_unit,
    scan_chunk,
)

_CHUNK_BYTES = 8 * 1024 * 1024
"""A chunk is closed at the first key frame past this size: about 16 s at 4 Mbit/s."""
_SUFFIX = ".units"


class Spool:
    """Append-only; one writer, and readers in other threads of the same process.

    `changed` is notified at every append and at `finish`.
    """

    def __init__(self, folder: Path, header: SpoolHeader) -> None:
        """Use `create` or `open`."""
        self.folder = folder
        self.header = header
        self.changed = threading.Condition()
        self.finished = False
        """No more frames will come."""
        self.total_bytes = 0
        self.frames = 0
        """Access units appended over the spool's life, as far as it remembers."""
        self._entries: list[Entry] = []
        self._handles: dict[int, int] = {}
        self._chunk = -1
        self._end = 0

    @classmethod
    def create(cls, folder: Path, header: SpoolHeader) -> "Spool":
        """An empty spool in a new folder.

        Raises:
            OSError: the folder cannot be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, header)

    @classmethod
    def open(cls, folder: Path) -> "Spool | None":
        """What a killed process left, its torn tail cut; None if there is not one whole frame."""
        spool: Spool | None = None
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            handle = os.open(path, os.O_RDWR)
            header = SpoolHeader.unpack(os.pread(handle, HEADER_SIZE, 0))
            if header is None:
                os.close(handle)
                path.unlink()
                continue
            spool = spool or cls(folder, header)
            spool._adopt(int(path.stem), handle)
        return spool if spool is not None and spool._entries else None

    @staticmethod
    def span(folder: Path) -> tuple[int, int] | None:
        """First and last slot of a spool on disk, without changing it; None if it is empty."""
        slots: list[int] = []
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            handle = os.open(path, os.O_RDONLY)
            try:
                entries, _ = scan_chunk(handle, 0)
            finally:
                os.close(handle)
            slots += [entry.slot for entry in entries[:1] + entries[-1:]]
        return (slots[0], slots[-1]) if slots else None

    @property
    def first_slot(self) -> int:
        """First slot held, -1 if there is none."""
        return self._entries[0].slot if self._entries else -1

    @property
    def last_slot(self) -> int:
        """Last slot held, -1 if there is none."""
        return self._entries[-1].slot if self._entries else -1

    def append(self, slot: int, unit: bytes, *, key: bool) -> None:
        """Add an access unit; it is whole on disk (in the page cache) when this returns.

        Raises:
            SpoolError: slots must ascend, and a spool begins with a key frame.
            OSError: the disk is full; nothing was added.
        """
        if slot <= self.last_slot or (not self._entries and not key):
            raise SpoolError(f"slot {slot} cannot follow slot {self.last_slot} in the spool")
        if key and (self._chunk < 0 or self._end >= _CHUNK_BYTES):
            self._begin_chunk()
        data = frame_unit(slot, unit, key)
        self._write(data)
        entry = Entry(slot, key, self._chunk, self._end + FRAME_OVERHEAD, len(unit))
        with self.changed:
            self._end += len(data)
            self.total_bytes += len(data)
            self.frames += 1
            self._entries.append(entry)
            self.changed.notify_all()

    def finish(self) -> None:
        """Note that no more frames will come."""
        with self.changed:
            self.finished = True
            self.changed.notify_all()

    def after(self, slot: int) -> Entry | None:
        """The first access unit behind a slot, or None if there is none yet."""
        with self.changed:
            index = bisect.bisect_right(self._entries, slot, key=_slot_of)
            return self._entries[index] if index < len(self._entries) else None

    def key_at_or_before(self, slot: int) -> Entry | None:
        """The last key frame not after a slot, else the first one held."""
        with self.changed:
            index = bisect.bisect_right(self._entries, slot, key=_slot_of)
            before = (entry for entry in reversed(self._entries[:index]) if entry.key)
            held = (entry for entry in self._entries if entry.key)
            return next(before, None) or next(held, None)

    def read(self, entry: Entry) -> bytes:
        """The access unit of an entry.

        Raises:
            SpoolError: it was forgotten meanwhile.
        """
        handle = self._handles.get(entry.chunk)
        if handle is None:
            raise SpoolError(f"slot {entry.slot} is no longer in the spool")
        return os.pread(handle, entry.size, entry.offset)

    def forget_before(self, slot: int) -> None:
        """Delete chunks all of whose slots are below ``slot``; the one being written stays."""
        with self.changed:
            keep = {entry.chunk for entry in self._entries if entry.slot >= slot} | {self._chunk}
            gone = [chunk for chunk in self._handles if chunk not in keep]
            for chunk in gone:
                self._drop(chunk)
            self._entries = [entry for entry in self._entries if entry.chunk in keep]

    def close(self) -> None:
        """Close the files; what was written stays."""
        with self.changed:
            for handle in self._handles.values():
                os.close(handle)
            self._handles = {}

    def _adopt(self, chunk: int, handle: int) -> None:
        entries, end = scan_chunk(handle, chunk)
        os.ftruncate(handle, end)
        self._handles[chunk] = handle
        self._entries += entries
        self.frames += len(entries)
        self.total_bytes += end
        self._chunk, self._end = chunk, end

    def _begin_chunk(self) -> None:
        chunk = self._chunk + 1
        path = self._path(chunk)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(handle, self.header.pack())
        self._handles[chunk] = handle
        self._chunk, self._end = chunk, HEADER_SIZE
        self.total_bytes += HEADER_SIZE

    def _write(self, data: bytes) -> None:
        handle = self._handles[self._chunk]
        written = os.pwrite(handle, data, self._end)
        if written != len(data):
            os.ftruncate(handle, self._end)
            raise OSError(28, "the disk of the spool is full", str(self.folder))

    def _drop(self, chunk: int) -> None:
        handle = self._handles.pop(chunk)
        self.total_bytes -= os.fstat(handle).st_size
        os.close(handle)
        self._path(chunk).unlink(missing_ok=True)

    def _path(self, chunk: int) -> Path:
        return self.folder / f"{chunk:08}{_SUFFIX}"


def _slot_of(entry: Entry) -> int:
    return entry.slot
