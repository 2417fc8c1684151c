"""The service manager that started the agent, told through systemd-python."""

import logging
import os
from collections.abc import Mapping

from capture_protocol.service_manager import ServiceManager

_log = logging.getLogger("edge_agent")


def service_manager(environment: Mapping[str, str] = os.environ) -> ServiceManager:
    """The one that waits for us; one that listens to nothing where systemd-python is missing."""
    if not environment.get("NOTIFY_SOCKET"):
        return ServiceManager({})
    try:
        from systemd import daemon
    except ImportError:
        _log.warning("systemd waits for us, but systemd-python is missing: install [systemd]")
        return ServiceManager({})
    return ServiceManager(environment, daemon.notify)
