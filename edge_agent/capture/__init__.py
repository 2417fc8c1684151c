"""The capture process of a node: one release timer, all cameras, the evidence of every frame."""

from edge_agent.capture.clock_map import ClockMap
from edge_agent.capture.process import capture_main
from edge_agent.capture.realtime import RealtimeRights, take_rights
from edge_agent.capture.recording import Recording
from edge_agent.capture.slots import SlotLedger, Taken
from edge_agent.capture.timer import ReleaseTimer, sleep_until
from edge_agent.capture.track import CameraTrack

__all__ = [
    "CameraTrack",
    "ClockMap",
    "RealtimeRights",
    "Recording",
    "ReleaseTimer",
    "SlotLedger",
    "Taken",
    "capture_main",
    "sleep_until",
    "take_rights",
]
