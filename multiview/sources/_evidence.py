"""The rig's own evidence of time, read from the packets of a file."""

from __future__ import annotations

from statistics import NormalDist

from capture_protocol import Codec, FrameRecord, length_prefix_size, read_evidence
from capture_protocol.errors import InputError
from multiview.sources._packets import PacketFile, VideoPacket

SIGMAS_AT_99 = NormalDist().inv_cdf(0.995)
"""Half width of a two-sided 99 % interval: the records state such bounds."""
PACKETS_TO_TRY = 5
"""A file of the rig carries evidence in every packet: without any in these, it is another's."""


class EvidenceReader:
    """Collects the frame record of every packet of a file that begins with one."""

    def __init__(self, file: PacketFile) -> None:
        context = file.stream.codec_context
        self._codec = next((codec for codec in Codec if codec.value == context.name), None)
        self._prefix_size = self._codec and length_prefix_size(self._codec, context.extradata)
        self.records: list[FrameRecord | None] = []
        """One entry per packet, None for one without; empty if the first few had none."""

    def visit(self, packet: VideoPacket) -> None:
        """Read one packet in the order of the file."""
        if self._codec is None:
            return
        self.records.append(self._read(bytes(packet), self._codec))
        if len(self.records) == PACKETS_TO_TRY and not any(self.records):
            self._codec = None
            self.records.clear()

    def _read(self, unit: bytes, codec: Codec) -> FrameRecord | None:
        try:
            return read_evidence(unit, codec, self._prefix_size)
        except InputError:  # of a version that this software does not know
            return None


def sigma_ns(record: FrameRecord | None) -> int:
    """Standard deviation of a record's exposure midpoint, from its 99 % bound."""
    return 0 if record is None else round(record.uncertainty_ns / SIGMAS_AT_99)
