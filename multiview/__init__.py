"""Any footage on one timeline: sources, and reading them together."""

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

__all__ = [
    "BentTimeMap",
    "CameraModel",
    "Clock",
    "Drift",
    "Evidence",
    "FileVideoSource",
    "Frame",
    "FrameSet",
    "Picture",
    "SceneConfig",
    "SessionVideoSource",
    "SetStatistics",
    "Strategy",
    "SyncBuffer",
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
]
