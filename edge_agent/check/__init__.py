"""`edge-agent check` and `edge-agent cameras`: what a node has, and what it lacks to record."""

from edge_agent.check.cameras import FoundCamera, find_cameras
from edge_agent.check.checks import run_checks

__all__ = ["FoundCamera", "find_cameras", "run_checks"]
