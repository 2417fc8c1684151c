"""The UDP sockets of an agent: the rig's group, and one of its own."""

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Callable

from capture_protocol.errors import EnvironmentLackError
from capture_protocol.rig import NodeConfig

_RECEIVE_BUFFER = 8 << 20  # a flood of 20,000 small datagrams must not push a START out
_SO_RCVBUFFORCE = 33  # linux/socket.h; Python has no name for it


class DatagramReceiver(asyncio.DatagramProtocol):
    """Hands every datagram on; knows nothing of what is in it."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002
        """See `asyncio.DatagramProtocol`."""
        self._take(data)


def local_address(config: NodeConfig) -> str:
    """The address of this node that the server can reach.

    Raises:
        EnvironmentLackError: there is no route to the server.
    """
    if config.interface:
        return config.interface
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((config.server, config.control_port))  # sends nothing: asks for a route
        except OSError as error:
            raise EnvironmentLackError(
                f"no route to the server {config.server}: {error}",
                hint="check `server` in node.toml and this node's network",
            ) from error
        return str(probe.getsockname()[0])


def open_group_socket(config: NodeConfig, address: str) -> socket.socket:
    """The socket on which START and STOP come; several agents of one host may share the port.

    Raises:
        EnvironmentLackError: the port or the group is not to be had.
    """
    group = ipaddress.IPv4Address(config.group)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _widen(sock)
        if group.is_multicast:
            sock.bind((config.group, config.datagram_port))
            member = struct.pack("4s4s", group.packed, socket.inet_aton(address))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        else:
            sock.bind((config.group, config.datagram_port))
    except OSError as error:
        sock.close()
        raise EnvironmentLackError(
            f"cannot listen on {config.group}:{config.datagram_port}: {error}",
            hint="check `group`, `datagram_port` and `interface` in node.toml",
        ) from error
    sock.setblocking(False)
    return sock


def _widen(sock: socket.socket) -> None:
    """A large receive buffer, past the system's limit where we may."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)


def open_own_socket(address: str) -> socket.socket:
    """A socket on a free port of this node's address, where the server repeats START to it."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    sock.setblocking(False)
    return sock
