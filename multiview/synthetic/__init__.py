"""Synthetic scenes of known truth, as sources and as files."""

from multiview.synthetic._camera import CameraModel, default_camera
from multiview.synthetic._generator import SyntheticVideoGenerator
from multiview.synthetic._scene import SceneConfig
from multiview.synthetic._source import SyntheticVideoSource

__all__ = [
    "CameraModel",
    "SceneConfig",
    "SyntheticVideoGenerator",
    "SyntheticVideoSource",
    "default_camera",
]
