"""One frame alone, from anywhere in a file."""

from __future__ import annotations

from typing import cast

import av

from multiview.sources._decode import decode_packets
from multiview.sources._index import FrameIndex
from multiview.sources._packets import PacketFile

PLAIN_CODECS = frozenset({"h264", "hevc"})
"""Codecs whose packets and headers tell a decoder all that it needs to know."""


class Glances:
    """Single frames of a file, the soonest way: nothing behind a frame's packet is decoded.

    Where it can be, that is done by a decoder of its own, whose threads share the slices of one
    picture: the way to a frame is a chain, in which threads that each take a picture mostly wait
    for each other. The file's position is changed, so whoever reads on starts again at the entry
    point.
    """

    def __init__(self, file: PacketFile, index: FrameIndex) -> None:
        self._file = file
        self._index = index
        self._decoder: av.VideoCodecContext | None = None

    def at(self, number: int) -> av.VideoFrame | None:
        """Frame ``number``; None if it does not come, or if a packet behind it may complete it."""
        wanted = int(self._index.packet_of_frame[number])
        entry = int(self._index.entry_of_frame[number])
        decoder = self._own_decoder()
        found = decode_packets(self._file, entry, wanted.__eq__, last=wanted, decoder=decoder)
        for packet, picture in found:
            if packet == wanted:
                return None if picture.interlaced_frame else picture
        return None

    def _own_decoder(self) -> av.VideoCodecContext | None:
        """Ready for a new entry point; None where only the stream's decoder knows enough."""
        file = self._file
        named = file.stream.codec_context
        if file.device is not None or file.headers_change or named.name not in PLAIN_CODECS:
            return None
        if self._decoder is None:
            self._decoder = _like(named, parallel=file.decoder_threads > 1)
        self._decoder.flush_buffers()
        return self._decoder


def _like(named: av.VideoCodecContext, *, parallel: bool) -> av.VideoCodecContext:
    """A decoder in software that knows what the container says."""
    decoder = cast("av.VideoCodecContext", av.CodecContext.create(named.codec.name, "r"))
    decoder.extradata = named.extradata
    decoder.width, decoder.height = named.width, named.height
    decoder.color_range, decoder.colorspace = named.color_range, named.colorspace
    decoder.color_primaries, decoder.color_trc = named.color_primaries, named.color_trc
    decoder.thread_type, decoder.thread_count = "SLICE", 0 if parallel else 1  # 0: by the cores
    return decoder
