"""The questions that an audit answers without decoding any video."""

from control_server.audit.account_checks import (
    check_account,
    check_files,
    check_last_slot,
    check_loss_places,
    check_sealed,
    count_checks,
)
from control_server.audit.agreement_checks import (
    check_container_time,
    check_event_log,
    check_identity,
    check_key_frames,
    check_segments,
)
from control_server.audit.findings import Findings
from control_server.audit.result import Check
from control_server.audit.timing_checks import clock_checks, timing_checks


def ordinary_checks(found: Findings) -> list[Check]:
    """All checks that need no decoding, in the order a reader wants them."""
    return [
        check_sealed(found),
        check_files(found),
        check_account(found),
        *count_checks(found),
        check_loss_places(found),
        *timing_checks(found),
        *clock_checks(found),
        check_identity(found),
        check_event_log(found),
        check_container_time(found),
        check_key_frames(found),
        check_segments(found),
        check_last_slot(found),
    ]
