"""Why sound could not put recordings on one timeline."""

from capture_protocol.errors import InputError


class AudioSyncError(InputError):
    """Audio synchronisation refuses; the message says why, the hint what helps."""


class NoAudioError(AudioSyncError):
    """A recording has no sound, or only silence."""


class UnrelatedAudioError(AudioSyncError):
    """The recordings do not share enough sound to be laid over each other."""
