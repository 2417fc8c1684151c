"""Errors of the multiview library: each says what was wrong and what to do next."""

from capture_protocol.errors import InputError, TuttiError


class SourceError(TuttiError):
    """A source could not be opened or read: the file, session or stream is at fault."""


class SourceOpenError(SourceError, InputError):
    """There is no readable video at the given place."""

    exit_code = 2


class SourceNotFoundError(SourceOpenError, FileNotFoundError):
    """There is nothing at the given place."""


class SourceClosedError(SourceError):
    """A source was read before ``open()`` or after ``release()``."""


class SourceStalledError(SourceError):
    """A source gave no frame within its time limit."""


class SyncConfigError(InputError, ValueError):
    """Sources, rates or tolerances do not fit together."""
