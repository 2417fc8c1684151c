"""Camera backends behind one narrow protocol; all of them live in the capture process.

camera = open_camera(config)
camera.follow(grid)                  # the grid on CLOCK_MONOTONIC that exposures aim at
camera.release(slot, now_ns)         # a request is queued at Tn
for frame in camera.frames(now_ns):  # what is complete by now, in order
    ...
"""

from edge_agent.camera.contract import Camera, CameraError, CameraFrame
from edge_agent.camera.factory import make_buffers, needs_buffers, open_camera

__all__ = ["Camera", "CameraError", "CameraFrame", "make_buffers", "needs_buffers", "open_camera"]
