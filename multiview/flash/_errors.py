"""Why flashes could not put videos on one timeline."""

from capture_protocol.errors import InputError


class FlashSyncError(InputError):
    """Flash synchronisation refuses; the message says why, the hint what helps."""


class FlashInputError(FlashSyncError):
    """A video, cache or argument is not usable."""


class NoFlashError(FlashSyncError):
    """A video shows too few flashes."""


class NoCommonFlashError(FlashSyncError):
    """The flashes of two videos do not agree beyond chance."""


class AmbiguousFlashError(FlashSyncError):
    """More than one alignment explains the flashes, such as evenly spaced ones."""


class InconsistentFlashError(FlashSyncError):
    """The flashes agree roughly, but no clock and shutter explain their rows."""


class WeakFlashError(FlashSyncError):
    """The flashes agree but leave the rows' times less certain than asked for."""
