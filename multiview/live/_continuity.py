"""Whether a frame went lost between two others: H.264 counts its reference frames.

FFmpeg marks pictures of which a part was lost, but not those that refer to a frame lost as a
whole; they look whole and show what is not there. The count wraps, often at 16: a loss of just as
many frames goes unnoticed. Sections named are those of ITU-T H.264.
"""

from __future__ import annotations

from capture_protocol.nal import split_annex_b, unescape

SLICE, IDR_SLICE, PARAMETER_SET = 1, 5, 7
"""nal_unit_type (table 7-1)."""
HEADER_BYTES = 64
"""More than the part of a slice header or parameter set that is read here, but for matrices."""
MATRIX_BYTES = 1024
LONGEST_CODE = 32
"""Leading zeros of the longest Exp-Golomb code: what has more is damaged."""
MOST_BITS = 16
"""Of frame_num (section 7.4.2.1.1); a parameter set that tells more is damaged."""
PROFILES_WITH_CHROMA = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
"""profile_idc whose parameter sets tell the chroma format (section 7.3.2.1.1)."""


class Bits:
    """Reads bits; zeros follow the end, as a damaged unit must not break the reader."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """The next bits as a number."""
        self._left -= count
        shifted = self._value >> self._left if self._left >= 0 else 0
        return shifted & ((1 << count) - 1)

    def unsigned(self) -> int:
        """Exp-Golomb code (section 9.1)."""
        zeros = 0
        while zeros < LONGEST_CODE and self._left > 0 and not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        """Signed Exp-Golomb code (section 9.1.1)."""
        code = self.unsigned()
        return (code + 1) // 2 if code % 2 else -(code // 2)


class FrameCounter:
    """Follows ``frame_num`` (section 7.4.3) from packet to packet."""

    def __init__(self) -> None:
        self._bits: int | None = None
        self._has_planes = False
        self._may_skip = False
        self._reference: int | None = None

    def lost_before(self, packet: bytes) -> bool:
        """Whether a reference frame is missing before this one (Annex B byte stream)."""
        for start, end in split_annex_b(packet):
            kind = packet[start] & 31
            if kind == PARAMETER_SET:
                self._read_parameters(unescape(packet[start + 1 : min(end, start + MATRIX_BYTES)]))
            elif kind in (SLICE, IDR_SLICE):
                header = unescape(packet[start + 1 : min(end, start + HEADER_BYTES)])
                return self._is_gap(header, packet[start] & 0x60 != 0, kind == IDR_SLICE)
        return False

    def _is_gap(self, header: bytes, is_reference: bool, is_idr: bool) -> bool:
        if self._bits is None or self._may_skip:
            return False
        number = self._frame_number(Bits(header))
        last = self._reference
        if is_reference:
            self._reference = number
        if is_idr or last is None:
            return False
        return number not in (last, (last + 1) % (1 << self._bits))

    def _frame_number(self, bits: Bits) -> int:
        """Section 7.3.3."""
        for _ in ("first_mb_in_slice", "slice_type", "pic_parameter_set_id"):
            bits.unsigned()
        if self._has_planes:
            bits.take(2)
        return bits.take(self._bits or 0)

    def _read_parameters(self, payload: bytes) -> None:
        """Section 7.3.2.1.1, up to gaps_in_frame_num_value_allowed_flag."""
        bits = Bits(payload)
        profile = bits.take(8)
        bits.take(16)  # constraint flags and level
        bits.unsigned()  # seq_parameter_set_id
        self._has_planes = profile in PROFILES_WITH_CHROMA and _skip_chroma(bits)
        width = bits.unsigned() + 4
        self._bits = width if width <= MOST_BITS else None
        order = bits.unsigned()
        if order == 0:
            bits.unsigned()
        elif order == 1:
            _skip_picture_order(bits)
        bits.unsigned()  # max_num_ref_frames
        self._may_skip = bool(bits.take(1))


def _skip_chroma(bits: Bits) -> bool:
    """Skip chroma format, depths and matrices; returns separate_colour_plane_flag."""
    chroma_format = bits.unsigned()
    has_planes = chroma_format == 3 and bool(bits.take(1))
    bits.unsigned()
    bits.unsigned()
    bits.take(1)
    if bits.take(1):
        for number in range(12 if chroma_format == 3 else 8):
            if bits.take(1):
                _skip_matrix(bits, 16 if number < 6 else 64)
    return has_planes


def _skip_matrix(bits: Bits, size: int) -> None:
    """Section 7.3.2.1.1.1."""
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _skip_picture_order(bits: Bits) -> None:
    bits.take(1)
    bits.signed()
    bits.signed()
    for _ in range(min(bits.unsigned(), 255)):
        bits.signed()
