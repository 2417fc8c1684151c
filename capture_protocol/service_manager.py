"""Telling systemd how a service is: sd_notify(3) and sd_watchdog_enabled(3)."""

import os
import socket
from collections.abc import Callable, Mapping

_US_PER_S = 1_000_000
Notify = Callable[[str], object]
"""Sends one message to the service manager."""


class ServiceManager:
    """The service manager that started us, if one did and listens (``Type=notify``)."""

    def __init__(
        self, environment: Mapping[str, str] = os.environ, notify: Notify | None = None
    ) -> None:
        """By default messages are sent by ourselves, as datagrams."""
        address = environment.get("NOTIFY_SOCKET", "")
        self._notify = (notify or _datagrams(address)) if address else None
        self.watchdog_s = _watchdog_s(environment) if address else 0.0
        """The service is restarted if it is not `alive` for this long; 0: nobody watches."""

    @property
    def listens(self) -> bool:
        """Whether anybody is told anything."""
        return self._notify is not None

    def ready(self) -> None:
        """Everything is open and started."""
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


def _datagrams(address: str) -> Notify:
    """A leading "@" means Linux's abstract namespace, whose names begin with a zero byte."""
    name = "\0" + address[1:] if address.startswith("@") else address

    def notify(text: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(text.encode(), name)

    return notify


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """The watchdog's patience, unless it is meant for another process."""
    meant_for = environment.get("WATCHDOG_PID", str(os.getpid()))
    time_us = environment.get("WATCHDOG_USEC", "0")
    if meant_for != str(os.getpid()) or not time_us.isdigit():
        return 0.0
    return int(time_us) / _US_PER_S
