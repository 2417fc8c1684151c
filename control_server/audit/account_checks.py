"""Whether all that was recorded is there, and what is not is accounted for."""

from collections.abc import Iterable

from control_server.audit.camera import CameraFindings
from control_server.audit.findings import Findings, counted, listed, plural
from control_server.audit.result import Check, Verdict


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
        bad=listed([f"{problem.path} {problem.problem}" for problem in found.files]),
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
        bad=f"Slots counted twice, beyond the end or unlike the manifest: {listed(open_accounts)}",
    )


def _closes(camera: CameraFindings) -> bool:
    result = camera.result
    adds_up = result.delivered + result.missing.total == result.slots
    each_once = result.delivered + camera.stray == len(camera.times.slots)
    return adds_up and each_once and not camera.stray and camera.manifest_agrees


def count_checks(found: Findings) -> Iterable[Check]:
    """Whether no more slots are missing, late or repeated than allowed."""
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
    where = listed([f"{camera} {count}" for camera, count in counts.items() if count])
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
        where = listed([camera for camera, count in unknown.items() if count])
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
        bad=f"The session ends on slot {last}, but {listed(short)}",
    )
