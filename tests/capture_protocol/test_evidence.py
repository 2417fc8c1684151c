from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_protocol import (
    Codec,
    FrameRecord,
    InputError,
    evidence_nal,
    read_evidence,
    read_misb_us,
    splice,
)
from capture_protocol.evidence import EVIDENCE_UUID, MISB_UUID, misb
from capture_protocol.nal import escape, split_annex_b, unescape
from tests.capture_protocol.strategies import frame_records

CODECS = st.sampled_from(Codec)
SLICE = {Codec.H264: b"\x00\x00\x01\x65\x88\x80\x40", Codec.H265: b"\x00\x00\x01\x26\x01\xaf\x40"}
PARAMETERS = {Codec.H264: b"\x00\x00\x00\x01\x67\x42", Codec.H265: b"\x00\x00\x00\x01\x42\x01\x11"}


def prefixed(unit: bytes) -> bytes:
    """The access unit as Matroska and MP4 hold it, with four-byte lengths."""
    return b"".join(
        (end - begin).to_bytes(4, "big") + unit[begin:end] for begin, end in split_annex_b(unit)
    )


@given(st.binary(max_size=300))
def test_escaping_is_lossless_and_leaves_no_start_code(payload: bytes) -> None:
    escaped = escape(payload)
    assert unescape(escaped) == payload
    for code in range(3):
        assert b"\x00\x00" + bytes([code]) not in escaped


@given(st.lists(st.sampled_from([b"\x00", b"\x00\x00", b"\x03", b"\x01"]), max_size=60))
def test_escaping_survives_runs_of_zeros(parts: list[bytes]) -> None:
    assert unescape(escape(b"".join(parts))) == b"".join(parts)


@given(frame_records, CODECS)
def test_evidence_is_read_back_exactly(record: FrameRecord, codec: Codec) -> None:
    nal = evidence_nal(record.pack(), max(record.midpoint_ns, 0), locked=True, codec=codec)
    unit = splice(PARAMETERS[codec] + SLICE[codec], nal, codec)
    assert read_evidence(unit, codec) == record
    assert read_evidence(prefixed(unit), codec, 4) == record
    assert read_misb_us(unit, codec) == max(record.midpoint_ns, 0) // 1000


@given(frame_records, CODECS)
def test_evidence_goes_before_the_first_slice(record: FrameRecord, codec: Codec) -> None:
    nal = evidence_nal(record.pack(), 0, locked=False, codec=codec)
    unit = splice(PARAMETERS[codec] + SLICE[codec] * 2, nal, codec)
    kinds = [codec.nal_type(unit[begin]) for begin, _ in split_annex_b(unit)]
    sei = 6 if codec is Codec.H264 else 39
    assert kinds.index(sei) == 1
    assert kinds.count(sei) == 1
    assert unit.startswith(PARAMETERS[codec])
    assert unit.endswith(SLICE[codec] * 2)


def test_a_unit_without_a_picture_is_refused() -> None:
    with pytest.raises(InputError):
        splice(PARAMETERS[Codec.H264], b"", Codec.H264)


@given(st.binary(max_size=400), CODECS, st.sampled_from([None, 1, 2, 4]))
def test_any_bytes_give_a_record_or_none(data: bytes, codec: Codec, prefix: int | None) -> None:
    assert read_evidence(data, codec, prefix) is None
    assert read_misb_us(data, codec, prefix) is None


@given(frame_records, CODECS, st.data())
def test_damaged_evidence_never_raises_but_for_its_version(
    record: FrameRecord, codec: Codec, data: st.DataObject
) -> None:
    nal = evidence_nal(record.pack(), 1, locked=True, codec=codec)
    unit = splice(SLICE[codec], nal, codec)
    cut = unit[: data.draw(st.integers(0, len(nal)))]
    assert read_evidence(cut, codec) in (None, record)


def test_the_misb_stamp_has_the_standards_layout() -> None:
    stamp = misb(0x0102030405060708 * 1000, locked=True)
    assert stamp == bytes.fromhex("1f 0102 ff 0304 ff 0506 ff 0708".replace(" ", ""))
    assert misb(0, locked=False)[0] == 0x9F
    assert MISB_UUID.hex() == "4d4953506d6963726f73656374696d65"


@pytest.mark.parametrize(("encoder", "codec"), [("libx264", Codec.H264), ("libx265", Codec.H265)])
def test_a_real_decoder_sees_the_same_bytes(encoder: str, codec: Codec) -> None:
    context = av.CodecContext.create(encoder, "w")
    context.width, context.height, context.pix_fmt = 160, 128, "yuv420p"
    context.time_base = Fraction(1, 30)
    context.options = {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=0"}
    if encoder == "libx264":
        context.options = {"preset": "ultrafast", "tune": "zerolatency"}
    sent: list[FrameRecord] = []
    stream = b""

    def collect(packets: list[av.Packet]) -> None:
        nonlocal stream
        for packet in packets:
            record = FrameRecord(
                1,
                2,
                0,
                0,
                1,
                len(sent),
                len(sent) * 10**9,
                30,
                1,
                0,
                0,
                0,
                0,
                128,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
            )
            nal = evidence_nal(record.pack(), 10**18 + len(sent), locked=True, codec=codec)
            stream += splice(bytes(packet), nal, codec)
            sent.append(record)

    for index in range(12):
        picture = np.full((192, 160), 16 * index, np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts = index
        collect(context.encode(frame))
    collect(context.encode(None))

    decoder = av.CodecContext.create(codec.value, "r")
    decoded: list[FrameRecord] = []
    for packet in [*decoder.parse(stream), *decoder.parse(), None]:
        for frame in decoder.decode(packet):
            payloads = [bytes(data) for data in frame.side_data]
            mine = [data for data in payloads if data.startswith(EVIDENCE_UUID)]
            assert any(data.startswith(MISB_UUID) for data in payloads)
            decoded.append(FrameRecord.unpack(mine[0][16:]))
    assert decoded == sent
    assert len(sent) == 12
