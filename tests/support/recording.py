"""Builds a small sealed session folder, as agents and server would have left it.

Real H.264 through PyAV, real evidence in every access unit, real event logs; only the cameras are
made up. Every fault of `Recording` is put where it would really arise, so that an audit can be
shown to find it there.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType

from capture_protocol import (
    ClockSource,
    Codec,
    Event,
    EventKind,
    FrameFlag,
    FrameRecord,
    Grid,
    LockState,
    LossPlace,
    Manifest,
    SegmentName,
    SessionFolder,
    SessionPlan,
    evidence_nal,
    optical_clock,
    splice,
)
from capture_protocol.events import (
    CLOCK_STRUCT,
    ENCODED_STRUCT,
    LOST_STRUCT,
    PICTURE_STRUCT,
    RELEASE_STRUCT,
)
from capture_protocol.frame import RECORD_VERSION
from capture_protocol.rig import AuditSection, CameraConfig
from capture_protocol.session import PlannedCamera
from control_server.session import sealing
from control_server.session.accounting import CameraAccount, SegmentFact
from control_server.session.segment_scan import scan_segment

SESSION = 7
T0_NS = 1_795_000_000_000_000_000
MONO_OFFSET_NS = 1_794_000_000_000_000_000
EXPOSURE_NS, LINE_TIME_NS, ROWS = 4_000_000, 20_000, 120
RELEASE_LEAD_NS = 90_000_000  # a request is queued this long before its frame is encoded

Claim = Callable[[FrameRecord], FrameRecord]
Key = tuple[int, int]  # camera index, slot


def unchanged(record: FrameRecord) -> FrameRecord:
    """The claim that nothing is wrong."""
    return record


@dataclass(frozen=True)
class Recording:
    """What to record, and what goes wrong."""

    cameras: int = 2
    slots: int = 40
    rate: Fraction = Fraction(30)
    gop: int = 10
    segment_slots: int = 20
    width: int = 320
    height: int = 240
    container: str = "mkv"
    limits: AuditSection = field(default_factory=AuditSection)
    lost: dict[Key, LossPlace] = field(default_factory=dict)
    late: frozenset[Key] = frozenset()
    repeated: frozenset[Key] = frozenset()
    resend: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Camera → (break after this slot, part 2 begins at this slot)."""
    last_slots: dict[int, int] = field(default_factory=dict)
    extra_keys: frozenset[int] = frozenset()
    no_keys: frozenset[int] = frozenset()
    bare: frozenset[Key] = frozenset()
    """Frames whose access unit carries no evidence."""
    claim: Claim = unchanged
    """Changes what an agent claims, in stream and log alike; the truth stays."""
    stream_claim: Claim = unchanged
    """Changes only what the stream says."""
    log_claim: Claim = unchanged
    """Changes only what the event log says."""
    release_log_shift_ns: int = 0
    """What the RELEASE events say beside the records."""
    container_shift_ns: int = 0
    cut: dict[int, int] = field(default_factory=dict)
    """Camera → slots by which its segment boundaries are off."""
    steps: frozenset[Key] = frozenset()
    clock_source: ClockSource = ClockSource.PTP_HARDWARE
    logless: frozenset[int] = frozenset()
    clocks: bool = True
    """Whether the pictures show the optical clock."""
    backend: str = "simulated"
    seed: int = 1
    pictures_of: int = 0
    """Another number gives other pictures with the same evidence."""

    @property
    def grid(self) -> Grid:
        return Grid(T0_NS, self.rate)

    def build(self, path: Path) -> SessionFolder:
        """Record, and seal the session in a new folder ``path``."""
        folder = record(self, path)
        seal(folder)
        return folder

    def record(self, camera: int, slot: int) -> FrameRecord:
        """The honest claim of one frame."""
        return make_record(self, camera, slot)


def camera_name(index: int) -> str:
    return f"cam{index}"


def make_record(spec: Recording, camera: int, slot: int) -> FrameRecord:
    jitter = np.random.default_rng([spec.seed, camera, slot])
    target = spec.grid.time_ns(slot)
    error_ns = int(jitter.normal(camera * 4_000, 3_000))
    if (camera, slot) in spec.late:
        error_ns += spec.grid.period_ns // 3
    flags = FrameFlag.SIMULATED
    flags |= FrameFlag.LATE if (camera, slot) in spec.late else FrameFlag.NONE
    flags |= FrameFlag.REPEATED if (camera, slot) in spec.repeated else FrameFlag.NONE
    if any(index == camera and slot >= at for index, at in spec.steps):
        flags |= FrameFlag.CLOCK_STEPPED
    return FrameRecord(
        version=RECORD_VERSION,
        lock=LockState.LOCKED,
        flags=flags,
        camera=camera,
        session=SESSION,
        slot=slot,
        slot_time_ns=target,
        rate_num=spec.rate.numerator,
        rate_den=spec.rate.denominator,
        release_ns=target + int(abs(jitter.normal(0, 2_000))),
        frame_start_ns=target + error_ns - ROWS // 2 * LINE_TIME_NS + EXPOSURE_NS // 2,
        exposure_ns=EXPOSURE_NS,
        line_time_ns=LINE_TIME_NS,
        rows=ROWS,
        sequence=slot,
        frame_duration_ns=spec.grid.period_ns,
        gain_milli=1000,
        sensor_delay_ns=0,
        clock_offset_ns=int(jitter.normal(0, 800)),
        clock_uncertainty_ns=5_000,
        stamp_uncertainty_ns=10_000,
    )


