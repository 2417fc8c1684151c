"""Structured log records: what a line is about, as fields that `journalctl` can select by.

`journalctl -u edge-agent TUTTI_SESSION=42 TUTTI_CAMERA=cam0`
"""

import logging
import os
from typing import TypedDict

Fields = dict[str, str]
_IDENTIFIER = "edge-agent"


class _Extra(TypedDict):
    extra: Fields


def fields(
    *,
    session: int | None = None,
    camera: str | None = None,
    slot: int | None = None,
    offset_ns: int | None = None,
) -> _Extra:
    """Keyword arguments for a logging call; ``offset_ns`` is CLOCK_REALTIME's estimated error."""
    given = {
        "TUTTI_SESSION": session,
        "TUTTI_CAMERA": camera,
        "TUTTI_SLOT": slot,
        "TUTTI_OFFSET_NS": offset_ns,
    }
    return {"extra": {name: str(value) for name, value in given.items() if value is not None}}


def log_to_journal() -> bool:
    """Send the log to the journal with all fields, if our output goes there anyway."""
    if "JOURNAL_STREAM" not in os.environ:
        return False
    try:
        from systemd import journal
    except ImportError:
        return False
    handler: logging.Handler = journal.JournalHandler(SYSLOG_IDENTIFIER=_IDENTIFIER)
    logging.basicConfig(format="%(message)s", level=logging.INFO, handlers=[handler])
    return True
