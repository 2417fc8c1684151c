"""Whether stream, event log, container and table agree."""

from collections.abc import Callable

from control_server.audit.agreement import CONTAINER_ERROR_NS, Agreement
from control_server.audit.findings import NS_PER_US, Findings, counted, listed, plural
from control_server.audit.result import Check, Verdict


def check_identity(found: Findings) -> Check:
    """Whether every record belongs to this session, camera and grid."""
    return _contradictions(
        found,
        "identity",
        "Records belong here",
        lambda agreement: agreement.foreign + agreement.derived,
        good="Every record names this session, its camera and its slot's Tn.",
        bad="Records name another session, camera or grid",
    )


def check_event_log(found: Findings) -> Check:
    """Whether the event logs say what the stream says."""
    title = "Stream equals event log"
    gaps = [camera.plan.name for camera in found.cameras if camera.log_gaps]
    logged = [camera for camera in found.cameras if camera.agreement.unlogged is not None]
    if not logged:
        sentence = "No event log was handed over; the stream's evidence stands alone."
        return Check(name="event_log", title=title, verdict=Verdict.SKIPPED, sentence=sentence)
    wrong = sum((camera.agreement.unlogged or 0) + camera.agreement.differing for camera in logged)
    if gaps and not wrong:
        sentence = f"Event logs have missing records: {listed(gaps)}"
        return Check(name="event_log", title=title, verdict=Verdict.UNKNOWN, sentence=sentence)
    return counted(
        "event_log",
        title,
        wrong,
        "frame records",
        good=f"Every frame of {len(logged)} cameras is in the log, equal in every bit.",
        bad=f"{plural(wrong, 'frame')} not in the event log, or differing from it.",
    )


def check_container_time(found: Findings) -> Check:
    """Whether the container's time stamps are those of the slots."""
    limit_us = CONTAINER_ERROR_NS[found.session.plan.container] / NS_PER_US
    errors = {camera.plan.name: camera.agreement.container_error_ns for camera in found.cameras}
    worst = max(errors, key=lambda camera: errors[camera])
    largest_us = errors[worst] / NS_PER_US
    return Check(
        name="container_time",
        title="Container time equals slot",
        verdict=Verdict.PASS if largest_us <= limit_us else Verdict.FAIL,
        measured=largest_us,
        limit=limit_us,
        unit="µs",
        sentence=f"Container times are at most {largest_us:.3f} µs off n·Δ ({worst}).",
    )


def check_key_frames(found: Findings) -> Check:
    """Whether every group of pictures begins with a key frame."""
    return _contradictions(
        found,
        "key_frames",
        "Key frames at n % gop = 0",
        lambda agreement: agreement.misplaced_keys,
        good=f"Every group of {found.session.plan.gop} slots begins with a key frame.",
        bad="Groups of pictures do not begin with a key frame",
    )


def check_segments(found: Findings) -> Check:
    """Whether files are cut at the same slots on all cameras."""
    return _contradictions(
        found,
        "segments",
        "Segments cut at equal slots",
        lambda agreement: agreement.crossing_files,
        good=f"All cameras' files are cut at multiples of {found.session.plan.segment_slots}.",
        bad="Files hold slots of more than one segment",
    )


def _contradictions(
    found: Findings,
    name: str,
    title: str,
    count: Callable[[Agreement], int],
    *,
    good: str,
    bad: str,
) -> Check:
    """A count per camera that must be zero."""
    counts = {camera.plan.name: count(camera.agreement) for camera in found.cameras}
    where = listed([f"{camera} {number}" for camera, number in counts.items() if number])
    unit = "files" if name == "segments" else "frame records"
    return counted(name, title, sum(counts.values()), unit, good=good, bad=f"{bad}: {where}")
