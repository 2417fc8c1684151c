"""Telling systemd how the manager is: sd_notify(3), a datagram per message.

Without a package: the server has no other use for systemd's library, which needs its headers.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping

_US_PER_S = 1_000_000
_FEEDINGS = 3
"""So often within the watchdog's patience."""


class ServiceManager:
    """The service manager that started us, if one did and listens (``Type=notify``)."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        meant_for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        time_us = environment.get("WATCHDOG_USEC", "0") if meant_for_us else "0"
        self.watchdog_s = int(time_us) / _US_PER_S if self._address and time_us.isdigit() else 0.0
        """The service is restarted if it is not fed for this long; 0: nobody watches."""

    def ready(self) -> None:
        """Everything is open."""
        self._send("READY=1")

    def stopping(self) -> None:
        """We have begun to end in good order."""
        self._send("STOPPING=1")

    async def feed(self, doing: Callable[[], str]) -> None:
        """Feed the watchdog as long as the event loop turns, and say what we do."""
        if not self._address:
            return
        while True:
            self._send(f"STATUS={doing()}\nWATCHDOG=1")
            await asyncio.sleep((self.watchdog_s or 30.0) / _FEEDINGS)

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(text.encode(), self._address)
