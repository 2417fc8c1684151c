"""START and STOP on the network: one datagram to the group, repeated to nodes that are missing."""

import asyncio
import errno
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from capture_protocol.rig import NetworkSection

REPEAT_S = 0.15
"""Pause between repetitions to nodes that have not acknowledged."""
MULTICAST_TTL = 1
"""The rig is one network segment; its datagrams do not leave it."""
_log = logging.getLogger(__name__)

Address = tuple[str, int]


@dataclass
class Acknowledgements:
    """Who has answered one datagram, and who refused."""

    missing: set[str]
    refused: dict[str, str] = field(default_factory=dict)
    """Reason by node."""

    def take(self, node: str, accepted: bool, reason: str) -> None:
        """Note a node's answer."""
        self.missing.discard(node)
        if not accepted:
            self.refused[node] = reason or "no reason given"


class Announcer:
    """Sends datagrams to the rig's group and to single nodes."""

    def __init__(self, network: NetworkSection) -> None:
        self._group: Address = (network.group, network.port)
        self._socket = _open_socket(network)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def to_group(self, datagram: bytes) -> None:
        """One datagram to the rig's group."""
        self._send(datagram, self._group)

    async def repeat(
        self,
        datagram: bytes,
        acknowledgements: Acknowledgements,
        addresses: Callable[[Iterable[str]], list[Address]],
        until: Callable[[], bool],
    ) -> None:
        """Send the same bytes to missing nodes until all have answered or ``until()`` holds."""
        while acknowledgements.missing and not until():
            await asyncio.sleep(REPEAT_S)
            for address in addresses(sorted(acknowledgements.missing)):
                self._send(datagram, address)

    def _send(self, datagram: bytes, address: Address) -> None:
        try:
            self._socket.sendto(datagram, address)
        except OSError as error:
            level = logging.DEBUG if error.errno == errno.ECONNREFUSED else logging.WARNING
            _log.log(level, "datagram to %s port %d: %s", *address, error.strerror)


def _open_socket(network: NetworkSection) -> socket.socket:
    """A UDP socket for multicast or broadcast, on the configured interface."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setblocking(False)
    if ipaddress.ip_address(network.group).is_multicast:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, MULTICAST_TTL)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        if network.interface:
            interface = socket.inet_aton(network.interface)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
    else:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    return sender
