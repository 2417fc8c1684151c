"""Any footage on one timeline: sources, what puts them there, and reading them together."""

from importlib import import_module
from typing import TYPE_CHECKING

from multiview.live import (
    FrameData,
    FramePacket,
    FrameStatus,
    LiveOptions,
    LiveVideoSource,
    StreamSynchronizer,
)
from multiview.sources import (
    Clock,
    FileVideoSource,
    Frame,
    Picture,
    SessionVideoSource,
    VideoMetadata,
    VideoSource,
    session_cameras,
)
from multiview.sync import (
    BentTimeMap,
    Drift,
    FrameSet,
    SetStatistics,
    Strategy,
    SyncBuffer,
    VideoIngestor,
    VideoSourceConfig,
    VideoSynchronizer,
    detect_drift,
    is_frame_batch_valid,
    read_frame_times,
    session_configs,
)
from multiview.synthetic import (
    CameraModel,
    SceneConfig,
    SyntheticVideoGenerator,
    SyntheticVideoSource,
)
from multiview.timeline import Evidence, Timeline

if TYPE_CHECKING:
    from multiview.audio import AudioAlignment, AudioSyncError, synchronize_audio
    from multiview.flash import (
        FlashSyncError,
        FlashVideoSynchronization,
        SynchronizedImageSource,
    )

__all__ = [
    "AudioAlignment",
    "AudioSyncError",
    "BentTimeMap",
    "CameraModel",
    "Clock",
    "Drift",
    "Evidence",
    "FileVideoSource",
    "FlashSyncError",
    "FlashVideoSynchronization",
    "Frame",
    "FrameData",
    "FramePacket",
    "FrameSet",
    "FrameStatus",
    "LiveOptions",
    "LiveVideoSource",
    "Picture",
    "SceneConfig",
    "SessionVideoSource",
    "SetStatistics",
    "Strategy",
    "StreamSynchronizer",
    "SyncBuffer",
    "SynchronizedImageSource",
    "SyntheticVideoGenerator",
    "SyntheticVideoSource",
    "Timeline",
    "VideoIngestor",
    "VideoMetadata",
    "VideoSource",
    "VideoSourceConfig",
    "VideoSynchronizer",
    "detect_drift",
    "is_frame_batch_valid",
    "read_frame_times",
    "session_cameras",
    "session_configs",
    "synchronize_audio",
]

_LATE = {
    "AudioAlignment": "multiview.audio",
    "AudioSyncError": "multiview.audio",
    "FlashSyncError": "multiview.flash",
    "FlashVideoSynchronization": "multiview.flash",
    "SynchronizedImageSource": "multiview.flash",
    "synchronize_audio": "multiview.audio",
}
"""Loaded when first used: they need scipy, which takes longer to load than all the rest."""


def __getattr__(name: str) -> object:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module 'multiview' has no attribute {name!r}")
