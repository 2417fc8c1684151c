"""What an audit says: stable models, which are also the JSON of `manager audit --json`."""

import enum

from pydantic import BaseModel, ConfigDict

RESULT_FORMAT = 1


class Verdict(enum.StrEnum):
    """The answer of a check, and of the whole audit."""

    PASS = "pass"  # noqa: S105  # an answer, not a password
    FAIL = "fail"
    UNKNOWN = "unknown"
    """The recorded files do not say."""
    SKIPPED = "skipped"
    """Not asked for, or the session has nothing to compare; does not count."""


EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNKNOWN: 2}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Check(_Model):
    """One question the audit asks."""

    name: str
    """Stable identifier."""
    title: str
    verdict: Verdict
    measured: float | None = None
    limit: float | None = None
    """Largest value that passes."""
    unit: str = ""
    """Of `measured` and `limit`: "µs", "slots", "frames", "files", "frame records"."""
    sentence: str
    """What was found, for a person."""


class Spread(_Model):
    """Distribution of the size (absolute value) of an error, ns."""

    count: int
    p50_ns: int
    p99_ns: int
    max_ns: int


class Missing(_Model):
    """Slots of one camera that no file holds, by the place where they were lost."""

    agent: int = 0
    sensor: int = 0
    encoder: int = 0
    network: int = 0
    file: int = 0
    unknown: int = 0

    @property
    def total(self) -> int:
        """All places together."""
        return self.agent + self.sensor + self.encoder + self.network + self.file + self.unknown


class ClockSummary(_Model):
    """One node's clock over the session, as this camera's frames and log tell it."""

    sources: list[str]
    """What disciplined CLOCK_REALTIME, in the order it was seen."""
    readings: int
    """CLOCK events."""
    steps: int
    largest_step_ns: int = 0
    offset: Spread | None = None
    """Estimated error of CLOCK_REALTIME at the frames."""
    uncertainty: Spread | None = None
    """Claimed bound of the clock's error at the frames."""
    unsynchronised: int = 0
    """Frames made without a known discipline."""
    holdover: int = 0
    """Frames made after the discipline was lost."""


class OpticalSummary(_Model):
    """What the optical clock in one camera's picture says about the claimed times."""

    readable: int
    """Bands that showed an instant."""
    unreadable: int
    error: Spread | None = None
    """Shown instant minus claimed instant of the same row."""
    beyond_bound: int = 0
    """Readings whose error is larger than the claimed uncertainty."""


class CameraResult(_Model):
    """One camera's account and timing."""

    name: str
    slots: int
    delivered: int
    late: int
    repeated: int
    missing: Missing
    locks: dict[str, int]
    """Frames by lock state."""
    release_error: Spread | None = None
    frame_start_error: Spread | None = None
    """Frame start minus Tn: not expected to be small, exposures are aligned by their midpoint."""
    grid_error: Spread | None = None
    """Exposure midpoint minus Tn."""
    interval_jitter: Spread | None = None
    """Time between midpoints of adjacent slots minus Δ."""
    drift_ppm: float | None = None
    """Slope of the midpoint against the grid."""
    clock: ClockSummary
    parts: int
    segments: int
    optical: OpticalSummary | None = None


class AuditResult(_Model):
    """The whole answer."""

    format: int = RESULT_FORMAT
    session: int
    rig: str
    verdict: Verdict
    sentence: str
    """The verdict in words."""
    deep: bool
    t0_ns: int
    rate: str
    slots: int
    """Slots of the session, per camera."""
    cameras: list[CameraResult]
    skew: Spread | None = None
    """Latest minus earliest midpoint within a slot, over slots with at least two cameras."""
    checks: list[Check]

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 2 cannot say."""
        return EXIT_CODES[self.verdict]

    def check(self, name: str) -> Check:
        """The check called ``name``; KeyError if there is none."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)


def overall(checks: list[Check]) -> Verdict:
    """One failure fails the session; else one question without an answer leaves it open."""
    verdicts = {check.verdict for check in checks}
    for decisive in (Verdict.FAIL, Verdict.UNKNOWN):
        if decisive in verdicts:
            return decisive
    return Verdict.PASS
