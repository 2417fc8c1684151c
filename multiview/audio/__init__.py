"""Recordings on one timeline by the sound they share."""

from multiview.audio._alignment import RATE_HZ, AudioAlignment, align
from multiview.audio._errors import AudioSyncError, NoAudioError, UnrelatedAudioError
from multiview.audio._reader import AudioReader, Sound, read_sound
from multiview.audio._synchronization import combine, read_sounds, synchronize_audio
from multiview.audio._synthetic import HeardEvent, Microphone, true_offset_ns

__all__ = [
    "RATE_HZ",
    "AudioAlignment",
    "AudioReader",
    "AudioSyncError",
    "HeardEvent",
    "Microphone",
    "NoAudioError",
    "Sound",
    "UnrelatedAudioError",
    "align",
    "combine",
    "read_sound",
    "read_sounds",
    "synchronize_audio",
    "true_offset_ns",
]
