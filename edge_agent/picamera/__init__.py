"""Raspberry Pi cameras through picamera2, with libcamera's requests queued by hand.

In the capture process a `PicameraCamera` (see `edge_agent.camera.Camera`) releases the requests
and lets the genlock steer the sensor; a finished picture stays in the camera's own buffer. In the
worker `SharedPictures` maps that buffer: pictures pass from process to process without a copy.

picamera2 and libcamera are imported only when a camera is opened, so that everything else runs
on machines that have neither.
"""

from edge_agent.picamera.camera import PicameraCamera
from edge_agent.picamera.open import list_cameras, open_picamera
from edge_agent.picamera.pictures import SharedPictures

__all__ = ["PicameraCamera", "SharedPictures", "list_cameras", "open_picamera"]
