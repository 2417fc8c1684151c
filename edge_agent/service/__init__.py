"""The agent as a systemd service: readiness, watchdog and structured journal, where there is one.

Everything here does nothing on a machine without systemd, or where nobody waits for it.
"""

from edge_agent.service.journal import Fields, fields, log_to_journal
from edge_agent.service.manager import service_manager
from edge_agent.service.progress import FrameProgress

__all__ = ["Fields", "FrameProgress", "fields", "log_to_journal", "service_manager"]
