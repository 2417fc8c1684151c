"""Recordings on one timeline by the sound they share."""

from multiview.audio._errors import AudioSyncError, NoAudioError, UnrelatedAudioError
from multiview.audio._reader import AudioReader, Sound, read_sound

__all__ = [
    "AudioReader",
    "AudioSyncError",
    "NoAudioError",
    "Sound",
    "UnrelatedAudioError",
    "read_sound",
]
