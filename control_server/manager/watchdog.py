"""Feeding systemd's watchdog for as long as the event loop turns."""

import asyncio
from collections.abc import Callable

from capture_protocol.service_manager import ServiceManager

_FEEDINGS = 3
"""So often within the watchdog's patience."""
_UNWATCHED_S = 30.0
"""The same patience where there is no watchdog, for the status line."""


async def feed(service: ServiceManager, doing: Callable[[], str]) -> None:
    """Feed the watchdog, and say what we do; nothing where nobody listens."""
    while service.listens:
        service.status(doing())
        service.alive()
        await asyncio.sleep((service.watchdog_s or _UNWATCHED_S) / _FEEDINGS)
