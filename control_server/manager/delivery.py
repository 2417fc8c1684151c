"""Brings START and STOP to every node: by datagram, repeated, and at last through the link."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

from capture_protocol.control import Registered
from control_server.fleet.announcer import Acknowledgements, Address, Announcer
from control_server.fleet.nodes import Fleet
from control_server.session.run import SessionRun, Tell

REPEAT_MARGIN_NS = 100_000_000
"""START is repeated until this long before t0; whoever misses it joins through the link."""
STOP_REPEAT_S = 20.0
"""STOP is repeated by UDP this long (it goes stale at 30 s), then through the link."""
LINK_REPEAT_S = 1.0


@dataclass(frozen=True)
class Delivery:
    """Delivers a session's datagrams until all its nodes have acknowledged them."""

    fleet: Fleet
    announcer: Announcer
    tell: Tell

    async def start(self, run: SessionRun) -> None:
        """START to the group, then to who is missing until t0; who comes late joins mid-grid."""
        datagram = bytes.fromhex(run.plan.start_datagram)
        limit_ns = run.plan.t0_ns - REPEAT_MARGIN_NS
        self.announcer.to_group(datagram)
        await self.announcer.repeat(
            datagram, run.start_acks, self._addresses, lambda: time.time_ns() > limit_ns
        )
        while run.start_acks.missing and run.last_slot is None:
            self._through_link(run, run.start_acks)
            await asyncio.sleep(LINK_REPEAT_S)

    async def stop(self, run: SessionRun) -> None:
        """STOP to the group, then to who is missing until the session is sealed."""
        datagram = bytes.fromhex(run.keeper.current.stop_datagram)
        limit = time.monotonic() + STOP_REPEAT_S
        self.announcer.to_group(datagram)
        await self.announcer.repeat(
            datagram, run.stop_acks, self._addresses, lambda: time.monotonic() > limit
        )
        while run.stop_acks.missing and run.manifest is None:
            self._through_link(run, run.stop_acks)
            await asyncio.sleep(LINK_REPEAT_S)

    def _addresses(self, nodes: Iterable[str]) -> list[Address]:
        views = (self.fleet.nodes[node] for node in nodes if node in self.fleet.nodes)
        return [view.datagram_address for view in views if view.datagram_address]

    def _through_link(self, run: SessionRun, acknowledgements: Acknowledgements) -> None:
        running = Registered(start=run.plan.start_datagram, stop=run.keeper.current.stop_datagram)
        for node in sorted(acknowledgements.missing):
            self.tell(node, running)
