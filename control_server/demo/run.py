"""`manager demo`: one session on this machine, from nothing to an audited recording."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from capture_protocol import InputError, SessionFolder, TuttiError, parse_rate
from capture_protocol.publish import publish_text
from capture_protocol.rig import AuditSection
from control_server.audit import Audit, run_audit
from control_server.audit.report import render_report
from control_server.audit.table import render_result
from control_server.demo.local_rig import LocalRig, LocalWish
from control_server.demo.picture_check import picture_psnr_db
from control_server.manager.process import ask
from control_server.manager.requests import StartRequest, StatusRequest

REPORT_NAME = "demo-report.html"
MIN_PSNR_DB = 30.0
"""A recording of known footage must look at least this much like it."""
READY_WAIT_S = 30.0
STATUS_S = 0.25
FILE_SOURCE_PREFIX = "file:"
FOOTAGE_LIMITS = AuditSection(grid_error_p99_us=20_000.0, skew_p99_us=20_000.0, max_late=1_000_000)
"""Footage is "exposed" when its slot is released: its times are those of the software timer, on a
machine that may be busy. Every slot must be there all the same."""


@dataclass(frozen=True, slots=True)
class DemoWish:
    """What to demonstrate."""

    cameras: int = 3
    seconds: float = 10.0
    rate: str = "30"
    source: str = "simulated"
    """"simulated", or "file:PATH"."""
    keep: Path | None = None
    """Where rig and recording stay; None: only the report is kept."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What came of it."""

    audit: Audit
    report: Path
    recording: Path | None
    psnr_db: dict[str, float] | None
    """Lowest PSNR of each camera against the footage, None for simulated sensors."""

    @property
    def exit_code(self) -> int:
        """The audit's, or 1 where the pictures are not those of the footage."""
        if self.psnr_db is not None and min(self.psnr_db.values()) < MIN_PSNR_DB:
            return 1
        return self.audit.result.exit_code


def run_demo(wish: DemoWish, console: Console) -> DemoResult:
    """Make a rig, record, audit.

    Raises:
        TuttiError: what did not work.
    """
    frames = frames_of(wish)
    footage = footage_of(wish.source)
    with _folder(wish.keep) as folder:
        with LocalRig(folder, local_wish(wish, footage)) as rig:
            recorded = record(rig, frames, console)
        audit = run_audit(recorded, deep=True)
        report = (recorded.path if wish.keep else Path.cwd()) / REPORT_NAME
        publish_text(report, render_report(audit))
        psnr = picture_psnr_db(recorded, footage) if footage else None
        return DemoResult(audit, report, recorded.path if wish.keep else None, psnr)


def show(result: DemoResult, console: Console) -> None:
    """The audit's table and what is left of the demo."""
    console.print(render_result(result.audit.result))
    if result.psnr_db is not None:
        worst = min(result.psnr_db.values())
        console.print(f"pictures: lowest PSNR against the footage {worst:.1f} dB")
    console.print(f"report: {result.report}")
    if result.recording:
        console.print(f"recording: {result.recording}")


def as_json(result: DemoResult) -> dict[str, Any]:
    """The demo's result for programs."""
    return {
        "audit": json.loads(result.audit.result.model_dump_json()),
        "report": str(result.report),
        "recording": str(result.recording) if result.recording else None,
        "psnr_db": result.psnr_db,
        "exit_code": result.exit_code,
    }


def frames_of(wish: DemoWish) -> int:
    """Slots of the demo's session.

    Raises:
        InputError: no whole slot fits, or the wish is absurd.
    """
    if wish.cameras < 1 or wish.cameras > 64:
        raise InputError(f"a demo has 1 to 64 cameras, not {wish.cameras}")
    frames = int(Fraction(wish.seconds).limit_denominator(1000) * parse_rate(wish.rate))
    if frames < 1:
        raise InputError(f"no frame fits into {wish.seconds} s at {wish.rate} frames per second")
    return frames


