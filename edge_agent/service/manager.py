"""Telling systemd how we are: sd_notify(3), through systemd-python."""

import logging
import os
from collections.abc import Callable, Mapping

_US_PER_S = 1_000_000
_log = logging.getLogger("edge_agent")


class ServiceManager:
    """The service manager that started us, if one did and listens (``Type=notify``)."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._notify = _notify_call() if environment.get("NOTIFY_SOCKET") else None
        self.watchdog_s = _watchdog_s(environment) if self._notify else 0.0
        """The service is restarted if it is not `alive` for this long; 0: nobody watches."""

    def ready(self) -> None:
        """Everything is started."""
        self._send("READY=1")

    def stopping(self) -> None:
        """We have begun to end in good order."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if self._notify is not None:
            self._notify(text)


def _notify_call() -> Callable[[str], object] | None:
    try:
        from systemd import daemon
    except ImportError:
        _log.warning("systemd waits for us, but systemd-python is missing: install [systemd]")
        return None
    call: Callable[[str], object] = daemon.notify
    return call


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """As sd_watchdog_enabled(3) reads it: the time, unless it is meant for another process."""
    meant_for = environment.get("WATCHDOG_PID", str(os.getpid()))
    time_us = environment.get("WATCHDOG_USEC", "0")
    if meant_for != str(os.getpid()) or not time_us.isdigit():
        return 0.0
    return int(time_us) / _US_PER_S