def record(spec: Recording, path: Path) -> SessionFolder:
    """Video and event logs; the session is not sealed."""
    folder = SessionFolder(path)
    (path / "events").mkdir(parents=True)
    folder.write_plan(_plan(spec))
    for camera in range(spec.cameras):
        units = _encode(spec, camera)
        _write_segments(spec, folder, camera, units)
        if camera not in spec.logless:
            _write_logs(spec, folder, camera, units)
    return folder


def seal(folder: SessionFolder, last_slot: int | None = None, complete: bool = True) -> Manifest:
    """Seal what lies in the folder, as the server does."""
    plan = folder.read_plan()
    accounts = {camera.name: _account(folder, camera.name) for camera in plan.cameras}
    if last_slot is None:
        last_slot = max(int(account.delivered()[-1]) for account in accounts.values())
    return sealing.seal(folder, plan, accounts, sealing.Outcome(last_slot, complete, ""))


def _account(folder: SessionFolder, camera: str) -> CameraAccount:
    account = CameraAccount()
    for path in folder.segments(camera):
        name, scan = SegmentName.parse(path.name), scan_segment(path)
        size = path.stat().st_size
        account.add_segment(
            SegmentFact(name, path, scan.slots, 0, size, sha256(path), scan.damaged)
        )
    return account


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class _Unit:
    slot: int
    data: bytes
    key: bool


def _plan(spec: Recording) -> SessionPlan:
    config = {
        "backend": spec.backend,
        "width": spec.width,
        "height": spec.height,
        "exposure_us": EXPOSURE_NS // 1000,
    }
    return SessionPlan(
        session=SESSION,
        rig_name="bench",
        rig_id="00" * 16,
        t0_ns=T0_NS,
        rate_num=spec.rate.numerator,
        rate_den=spec.rate.denominator,
        gop=spec.gop,
        segment_slots=spec.segment_slots,
        container=spec.container,
        drain_timeout_s=60,
        start_datagram="",
        cameras=[
            PlannedCamera(
                name=camera_name(index),
                index=index,
                node=f"node{index}",
                stream_port=7710 + index,
                config=CameraConfig(name=camera_name(index), **config),
            )
            for index in range(spec.cameras)
        ],
        audit=spec.limits,
    )


def _reached(spec: Recording, camera: int, place: LossPlace) -> list[int]:
    """Slots that got past ``place`` (for NETWORK: into the spool; for FILE: into a file)."""
    last = spec.last_slots.get(camera, spec.slots - 1)
    return [
        slot
        for slot in range(last + 1)
        if spec.lost.get((camera, slot), LossPlace.FILE + 1) > place
    ]


