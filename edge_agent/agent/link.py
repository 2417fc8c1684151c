"""The control link: a ZeroMQ DEALER with CURVE whose identity is the node's name."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message, recv_monitor_message

from capture_protocol.control import (
    AgentMessage,
    ServerMessage,
    pack_message,
    unpack_server_message,
)
from capture_protocol.errors import InputError
from capture_protocol.keys import SERVER_PUBLIC_NAME, KeyPair, read_curve_key
from capture_protocol.rig import NodeConfig

NODE_PUBLIC_NAME = "node.public"
NODE_SECRET_NAME = "node.secret"  # noqa: S105  # a file's name

_PING_MS = 1000
_PING_TIMEOUT_MS = 3000
_RECONNECT_MS = (100, 2000)
_LARGEST_MESSAGE = 1 << 20
_OUTBOX = 256
_LINGER_MS = 500


@dataclass(frozen=True, slots=True)
class LinkKeys:
    """What the link is encrypted with."""

    server_public: str
    node: KeyPair


def read_link_keys(folder: Path) -> LinkKeys:
    """The keys that lie beside node.toml.

    Raises:
        InputError: one is missing or damaged.
    """
    pair = KeyPair(
        read_curve_key(folder / NODE_PUBLIC_NAME), read_curve_key(folder / NODE_SECRET_NAME)
    )
    return LinkKeys(read_curve_key(folder / SERVER_PUBLIC_NAME), pair)


def open_link_socket(
    context: zmq.asyncio.Context, config: NodeConfig, keys: LinkKeys
) -> zmq.asyncio.Socket:
    """The DEALER, not connected yet."""
    dealer = context.socket(zmq.DEALER)
    dealer.identity = config.name.encode()
    dealer.curve_serverkey = keys.server_public.encode()
    dealer.curve_publickey = keys.node.public.encode()
    dealer.curve_secretkey = keys.node.secret.encode()
    dealer.linger = _LINGER_MS
    dealer.immediate = True  # nothing is queued for a server that is not there
    dealer.heartbeat_ivl, dealer.heartbeat_timeout = _PING_MS, _PING_TIMEOUT_MS
    dealer.reconnect_ivl, dealer.reconnect_ivl_max = _RECONNECT_MS
    dealer.maxmsgsize = _LARGEST_MESSAGE
    return dealer


def probe_link(config: NodeConfig, keys: LinkKeys, timeout_s: float) -> str:
    """Try the encrypted handshake with the server, without a word: why it failed, or "".

    The socket has no identity, so an agent that runs meanwhile keeps its place.
    """
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.curve_serverkey = keys.server_public.encode()
        dealer.curve_publickey = keys.node.public.encode()
        dealer.curve_secretkey = keys.node.secret.encode()
        dealer.linger = 0
        with dealer.get_monitor_socket() as monitor:
            dealer.connect(f"tcp://{config.server}:{config.control_port}")
            reason = "nothing listens there"
            deadline = time.monotonic() + timeout_s
            while monitor.poll(max(0, int((deadline - time.monotonic()) * 1000))):
                event = recv_monitor_message(monitor)["event"]
                if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    return ""
                reason = _LINK_FAILURES.get(int(event), reason)
            return reason


_LINK_FAILURES: dict[int, str] = {
    zmq.EVENT_CONNECTED: "it takes the connection, but does not answer",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "it refuses this node's key",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "it has another key than server.public says",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "it has another key than server.public says",
}


class ControlLink:
    """Keeps the link up; what is sent while it is down is dropped, as the agent sends it anew."""

    def __init__(
        self,
        config: NodeConfig,
        keys: LinkKeys,
        on_up: Callable[[], None],
        on_message: Callable[[ServerMessage], None],
    ) -> None:
        self.up = False
        self.unreadable = 0
        """Messages from the server that this version does not understand."""
        self._context = zmq.asyncio.Context()
        self._socket = open_link_socket(self._context, config, keys)
        self._endpoint = f"tcp://{config.server}:{config.control_port}"
        self._on_up = on_up
        self._on_message = on_message
        self._outbox: asyncio.Queue[list[bytes]] = asyncio.Queue(_OUTBOX)

    async def run(self) -> None:
        """Connect and serve the link until cancelled."""
        monitor = self._socket.get_monitor_socket()
        self._socket.connect(self._endpoint)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch(monitor))
                tasks.create_task(self._receive())
                tasks.create_task(self._send())
        finally:
            monitor.close(linger=0)
            self._socket.close()
            self._context.destroy()

    def send(self, message: AgentMessage, records: bytes | None = None) -> bool:
        """Queue a message; False if the link is down or does not keep up."""
        if not self.up:
            return False
        parts = [pack_message(message)] + ([] if records is None else [records])
        try:
            self._outbox.put_nowait(parts)
        except asyncio.QueueFull:
            return False
        return True

    async def flush(self, timeout_s: float) -> None:
        """Wait until everything queued is given to ZeroMQ."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._outbox.join(), timeout_s)

    async def _watch(self, monitor: zmq.asyncio.Socket) -> None:
        while True:
            event = parse_monitor_message(await monitor.recv_multipart())
            if event["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.up = True
                self._on_up()
            elif event["event"] == zmq.EVENT_DISCONNECTED:
                self.up = False

    async def _receive(self) -> None:
        while True:
            parts = await self._socket.recv_multipart()
            try:
                message = unpack_server_message(parts[0])
            except InputError:
                self.unreadable += 1
                continue
            self._on_message(message)

    async def _send(self) -> None:
        while True:
            parts = await self._outbox.get()
            await self._socket.send_multipart(parts)
            self._outbox.task_done()