def footage_of(source: str) -> Path | None:
    """The file of a "file:PATH" source, None for "simulated".

    Raises:
        InputError: another kind of source, or no such file.
    """
    if source == "simulated":
        return None
    if not source.startswith(FILE_SOURCE_PREFIX):
        raise InputError(f"source {source!r} is unknown", hint="use simulated or file:PATH")
    path = Path(source.removeprefix(FILE_SOURCE_PREFIX)).expanduser()
    if not path.is_file():
        raise InputError(f"footage {path} does not exist")
    return path


def local_wish(wish: DemoWish, footage: Path | None) -> LocalWish:
    """The rig that the demo needs."""
    gop = max(1, round(parse_rate(wish.rate)))
    if footage is None:
        return LocalWish(nodes=wish.cameras, rate=wish.rate, gop=gop)
    width, height = picture_size(footage)
    return LocalWish(
        nodes=wish.cameras,
        rate=wish.rate,
        gop=gop,
        footage=footage,
        width=width,
        height=height,
        audit=FOOTAGE_LIMITS,
    )


def picture_size(footage: Path) -> tuple[int, int]:
    """Width and height of a video file.

    Raises:
        InputError: it is no video.
    """
    try:
        with av.open(str(footage)) as container:
            stream = next(iter(container.streams.video), None)
            if stream is None:
                raise InputError(f"{footage} has no video stream")
            return stream.width, stream.height
    except av.FFmpegError as error:
        raise InputError(f"{footage} is no video that FFmpeg reads: {error}") from error


def record(rig: LocalRig, frames: int, console: Console) -> SessionFolder:
    """One session of ``frames`` slots with live progress, until it is sealed.

    Raises:
        TuttiError: it did not start, or did not end in time.
    """
    wait_until_ready(rig, READY_WAIT_S)
    started = ask(rig.place, StartRequest(frames=frames), lambda text: console.print(f"· {text}"))
    folder = SessionFolder(Path(started["folder"]))
    session = rig.place.config.session
    deadline = time.monotonic() + frames / session.frame_rate + session.drain_timeout_s + 10
    with _progress(console) as progress:
        bars = {name: progress.add_task(name, total=frames) for name in started["cameras"]}
        while folder.read_manifest() is None:
            if time.monotonic() > deadline:
                raise TuttiError("the session was not sealed in time")
            for camera in ask(rig.place, StatusRequest(), lambda _: None)["cameras"]:
                progress.update(bars[camera["camera"]], completed=camera["sent"])
            time.sleep(STATUS_S)
        for bar in bars.values():
            progress.update(bar, completed=frames)
    return folder


def wait_until_ready(rig: LocalRig, wait_s: float) -> None:
    """Until every agent is heard and its cameras are locked.

    Raises:
        TuttiError: an agent ended, or the rig is not ready in time; says which and why.
    """
    deadline = time.monotonic() + wait_s
    while True:
        for node, agent in rig.agents.items():
            if agent.poll() is not None:
                log = rig.place.nodes / node / "agent.log"
                words = log.read_text(errors="replace").strip().rpartition("\n")[2]
                raise TuttiError(f"the agent of {node} ended: {words}", hint=f"see {log}")
        status = ask(rig.place, StatusRequest(), lambda _: None)
        waiting = [node["node"] for node in status["nodes"] if not node["heard"]]
        waiting += [camera["camera"] for camera in status["cameras"] if camera["lock"] != "locked"]
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise TuttiError(f"not ready after {wait_s:.0f} s: {', '.join(waiting)}")
        time.sleep(STATUS_S)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:>5.0f}/{task.total:.0f} slots"),
        TimeElapsedColumn(),
        console=console,
    )


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """The given folder, or one that goes when the demo is over."""
    if keep is not None:
        if keep.exists() and any(keep.iterdir()):
            raise InputError(f"{keep} is not empty", hint="name a new folder with --keep")
        yield keep
        return
    folder = Path(tempfile.mkdtemp(prefix="tutti-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
