"""`edge-agent check` and `edge-agent cameras`: what a node has, and what it lacks to record."""

from edge_agent.check.cameras import FoundCamera, find_cameras
from edge_agent.check.checks import CheckResult, Verdict, run_checks

__all__ = ["CheckResult", "FoundCamera", "Verdict", "find_cameras", "run_checks"]
