"""What can be wrong with a timeline."""

from capture_protocol.errors import InputError


class TimelineError(InputError):
    """A timeline is not usable: broken numbers or an unreadable file."""
