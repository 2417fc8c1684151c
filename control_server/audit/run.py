"""One audit from begin to end."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from capture_protocol import SessionFolder
from control_server.audit.camera import CameraFindings, examine_camera
from control_server.audit.checks import ordinary_checks
from control_server.audit.deep import DeepFindings, deep_checks, examine_video, skipped_checks
from control_server.audit.files import Progress, examine_files
from control_server.audit.findings import Findings
from control_server.audit.result import AuditResult, Check, Verdict, overall
from control_server.audit.session import AuditedSession, open_session
from control_server.audit.skew import Skew, examine_skew
from control_server.audit.statistics import spread

WORKERS = 2
"""Cameras examined at once: numpy and Parquet release the interpreter, and each needs ~50 MB per
hour at 60 fps."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The answer, and what the report draws."""

    session: AuditedSession
    result: AuditResult
    cameras: list[CameraFindings]
    skew: Skew


def run_audit(
    folder: SessionFolder, *, deep: bool = False, progress: Progress | None = None
) -> Audit:
    """Audit a session from its folder alone.

    Args:
        folder: the session's folder, wherever it lies.
        deep: also hash, scan and decode every file.
        progress: called with the name of each file that a deep audit is done with.

    Raises:
        InputError: no session folder, or a damaged document or table in it.
    """
    session = open_session(folder)
    with ThreadPoolExecutor(WORKERS) as pool:
        cameras = list(
            pool.map(lambda camera: examine_camera(session, camera), session.plan.cameras)
        )
    skew = examine_skew(session.slots, (camera.times for camera in cameras))
    files = examine_files(session, deep=deep)
    findings = Findings(session, cameras, spread(skew.skew_ns), files, deep)
    video = examine_video(session, progress) if deep else None
    checks = ordinary_checks(findings)
    checks += deep_checks(session, video) if video else skipped_checks()
    return Audit(session, _result(findings, checks, video), cameras, skew)


def _result(found: Findings, checks: list[Check], video: DeepFindings | None) -> AuditResult:
    plan = found.session.plan
    verdict = overall(checks)
    cameras = [camera.result for camera in found.cameras]
    if video is not None:
        cameras = [
            camera.model_copy(update={"optical": video.optical.get(camera.name)})
            for camera in cameras
        ]
    return AuditResult(
        session=plan.session,
        rig=plan.rig_name,
        verdict=verdict,
        sentence=_sentence(verdict, found, checks),
        deep=found.deep,
        t0_ns=plan.t0_ns,
        rate=str(plan.rate),
        slots=found.session.slots,
        cameras=cameras,
        skew=found.skew,
        checks=checks,
    )


def _sentence(verdict: Verdict, found: Findings, checks: list[Check]) -> str:
    delivered = sum(camera.result.delivered for camera in found.cameras)
    wanted = found.session.slots * len(found.cameras)
    head = f"{delivered} of {wanted} slots delivered by {len(found.cameras)} cameras"
    if found.skew is not None:
        head += f", exposed within {found.skew.p99_ns / 1000:.0f} µs of each other (p99)"
    if verdict is Verdict.PASS:
        return f"{head}; every check holds."
    open_checks = [check.title.lower() for check in checks if check.verdict is verdict]
    what = "failed" if verdict is Verdict.FAIL else "cannot be answered"
    return f"{head}; {what}: {', '.join(open_checks)}."
