"""Audit speed: the ordinary audit of 16 cameras × 1 h × 60 fps, 3.5 million frame records.

The session folder is synthetic but complete (plan, manifest, table, both event logs of every
camera); only its video files are stubs, because the ordinary audit does not open video.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.table import Table

from capture_protocol import ClockSource, Codec, EventKind, Grid, LockState, SegmentName
from capture_protocol.events import (
    CHECK_OFFSET,
    CLOCK_DTYPE,
    ENCODED_DTYPE,
    EVENT_DTYPE,
    EVENT_SIZE,
    PAYLOAD_SIZE,
    RELEASE_DTYPE,
)
from capture_protocol.frame import FRAME_DTYPE, RECORD_VERSION
from capture_protocol.rig import AuditSection, CameraConfig
from capture_protocol.session import (
    STAGES,
    CameraEntry,
    LogEntry,
    Manifest,
    PlannedCamera,
    SegmentEntry,
    SessionFolder,
    SessionPlan,
)
from control_server.audit.files import file_sha256
from control_server.session.frames_table import RowCollector, frames_writer
from control_server.session.record_times import slot_offsets_ns
from control_server.session.segment_scan import SegmentScan

CAMERAS, HOURS, RATE = 16, 1.0, Fraction(60)
SESSION, GOP, SEGMENT_SLOTS = 1, 60, 600
T0_NS = 1_795_000_000_000_000_000
MONO_OFFSET_NS = 1_794_000_000_000_000_000
TIME_AIM_S, MEMORY_AIM_MIB = 5.0, 1024.0

Records = npt.NDArray[np.void]


def run(cameras: int = CAMERAS, hours: float = HOURS) -> dict[str, object]:
    """Make the session, then time `manager audit` as a process of its own."""
    slots = int(hours * 3600 * RATE)
    with tempfile.TemporaryDirectory(prefix="tutti-bench-") as name:
        folder = SessionFolder(Path(name) / f"{SESSION:06}")
        _make_session(folder, cameras, slots)
        folder_mib = sum(p.stat().st_size for p in folder.path.rglob("*.*") if p.is_file()) / 2**20
        measured = _measure(folder)
    return {
        "cameras": cameras,
        "slots": slots,
        "records": cameras * slots,
        "folder_mib": round(folder_mib),
        "time_aim_s": TIME_AIM_S,
        "memory_aim_mib": MEMORY_AIM_MIB,
        **measured,
    }


def table(result: dict[str, object]) -> Table:
    """The result for a terminal."""
    shown = Table("audit of records", "measured", "aim")
    shown.add_row("frame records", f"{result['records']:,}", "")
    shown.add_row("wall time", f"{result['wall_s']:.2f} s", f"≤ {TIME_AIM_S:.0f} s")
    shown.add_row("CPU time", f"{result['cpu_s']:.2f} s", "")
    shown.add_row("peak memory", f"{result['peak_mib']:.0f} MiB", f"≤ {MEMORY_AIM_MIB:.0f} MiB")
    shown.add_row("verdict", str(result["verdict"]), "pass")
    return shown


def _measure(folder: SessionFolder) -> dict[str, object]:
    command = [sys.executable, "-m", "control_server", "audit", str(folder.path), "--json"]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    output = process.stdout.read() if process.stdout else b""
    _, _, usage = os.wait4(process.pid, 0)
    return {
        "wall_s": time.perf_counter() - began,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
        "verdict": json.loads(output)["verdict"],
    }


def _make_session(folder: SessionFolder, cameras: int, slots: int) -> None:
    (folder.path / "events").mkdir(parents=True)
    names = [f"cam{index}" for index in range(cameras)]
    plan = _plan(names)
    folder.write_plan(plan)
    segments: list[SegmentEntry] = []
    with folder.frames_path.open("wb") as file, frames_writer(file) as writer:
        for index, name in enumerate(names):
            records = _records(index, slots)
            folder.video(name).mkdir(parents=True)
            rows = RowCollector(name)
            for scan in _scans(folder, name, records):
                rows.add(scan, str(scan.path.relative_to(folder.path)))
                segments.append(_segment_entry(folder, name, scan))
            writer.write_table(rows.table())
            _write_logs(folder, name, records)
    folder.write_manifest(_manifest(folder, names, slots, segments))


def _plan(names: list[str]) -> SessionPlan:
    return SessionPlan(
        session=SESSION,
        rig_name="bench",
        rig_id="00" * 16,
        t0_ns=T0_NS,
        rate_num=RATE.numerator,
        rate_den=RATE.denominator,
        gop=GOP,
        segment_slots=SEGMENT_SLOTS,
        container="mkv",
        drain_timeout_s=60,
        start_datagram="",
        cameras=[
            PlannedCamera(
                name=name,
                index=index,
                node=name,
                stream_port=7710 + index,
                config=CameraConfig(name=name),
            )
            for index, name in enumerate(names)
        ],
        audit=AuditSection(),
    )


def _records(camera: int, slots: int) -> Records:
    rng = np.random.default_rng(camera)
    numbers = np.arange(slots, dtype=np.uint64)
    target_ns = T0_NS + slot_offsets_ns(RATE, numbers)
    records = np.zeros(slots, FRAME_DTYPE)
    records["version"] = RECORD_VERSION
    records["lock"] = LockState.LOCKED
    records["camera"], records["session"] = camera, SESSION
    records["slot"], records["slot_time_ns"] = numbers, target_ns
    records["rate_num"], records["rate_den"] = RATE.numerator, RATE.denominator
    records["release_ns"] = target_ns + np.abs(rng.normal(0, 2_000, slots)).astype(np.int64)
    records["frame_start_ns"] = target_ns + rng.normal(0, 6_000, slots).astype(np.int64)
    records["sequence"] = numbers & 0xFFFFFFFF
    records["frame_duration_ns"] = Grid(0, RATE).period_ns
    records["gain_milli"] = 1000
    records["clock_offset_ns"] = rng.normal(0, 800, slots).astype(np.int64)
    records["clock_uncertainty_ns"] = rng.integers(2_000, 6_000, slots)
    records["stamp_uncertainty_ns"] = 10_000
    return records


def _scans(folder: SessionFolder, camera: str, records: Records) -> list[SegmentScan]:
    """What a scan of each segment would give, over a stub file."""
    scans = []
    sizes = np.random.default_rng(1).integers(3_000, 40_000, len(records), np.uint32)
    for first in range(0, len(records), SEGMENT_SLOTS):
        name = SegmentName(SESSION, camera, 1, first // SEGMENT_SLOTS, "mkv")
        path = folder.video(camera) / str(name)
        path.write_bytes(str(name).encode())
        part = records[first : first + SEGMENT_SLOTS]
        rounded_ms = (slot_offsets_ns(RATE, part["slot"]) + 500_000) // 1_000_000
        scans.append(
            SegmentScan(
                path=path,
                codec=Codec.H264,
                records=part,
                sizes=sizes[first : first + SEGMENT_SLOTS],
                keys=part["slot"] % GOP == 0,
                container_ns=rounded_ms * 1_000_000,
                frames=len(part),
                without_evidence=0,
                damaged="",
            )
        )
    return scans


def _segment_entry(folder: SessionFolder, camera: str, scan: SegmentScan) -> SegmentEntry:
    first, last = int(scan.slots[0]), int(scan.slots[-1])
    return SegmentEntry(
        path=str(scan.path.relative_to(folder.path)),
        camera=camera,
        part=1,
        segment=first // SEGMENT_SLOTS,
        sha256=file_sha256(scan.path),
        size=scan.path.stat().st_size,
        frames=scan.frames,
        first_slot=first,
        last_slot=last,
    )


def _manifest(
    folder: SessionFolder, names: list[str], slots: int, segments: list[SegmentEntry]
) -> Manifest:
    return Manifest(
        session=SESSION,
        complete=True,
        sealed_ns=T0_NS + 10**13,
        last_slot=slots - 1,
        plan_sha256=file_sha256(folder.plan_path),
        frames_sha256=file_sha256(folder.frames_path),
        cameras=[CameraEntry(name=name, frames=slots, missing=[], parts=1) for name in names],
        segments=segments,
        logs=[
            LogEntry(
                path=str(path.relative_to(folder.path)),
                camera=name,
                stage=stage,
                sha256=file_sha256(path),
                records=path.stat().st_size // EVENT_SIZE,
            )
            for name in names
            for stage in STAGES
            for path in [folder.event_log(name, stage)]
        ],
    )


def _write_logs(folder: SessionFolder, camera: str, records: Records) -> None:
    target_ns, slots = records["slot_time_ns"], len(records)
    releases = np.zeros(slots, RELEASE_DTYPE)
    releases["slot"], releases["target_ns"] = records["slot"], target_ns
    releases["released_ns"] = records["release_ns"]
    units = np.zeros(slots, ENCODED_DTYPE)
    units["slot"], units["key"] = records["slot"], records["slot"] % GOP == 0
    clocks = np.zeros(slots // int(RATE), CLOCK_DTYPE)
    clocks["real_ns"] = target_ns[:: int(RATE)]
    clocks["uncertainty_ns"], clocks["source"] = 5_000, ClockSource.PTP_HARDWARE
    capture = [
        _events(EventKind.RELEASE, releases, target_ns),
        _events(EventKind.FRAME, records, target_ns + 40_000_000),
        _events(EventKind.CLOCK, clocks, clocks["real_ns"]),
    ]
    stream = [_events(EventKind.ENCODED, units, target_ns + 60_000_000)]
    index = int(records["camera"][0])
    _write_log(folder.event_log(camera, "capture"), np.concatenate(capture), index)
    _write_log(folder.event_log(camera, "stream"), np.concatenate(stream), index)


def _events(kind: EventKind, payloads: Records, at_ns: npt.NDArray[np.int64]) -> Records:
    events = np.zeros(len(payloads), EVENT_DTYPE)
    events["kind"], events["mono_ns"] = kind, at_ns - MONO_OFFSET_NS
    packed = np.zeros((len(events), PAYLOAD_SIZE), np.uint8)
    raw = np.ascontiguousarray(payloads).view(np.uint8).reshape(len(events), -1)
    packed[:, : payloads.dtype.itemsize] = raw
    events["payload"] = packed.view(EVENT_DTYPE["payload"]).reshape(-1)
    return events


def _write_log(path: Path, events: Records, camera: int) -> None:
    events = events[np.argsort(events["mono_ns"], kind="stable")]
    events["number"] = np.arange(1, len(events) + 1)
    events["session"], events["camera"] = SESSION, camera
    data = memoryview(events.tobytes())
    events["check"] = [
        zlib.crc32(data[start : start + CHECK_OFFSET]) for start in range(0, len(data), EVENT_SIZE)
    ]
    path.write_bytes(events.tobytes())