def _encode(spec: Recording, camera: int) -> list[_Unit]:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = spec.width, spec.height, "yuv420p"
    encoder.time_base, encoder.framerate = 1 / spec.rate, spec.rate
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "crf": "12",
        "x264-params": "keyint=infinite:scenecut=0:forced-idr=1",
    }
    background = _background(spec, camera)
    units = []
    group = -1
    for slot in _reached(spec, camera, LossPlace.ENCODER):
        honest = make_record(spec, camera, slot)
        frame = _picture(background, honest, spec.clocks)
        key = (slot // spec.gop != group and slot not in spec.no_keys) or slot in spec.extra_keys
        group = slot // spec.gop
        frame.pts, frame.pict_type = slot, PictureType.I if key else PictureType.NONE
        (packet,) = encoder.encode(frame)
        claimed = spec.stream_claim(spec.claim(honest))
        data = bytes(packet)
        if (camera, slot) not in spec.bare:
            nal = evidence_nal(claimed.pack(), claimed.midpoint_ns, locked=True, codec=Codec.H264)
            data = splice(data, nal, Codec.H264)
        units.append(_Unit(slot, data, packet.is_keyframe))
    return units


def _background(spec: Recording, camera: int) -> np.ndarray:
    rng = np.random.default_rng([spec.seed, camera, spec.pictures_of])
    coarse = rng.integers(60, 200, (spec.height // 8 + 1, spec.width // 8 + 9), np.uint8)
    picture = np.full((spec.height * 3 // 2, spec.width + 64), 128, np.uint8)
    picture[: spec.height] = coarse.repeat(8, 0).repeat(8, 1)[: spec.height, : spec.width + 64]
    return picture


def _picture(background: np.ndarray, honest: FrameRecord, clock: bool) -> av.VideoFrame:
    """The scene at a slot, with the true instants of its rows drawn in."""
    left = 2 * honest.slot % 64
    picture = np.ascontiguousarray(background[:, left : left + background.shape[1] - 64])
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    picture[height:] = 128
    readout_ns = ROWS * LINE_TIME_NS
    instants = [
        honest.midpoint_ns + (2 * row - height) * readout_ns // (2 * height)
        for row in optical_clock.band_rows(height, width)
    ]
    if clock:
        optical_clock.draw(picture[:height], instants)
    return av.VideoFrame.from_ndarray(picture, "yuv420p")


def _write_segments(
    spec: Recording, folder: SessionFolder, camera: int, units: list[_Unit]
) -> None:
    folder.video(camera_name(camera)).mkdir(parents=True)
    arrived = set(_reached(spec, camera, LossPlace.FILE))
    sent = [unit for unit in units if unit.slot in arrived]
    broken, again = spec.resend.get(camera, (spec.slots, spec.slots))
    parts = (
        [unit for unit in sent if unit.slot <= broken],
        [unit for unit in sent if unit.slot >= again],
    )
    for part, part_units in enumerate(parts, start=1):
        cuts = _cut(part_units, spec.segment_slots, spec.cut.get(camera, 0))
        for segment, segment_units in enumerate(cuts):
            name = SegmentName(SESSION, camera_name(camera), part, segment, spec.container)
            path = folder.video(camera_name(camera)) / str(name)
            write_segment(path, spec, segment_units)


def _cut(units: list[_Unit], segment_slots: int, off: int) -> Iterable[list[_Unit]]:
    blocks: dict[int, list[_Unit]] = {}
    for unit in units:
        blocks.setdefault((unit.slot - off) // segment_slots, []).append(unit)
    return blocks.values()


def write_segment(path: Path, spec: Recording, units: list[_Unit]) -> None:
    """Mux access units as the segmenter does: container time is slot·Δ from t0."""
    with av.open(path, "w", format="matroska" if spec.container == "mkv" else "nut") as container:
        stream = container.add_stream("libx264", rate=spec.rate)
        stream.width, stream.height, stream.pix_fmt = spec.width, spec.height, "yuv420p"
        stream.time_base = 1 / spec.rate
        stream.codec_context.options = {"preset": "ultrafast", "tune": "zerolatency"}
        container.start_encoding()
        for unit in units:
            packet = av.Packet(unit.data)
            packet.stream, packet.time_base = stream, Fraction(1, 10**9)
            packet.pts = packet.dts = spec.grid.offset_ns(unit.slot) + spec.container_shift_ns
            packet.is_keyframe = unit.key
            container.mux(packet)


class _Log:
    def __init__(self, camera: int) -> None:
        self.camera = camera
        self.records: list[bytes] = []

    def add(self, kind: EventKind, at_ns: int, payload: bytes) -> None:
        number = len(self.records) + 1
        mono_ns = at_ns - MONO_OFFSET_NS
        self.records.append(Event(number, mono_ns, SESSION, self.camera, kind, payload).pack())


def _write_logs(spec: Recording, folder: SessionFolder, camera: int, units: list[_Unit]) -> None:
    capture, stream = _Log(camera), _Log(camera)
    framed = set(_reached(spec, camera, LossPlace.SENSOR))
    for slot in _reached(spec, camera, LossPlace.AGENT):
        _log_capture(spec, capture, make_record(spec, camera, slot), slot in framed)
    for unit in units:
        at_ns = spec.grid.time_ns(unit.slot) + RELEASE_LEAD_NS
        fields = unit.slot, len(unit.data), unit.key, at_ns, 1_200_000
        stream.add(EventKind.ENCODED, at_ns, ENCODED_STRUCT.pack(*fields))
    name = camera_name(camera)
    folder.event_log(name, "capture").write_bytes(b"".join(capture.records))
    folder.event_log(name, "stream").write_bytes(b"".join(stream.records))


def _log_capture(spec: Recording, log: _Log, honest: FrameRecord, framed: bool) -> None:
    target = honest.slot_time_ns
    released_ns = spec.claim(honest).release_ns + spec.release_log_shift_ns
    release = RELEASE_STRUCT.pack(honest.slot, target, released_ns, 0)
    log.add(EventKind.RELEASE, target, release)
    if (honest.camera, honest.slot) in spec.steps:
        step = CLOCK_STRUCT.pack(target, target - MONO_OFFSET_NS, 60, 5_000_000, 5_000, 0)
        log.add(EventKind.STEP, target, step)
    if honest.slot % 10 == 0:
        state = honest.clock_offset_ns, honest.clock_uncertainty_ns, spec.clock_source
        clock = CLOCK_STRUCT.pack(target, target - MONO_OFFSET_NS, 60, *state)
        log.add(EventKind.CLOCK, target, clock)
    if framed:
        claimed = spec.log_claim(spec.claim(honest))
        payload = claimed.pack() + PICTURE_STRUCT.pack(claimed.midpoint_ns)
        log.add(EventKind.FRAME, target + RELEASE_LEAD_NS // 2, payload)
    elif spec.lost[honest.camera, honest.slot] == LossPlace.SENSOR:
        lost = LOST_STRUCT.pack(honest.slot, LossPlace.SENSOR)
        log.add(EventKind.LOST, target + RELEASE_LEAD_NS, lost)
