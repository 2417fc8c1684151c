"""The questions an audit answers, each from what was found and the plan's thresholds."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from capture_protocol.rig import AuditSection
from control_server.audit.agreement import CONTAINER_ERROR_NS, Agreement
from control_server.audit.camera import CameraFindings
from control_server.audit.files import FileProblem
from control_server.audit.result import Check, ClockSummary, Spread, Verdict
from control_server.audit.session import AuditedSession

NS_PER_US = 1000


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything the ordinary audit found."""

    session: AuditedSession
    cameras: list[CameraFindings]
    skew: Spread | None
    files: list[FileProblem]
    deep: bool
    """Whether all hashes were compared."""

    @property
    def limits(self) -> AuditSection:
        """Thresholds as they were when the session started."""
        return self.session.plan.audit


def ordinary_checks(found: Findings) -> list[Check]:
    """All checks that need no decoding, in the order a reader wants them."""
    return [
        check_sealed(found),
        check_files(found),
        check_account(found),
        *_count_checks(found),
        check_loss_places(found),
        *_timing_checks(found),
        *_clock_checks(found),
        check_identity(found),
        check_event_log(found),
        check_container_time(found),
        check_key_frames(found),
        check_segments(found),
        check_last_slot(found),
    ]


def check_sealed(found: Findings) -> Check:
    """Whether the session was sealed as complete."""
    manifest = found.session.manifest
    if manifest is None:
        verdict, sentence = Verdict.UNKNOWN, "The session is not sealed: it may still be growing."
    elif not manifest.complete:
        reason = f": {manifest.reason}" if manifest.reason else "."
        verdict, sentence = Verdict.FAIL, f"The session was sealed as incomplete{reason}"
    else:
        verdict, sentence = Verdict.PASS, "The session was sealed as complete."
    return Check(name="sealed", title="Session sealed", verdict=verdict, sentence=sentence)


def check_files(found: Findings) -> Check:
    """Whether the files are those that were sealed."""
    title = "Files as sealed"
    if found.session.manifest is None:
        sentence = "Without a manifest nothing says what the files should be."
        return Check(name="files", title=title, verdict=Verdict.UNKNOWN, sentence=sentence)
    compared = "hash" if found.deep else "size (hashes: --deep)"
    return counted(
        "files",
        title,
        len(found.files),
        "files",
        good=f"Every sealed file is there with its {compared}.",
        bad=_listed([f"{problem.path} {problem.problem}" for problem in found.files]),
    )


def check_account(found: Findings) -> Check:
    """Whether delivered and missing slots add up to the session's, on every camera."""
    open_accounts = [camera.plan.name for camera in found.cameras if not _closes(camera)]
    if not found.session.slots:
        bad = "No camera delivered a single frame."
        return counted("account", "Account closes", 1, "cameras", good="", bad=bad)
    total = found.session.slots * len(found.cameras)
    return counted(
        "account",
        "Account closes",
        len(open_accounts),
        "cameras",
        good=f"Each of {total} slots is delivered or missing exactly once, as the manifest says.",
        bad=f"Slots counted twice, beyond the end or unlike the manifest: {_listed(open_accounts)}",
    )


def _closes(camera: CameraFindings) -> bool:
    result = camera.result
    adds_up = result.delivered + result.missing.total == result.slots
    each_once = result.delivered + camera.stray == len(camera.times.slots)
    return adds_up and each_once and not camera.stray and camera.manifest_agrees


def _count_checks(found: Findings) -> Iterable[Check]:
    limits, results = found.limits, [camera.result for camera in found.cameras]
    missing = {result.name: result.missing.total for result in results}
    late = {result.name: result.late for result in results}
    repeated = {result.name: result.repeated for result in results}
    yield _limited("missing", "Missing slots", missing, limits.max_missing, "slots", "missing")
    yield _limited("late", "Late frames", late, limits.max_late, "frames", "late")
    yield _limited(
        "repeated", "Repeated frames", repeated, limits.max_repeated, "frames", "repeated"
    )


def _limited(
    name: str, title: str, counts: dict[str, int], limit: int, unit: str, what: str
) -> Check:
    where = _listed([f"{camera} {count}" for camera, count in counts.items() if count])
    return counted(
        name,
        title,
        sum(counts.values()),
        unit,
        limit=limit,
        good=f"{sum(counts.values()) or 'None'} {what}.",
        bad=f"{plural(sum(counts.values()), unit[:-1])} {what}: {where}",
    )


def check_loss_places(found: Findings) -> Check:
    """Whether it is known where each missing slot was lost."""
    title = "Losses have a place"
    unknown = {camera.plan.name: camera.result.missing.unknown for camera in found.cameras}
    total = sum(unknown.values())
    contradicted = sum(camera.contradicted for camera in found.cameras)
    if contradicted:
        bad = f"{plural(contradicted, 'slot')} that an event log calls lost lie in a file."
        return counted("loss_places", title, contradicted, "slots", good="", bad=bad)
    if total:
        where = _listed([camera for camera, count in unknown.items() if count])
        sentence = f"{plural(total, 'slot')} missing, and no whole event log says where: {where}"
        return Check(
            name="loss_places",
            title=title,
            verdict=Verdict.UNKNOWN,
            measured=total,
            limit=0,
            unit="slots",
            sentence=sentence,
        )
    return counted(
        "loss_places", title, 0, "slots", good="Every missing slot has its place.", bad=""
    )


