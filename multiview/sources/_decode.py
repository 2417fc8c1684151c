"""From packets to numbered pictures: which picture a packet became is told by the decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import av

from multiview.sources._index import FrameIndex
from multiview.sources._packets import PacketFile, VideoPacket
from multiview.sources._patience import Patience
from multiview.sources._prefetch import Prefetch

KEPT_BEFORE = 8
"""Frames before the one sought that are decoded as well: the next access is often near."""

Numbered: TypeAlias = tuple[int, av.VideoFrame]


def decode_packets(
    file: PacketFile,
    entry: int,
    is_wanted: Callable[[int], bool],
    *,
    last: int | None = None,
    decoder: av.VideoCodecContext | None = None,
) -> Iterator[Numbered]:
    """Pictures with their packets' numbers, in order of presentation, from packet ``entry`` on.

    The number travels through the decoder in place of the packet's time stamp, so a picture is
    identified even if time stamps are missing, wrong or repeated. (PyAV's `opaque` would be the
    field for it, but its table is keyed by the object's address, which two decoders share.) A
    packet that cannot be decoded gives no picture, nor does one that is not wanted and to which
    no other picture refers. After packet ``last`` the decoder is emptied. ``decoder`` is the
    stream's own unless another is given.
    """
    codec = None
    for number, packet in file.packets_from(entry):
        codec = decoder or packet.stream.codec_context
        codec.skip_frame = "DEFAULT" if is_wanted(number) else "NONREF"
        packet.pts, packet.dts = number, None
        yield from _pictures(codec, packet)
        if last is not None and number >= last:
            break
    if codec is not None:
        yield from _pictures(codec, None)


def _pictures(codec: av.VideoCodecContext, packet: VideoPacket | None) -> Iterator[Numbered]:
    try:
        for picture in codec.decode(packet):
            if picture.pts is not None:
                yield picture.pts, picture
    except av.error.FFmpegError:  # damaged, of an unknown kind, or the device failed
        return


def decoded_order(file: PacketFile) -> list[int]:
    """Packet numbers in the order in which the decoder shows them; costs decoding the file.

    Packets that give no picture keep the place they have in the file.
    """
    shown = [number for number, _ in decode_packets(file, 0, lambda _: True)]
    lost = sorted(set(range(len(file.rows))) - set(shown))
    if lost and file.device is not None:
        file.leave_device()
        return decoded_order(file)
    order = list(dict.fromkeys(shown))
    for number in lost:
        order.insert(number, number)
    return order


class DecodeRun:
    """One run of the decoder from a frame's entry point on, as numbered frames.

    ``next_number`` is the lowest frame number still to come. On the way to the ``first`` frame
    only pictures near it are sure to come: others may be left out to get there sooner.
    """

    def __init__(self, file: PacketFile, index: FrameIndex, first: int, patience: Patience) -> None:
        entry = int(index.entry_of_frame[first])
        self.next_number = max(0, int(index.frame_of_packet[entry]))
        self._index = index
        pictures = decode_packets(
            file, entry, lambda packet: index.frame_of_packet[packet] >= first - KEPT_BEFORE
        )
        self._pictures = Prefetch(pictures, patience)

    def read_ahead(self, depth: int) -> None:
        """From now on decode up to ``depth`` pictures ahead."""
        self._pictures.read_ahead(depth)

    def __iter__(self) -> Iterator[Numbered]:
        """Go on, without pictures that an edit list hides or that refer to an earlier group."""
        for packet_number, picture in self._pictures:
            number = int(self._index.frame_of_packet[packet_number])
            if number >= self.next_number:
                self.next_number = number + 1
                yield number, picture
        self.next_number = len(self._index) + 1  # past every frame: nothing is to come

    def close(self) -> None:
        """Stop decoding."""
        self._pictures.close()
