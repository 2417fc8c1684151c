"""A file with its index: what opening finds out before any frame is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from capture_protocol import FrameRecord
from multiview.errors import SourceOpenError, SyncConfigError
from multiview.sources._contract import Clock, VideoMetadata
from multiview.sources._decode import decoded_order
from multiview.sources._describe import describe
from multiview.sources._evidence import EvidenceReader, sigma_ns
from multiview.sources._index import FrameIndex, build_index, presentation_order
from multiview.sources._packets import PacketFile, assumed_rate
from multiview.sources._patience import Patience

_AS_STORED = MappingProxyType({"estimated_time": False})
_ESTIMATED = MappingProxyType({"estimated_time": True})


@dataclass(frozen=True)
class IndexedFile:
    """An open file, the times of its frames, and what was found wrong with it."""

    file: PacketFile
    index: FrameIndex
    records: tuple[FrameRecord | None, ...]
    """The rig's evidence in order of presentation; empty for files of others."""
    losses: tuple[str, ...]
    """What is missing that should be there."""
    remarks: tuple[str, ...] = ()
    """What else a person should know."""

    @classmethod
    def read(
        cls,
        patience: Patience,
        given_times_ns: Sequence[int] | None = None,
        *,
        decoder_threads: int = 1,
        hardware: bool = False,
    ) -> IndexedFile:
        """Open and scan; ``given_times_ns`` go before evidence, evidence before the container.

        Raises:
            SourceOpenError: not there, not a video, or without frames.
            SourceStalledError: the disk gives nothing.
            SyncConfigError: the given times do not fit the frames.
        """
        file = PacketFile(patience, decoder_threads=decoder_threads, hardware=hardware)
        try:
            return cls._scan(file, given_times_ns)
        except BaseException:
            file.close()
            raise

    @classmethod
    def _scan(cls, file: PacketFile, given_times_ns: Sequence[int] | None) -> IndexedFile:
        reader = EvidenceReader(file)
        losses = file.scan(reader.visit)
        index = _container_index(file)
        if not len(index):
            raise SourceOpenError(f"{file.path} holds no video frames", hint="; ".join(losses))
        if given_times_ns is not None:
            return cls(file, index.with_times(given_times_ns), (), losses)
        if not any(reader.records):
            return cls(file, index, (), losses)
        records = tuple(reader.records[packet] for packet in index.packet_of_frame)
        return cls._timed_by_evidence(file, index, records, losses)

    @classmethod
    def _timed_by_evidence(
        cls,
        file: PacketFile,
        index: FrameIndex,
        records: tuple[FrameRecord | None, ...],
        losses: tuple[str, ...],
    ) -> IndexedFile:
        times = [None if record is None else record.midpoint_ns for record in records]
        try:
            timed = index.with_times(times, [*map(sigma_ns, records)])
        except SyncConfigError as error:
            return cls(file, index, (), losses, (f"its evidence of time is not used: {error}",))
        bare = records.count(None)
        remarks = (f"{bare} frames carry no evidence of their time",) if bare else ()
        return cls(file, timed, records, losses, remarks)

    def describe(self, camera_id: str, clock: Clock) -> VideoMetadata:
        """The file's metadata."""
        found = describe(self.file, self.index, camera_id, self.losses, clock)
        return replace(found, notes=(*found.notes, *self.remarks))

    def details(self, number: int) -> Mapping[str, object]:
        """What is known of a frame beside its time."""
        record = self.records[number] if self.records else None
        if record is None:
            return _ESTIMATED if self.index.estimated[number] else _AS_STORED
        return MappingProxyType({"estimated_time": False, "slot": record.slot, "record": record})


def _container_index(file: PacketFile) -> FrameIndex:
    order = presentation_order(file.rows)
    if order is None:
        order = decoded_order(file)
    rate = assumed_rate(file.stream)
    return build_index(file.rows, order, file.stream.time_base or 1 / rate, 1 / rate)
