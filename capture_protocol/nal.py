"""NAL units of H.264 (ISO/IEC 14496-10, Annex B) and H.265 (ISO/IEC 23008-2), as bytes."""

import enum
from collections.abc import Iterator

START_CODE = b"\x00\x00\x00\x01"
_SHORT_START_CODE = b"\x00\x00\x01"
_STUFFED = (b"\x00\x00\x00", b"\x00\x00\x01", b"\x00\x00\x02", b"\x00\x00\x03")


class Codec(enum.Enum):
    """The two codecs that carry evidence; the values are FFmpeg's codec names."""

    H264 = "h264"
    H265 = "hevc"

    @property
    def header_size(self) -> int:
        """Bytes of a NAL unit's header."""
        return 1 if self is Codec.H264 else 2

    @property
    def sei_header(self) -> bytes:
        """Header of a (prefix) SEI NAL unit: type 6 in H.264, type 39 in H.265."""
        return b"\x06" if self is Codec.H264 else b"\x4e\x01"

    def nal_type(self, first_byte: int) -> int:
        """``nal_unit_type`` from the first header byte."""
        return first_byte & 31 if self is Codec.H264 else first_byte >> 1 & 63

    def is_sei(self, first_byte: int) -> bool:
        """Whether this header byte starts a (prefix) SEI NAL unit."""
        return self.nal_type(first_byte) == (6 if self is Codec.H264 else 39)

    def is_picture(self, first_byte: int) -> bool:
        """Whether this header byte starts a coded slice (a VCL NAL unit)."""
        kind = self.nal_type(first_byte)
        return 1 <= kind <= 5 if self is Codec.H264 else kind < 32


def escape(payload: bytes) -> bytes:
    """Insert emulation-prevention bytes, so that no start code appears inside a NAL unit."""
    if not any(pattern in payload for pattern in _STUFFED):
        return payload
    out = bytearray()
    zeros = 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def unescape(payload: bytes) -> bytes:
    """Remove emulation-prevention bytes."""
    if b"\x00\x00\x03" not in payload:
        return payload
    out = bytearray()
    zeros = 0
    for byte in payload:
        if zeros >= 2 and byte == 3:
            zeros = 0
            continue
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def split_annex_b(unit: bytes) -> Iterator[tuple[int, int]]:
    """(start, end) of every NAL unit of a byte stream with start codes, headers included."""
    start = unit.find(_SHORT_START_CODE)
    while start >= 0:
        begin = start + 3
        start = unit.find(_SHORT_START_CODE, begin)
        end = len(unit) if start < 0 else start
        while end > begin and unit[end - 1] == 0:  # the zero of a long start code, or padding
            end -= 1
        if end > begin:
            yield begin, end


def split_length_prefixed(unit: bytes, prefix_size: int) -> Iterator[tuple[int, int]]:
    """(start, end) of every NAL unit in the MP4/Matroska form; stops where a length is absurd."""
    at = 0
    while at + prefix_size <= len(unit):
        begin = at + prefix_size
        end = begin + int.from_bytes(unit[at:begin], "big")
        if end > len(unit) or end == begin:
            return
        yield begin, end
        at = end


def length_prefix_size(codec: Codec, extradata: bytes | None) -> int | None:
    """Size of the NAL length prefix that a container's extradata announces; None for Annex B.

    Source: ISO/IEC 14496-15, `AVCDecoderConfigurationRecord` and `HEVCDecoderConfigurationRecord`.
    """
    if not extradata or extradata[0] != 1:
        return None
    at = 4 if codec is Codec.H264 else 21
    return (extradata[at] & 3) + 1 if len(extradata) > at else None
