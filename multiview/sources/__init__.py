"""Sources of video behind one contract."""

from multiview.sources._contract import (
    NS_PER_S,
    Clock,
    Frame,
    Image,
    Picture,
    VideoMetadata,
    VideoSource,
)
from multiview.sources._file import FileVideoSource

__all__ = [
    "NS_PER_S",
    "Clock",
    "FileVideoSource",
    "Frame",
    "Image",
    "Picture",
    "VideoMetadata",
    "VideoSource",
]
