"""The control link's server side: a ZeroMQ ROUTER with CURVE that only the rig's nodes can enter.

Admission is ZAP (ZeroMQ RFC 27): exactly the public keys in the rig's `keys/` folder pass. The
node's name travels with every message as its User-Id, so a node can speak for itself only.
"""

import logging
from collections.abc import Callable

import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from capture_protocol import EnvironmentLackError, InputError
from capture_protocol.control import (
    AgentMessage,
    ServerMessage,
    pack_message,
    unpack_agent_message,
)
from capture_protocol.keys import SERVER_PUBLIC_NAME, read_curve_key
from control_server.refusals import RefusalCounts
from control_server.rig.place import RigPlace
from control_server.task_set import TaskSet

SERVER_SECRET_NAME = "server.secret"  # noqa: S105 - a file's name
ZAP_DOMAIN = "tutti"
MAX_MESSAGE = 16 << 20
"""Bytes of one frame; an event log batch is far smaller."""
PING_MS = 1000
"""ZeroMQ's own heartbeat: a dead TCP connection is dropped after three of them."""
_FAILURES = (
    zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
    | zmq.Event.HANDSHAKE_FAILED_AUTH
)
_log = logging.getLogger(__name__)

Receiver = Callable[[AgentMessage, bytes], None]
"""Called with each message and its second frame (empty where there is none)."""


class _NodeKeys(AsyncioAuthenticator):
    """ZAP handler: the rig's keys pass, and the User-Id is the node's name."""

    def __init__(self, context: "zmq.asyncio.Context", names: dict[bytes, str]) -> None:
        super().__init__(context)
        self._names = names
        self.configure_curve_callback(ZAP_DOMAIN, self)

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether this public key (Z85) is a node's; pyzmq calls it."""
        return domain == ZAP_DOMAIN and key in self._names

    def curve_user_id(self, client_public_key: bytes) -> str:
        """The name of the key's node; pyzmq calls it."""
        return self._names[z85.encode(client_public_key)]


class FleetLink:
    """Receives messages of authenticated nodes and sends to them by name."""

    def __init__(self, place: RigPlace, receive: Receiver, refusals: RefusalCounts) -> None:
        self._receive = receive
        self._refusals = refusals
        self._context = zmq.asyncio.Context()
        self._keys = _NodeKeys(self._context, _node_keys(place))
        self._socket = self._context.socket(zmq.ROUTER)
        self._tasks = TaskSet()
        self._configure(place)

    def open(self, address: str, port: int) -> None:
        """Listen.

        Raises:
            EnvironmentLackError: the address or the port cannot be had.
        """
        self._keys.start()
        monitor = self._socket.get_monitor_socket(int(_FAILURES))
        try:
            self._socket.bind(f"tcp://{address}:{port}")
        except zmq.ZMQError as error:
            raise EnvironmentLackError(
                f"cannot listen on {address} port {port}: {error.strerror}",
                hint="another program uses it, or server.listen is no address of this machine",
            ) from error
        self._tasks.spawn(self._receive_all())
        self._tasks.spawn(self._count_failures(monitor))

    async def close(self) -> None:
        """Stop listening; messages under way are given a moment."""
        await self._tasks.close()
        self._socket.disable_monitor()
        self._socket.close(linger=200)
        self._keys.stop()
        self._context.destroy(linger=200)  # also the monitor's socket, which would block term()

    async def send(self, node: str, message: ServerMessage) -> None:
        """Send to a node; lost if it is not connected (it is told again when it registers)."""
        try:
            await self._socket.send_multipart([node.encode(), pack_message(message)])
        except zmq.ZMQError as error:
            _log.debug("no message to %s: %s", node, error)

    def _configure(self, place: RigPlace) -> None:
        self._socket.curve_server = True
        self._socket.curve_secretkey = read_curve_key(place.keys / SERVER_SECRET_NAME).encode()
        self._socket.curve_publickey = read_curve_key(place.keys / SERVER_PUBLIC_NAME).encode()
        self._socket.zap_domain = ZAP_DOMAIN.encode()
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, PING_MS)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3 * PING_MS)
        self._socket.setsockopt(zmq.ROUTER_HANDOVER, 1)  # an agent that comes back takes over
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # sending to nobody is an error

    async def _receive_all(self) -> None:
        while True:
            identity, *frames = await self._socket.recv_multipart(copy=False)
            try:
                message = _checked(identity, frames)
            except InputError as error:
                self._refusals.add("control_message")
                _log.warning("control message refused: %s", error)
                continue
            self._receive(message, frames[1].bytes if len(frames) > 1 else b"")

    async def _count_failures(self, monitor: "zmq.asyncio.Socket") -> None:
        while True:
            event = await recv_monitor_message(monitor)
            if event["event"] & _FAILURES:
                self._refusals.add("control_key")


def _checked(identity: zmq.Frame, frames: list[zmq.Frame]) -> AgentMessage:
    """The message, if its sender is the node it claims to be."""
    if not 1 <= len(frames) <= 2:
        raise InputError(f"a control message has one or two frames, not {len(frames)}")
    owner = frames[0].get("User-Id")
    message = unpack_agent_message(frames[0].bytes)
    if message.node != owner or identity.bytes.decode("ascii", "replace") != owner:
        raise InputError(f"node {owner} speaks as {message.node}")
    return message


def _node_keys(place: RigPlace) -> dict[bytes, str]:
    return {
        read_curve_key(place.keys / f"{node.name}.public").encode(): node.name
        for node in place.config.node
    }
