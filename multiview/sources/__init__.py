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
from multiview.sources._numbered import NumberedSource, Times
from multiview.sources._session import SessionVideoSource, session_cameras

__all__ = [
    "NS_PER_S",
    "Clock",
    "FileVideoSource",
    "Frame",
    "Image",
    "NumberedSource",
    "Picture",
    "SessionVideoSource",
    "Times",
    "VideoMetadata",
    "VideoSource",
    "session_cameras",
]