def _timing_checks(found: Findings) -> Iterable[Check]:
    limits = found.limits
    yield _p99(
        "release_error",
        "Release error p99",
        {camera.plan.name: camera.result.release_error for camera in found.cameras},
        limits.release_error_p99_us,
        "No camera released requests on the grid.",
    )
    yield _p99(
        "grid_error",
        "Grid error p99",
        {camera.plan.name: camera.result.grid_error for camera in found.cameras},
        limits.grid_error_p99_us,
        "There are no frames.",
    )
    yield _p99(
        "skew",
        "Skew p99",
        {"Between cameras": found.skew},
        limits.skew_p99_us,
        "No slot has frames of two cameras.",
    )


def _p99(
    name: str, title: str, spreads: dict[str, Spread | None], limit_us: float, nothing: str
) -> Check:
    """The worst camera's p99 against a limit."""
    known = {camera: spread for camera, spread in spreads.items() if spread is not None}
    if not known:
        return Check(name=name, title=title, verdict=Verdict.SKIPPED, sentence=nothing)
    worst = max(known, key=lambda camera: known[camera].p99_ns)
    label = f"Worst is {worst}" if len(spreads) > 1 else worst
    p50, p99, largest = (
        value / NS_PER_US
        for value in (known[worst].p50_ns, known[worst].p99_ns, known[worst].max_ns)
    )
    return Check(
        name=name,
        title=title,
        verdict=Verdict.PASS if p99 <= limit_us else Verdict.FAIL,
        measured=p99,
        limit=limit_us,
        unit="µs",
        sentence=f"{label}: p50 {p50:.1f}, p99 {p99:.1f}, max {largest:.1f} µs.",
    )


def _clock_checks(found: Findings) -> Iterable[Check]:
    clocks = {camera.plan.name: camera.result.clock for camera in found.cameras}
    yield _check_uncertainty(clocks, found.limits.clock_uncertainty_us)
    steps = {camera: clock.steps for camera, clock in clocks.items() if clock.steps}
    largest_us = max(clock.largest_step_ns for clock in clocks.values()) / NS_PER_US
    yield counted(
        "clock_steps",
        "Clock never stepped",
        sum(steps.values()),
        "steps",
        good="No clock was stepped during the session.",
        bad=f"Clocks were stepped, by up to {largest_us:.1f} µs: {_listed(list(steps))}",
    )
    yield _check_discipline(clocks)


def _check_uncertainty(clocks: dict[str, ClockSummary], limit_us: float) -> Check:
    title = "Clock uncertainty"
    known = {
        camera: clock.uncertainty.max_ns / NS_PER_US
        for camera, clock in clocks.items()
        if clock.uncertainty is not None
    }
    if not known:
        nothing = "There are no frames."
        return Check(
            name="clock_uncertainty", title=title, verdict=Verdict.SKIPPED, sentence=nothing
        )
    worst = max(known, key=lambda camera: known[camera])
    return Check(
        name="clock_uncertainty",
        title=title,
        verdict=Verdict.PASS if known[worst] <= limit_us else Verdict.FAIL,
        measured=known[worst],
        limit=limit_us,
        unit="µs",
        sentence=f"Largest is {known[worst]:.1f} µs, on {worst}.",
    )


def _check_discipline(clocks: dict[str, ClockSummary]) -> Check:
    free = {camera: clock.unsynchronised for camera, clock in clocks.items()}
    total = sum(free.values())
    sources = sorted({source for clock in clocks.values() for source in clock.sources})
    where = _listed([camera for camera, count in free.items() if count])
    return Check(
        name="clock_discipline",
        title="Clock disciplined",
        verdict=Verdict.UNKNOWN if total else Verdict.PASS,
        measured=total,
        limit=0,
        unit="frames",
        sentence=f"{plural(total, 'frame')} timed by a clock that nothing disciplined: {where}"
        if total
        else f"Every frame was timed by a disciplined clock ({', '.join(sources) or 'no log'}).",
    )


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
        sentence = f"Event logs have missing records: {_listed(gaps)}"
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


def check_last_slot(found: Findings) -> Check:
    """Whether every camera ends on the session's last slot."""
    last = found.session.slots - 1
    short = [
        f"{camera.plan.name} ends at {camera.last_delivered}"
        for camera in found.cameras
        if camera.last_delivered != last
    ]
    return counted(
        "last_slot",
        "Same last slot",
        len(short),
        "cameras",
        good=f"Every camera ends on slot {last}.",
        bad=f"The session ends on slot {last}, but {_listed(short)}",
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
    where = _listed([f"{camera} {number}" for camera, number in counts.items() if number])
    unit = "files" if name == "segments" else "frame records"
    return counted(name, title, sum(counts.values()), unit, good=good, bad=f"{bad}: {where}")


def counted(
    name: str, title: str, count: int, unit: str, *, limit: int = 0, good: str, bad: str
) -> Check:
    """A check that passes while a count stays within its limit."""
    return Check(
        name=name,
        title=title,
        verdict=Verdict.PASS if count <= limit else Verdict.FAIL,
        measured=count,
        limit=limit,
        unit=unit,
        sentence=good if count <= limit else bad,
    )


def plural(count: int, noun: str) -> str:
    """ "1 slot", "2 slots"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


MOST_LISTED = 4


def _listed(items: list[str]) -> str:
    """The first few items of a list and how many more there are."""
    shown = ", ".join(items[:MOST_LISTED])
    more = len(items) - MOST_LISTED
    return f"{shown} and {more} more." if more > 0 else f"{shown}."
