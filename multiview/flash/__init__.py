"""Videos on one timeline by the photographic flashes that they show."""

from multiview.flash._errors import (
    AmbiguousFlashError,
    FlashInputError,
    FlashSyncError,
    InconsistentFlashError,
    NoCommonFlashError,
    NoFlashError,
    WeakFlashError,
)
from multiview.flash._features import RowFeatures, extract_features
from multiview.flash._outputs import write_preview, write_synchronized_videos
from multiview.flash._scenarios import SCENARIOS, scenario
from multiview.flash._sources import SynchronizedImageSource
from multiview.flash._synchronization import FlashVideoSynchronization
from multiview.flash._synthetic import Flash, FlashFootage, RollingShutterCamera
from multiview.flash._verdict import CameraVerdict

__all__ = [
    "SCENARIOS",
    "AmbiguousFlashError",
    "CameraVerdict",
    "Flash",
    "FlashFootage",
    "FlashInputError",
    "FlashSyncError",
    "FlashVideoSynchronization",
    "InconsistentFlashError",
    "NoCommonFlashError",
    "NoFlashError",
    "RollingShutterCamera",
    "RowFeatures",
    "SynchronizedImageSource",
    "WeakFlashError",
    "extract_features",
    "scenario",
    "write_preview",
    "write_synchronized_videos",
]
