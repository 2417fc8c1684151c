"""The rig's own evidence of time, read from the packets of a file."""

from __future__ import annotations

from statistics import NormalDist

from capture_protocol import Codec, FrameRecord, length_prefix_size, read_evidence
from capture_protocol.errors import InputError
from multiview.sources._packets import PacketFile, VideoPacket

SIGMAS_AT_99 = NormalDist().inv_cdf(0.995)
"""Half width of a two-sided 99 % interval: the records state such bounds."""


class EvidenceReader:
    """Collects the frame record of every packet, as long as every packet has one."""

    def __init__(self, file: PacketFile) -> None:
        context = file.stream.codec_context
        self._codec = next((codec for codec in Codec if codec.value == context.name), None)
        self._prefix_size = self._codec and length_prefix_size(self._codec, context.extradata)
        self._carried = self._codec is not None
        self._records: list[FrameRecord] = []

    def visit(self, packet: VideoPacket) -> None:
        """Read one packet in the order of the file."""
        if not self._carried or self._codec is None:
            return
        try:
            record = read_evidence(bytes(packet), self._codec, self._prefix_size)
        except InputError:
            record = None
        if record is None:
            self._carried = False
        else:
            self._records.append(record)

    @property
    def records(self) -> list[FrameRecord]:
        """One record per packet, or nothing if a packet had none."""
        return self._records if self._carried else []


def sigma_ns(record: FrameRecord) -> int:
    """Standard deviation of a record's exposure midpoint, from its 99 % bound."""
    return round(record.uncertainty_ns / SIGMAS_AT_99)
