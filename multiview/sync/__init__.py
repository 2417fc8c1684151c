"""Several sources on one timeline."""

from multiview.sync._aligned import AlignedSource
from multiview.sync._config import Strategy, VideoSourceConfig, session_configs
from multiview.sync._frame_times import read_frame_times
from multiview.sync._frameset import FrameSet, is_frame_batch_valid
from multiview.sync._ingestor import VideoIngestor
from multiview.sync._statistics import SetStatistics
from multiview.sync._synchronizer import SyncBuffer, VideoSynchronizer
from multiview.sync._timemap import BentTimeMap, Drift, TimeMap, detect_drift

__all__ = [
    "AlignedSource",
    "BentTimeMap",
    "Drift",
    "FrameSet",
    "SetStatistics",
    "Strategy",
    "SyncBuffer",
    "TimeMap",
    "VideoIngestor",
    "VideoSourceConfig",
    "VideoSynchronizer",
    "detect_drift",
    "is_frame_batch_valid",
    "read_frame_times",
    "session_configs",
]
