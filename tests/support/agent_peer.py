"""The server's side of an agent's protocols, for tests of the agent alone.

Real sockets throughout: a ROUTER with CURVE, one TCP listener per camera that shakes hands and
reads NUT with PyAV, and UDP for START and STOP. `AgentProcess` runs the real `edge-agent`.
"""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from capture_protocol.control import (
    Ack,
    AgentMessage,
    Drained,
    Durable,
    EventLog,
    EventLogStored,
    Heartbeat,
    Register,
    Registered,
    Sealed,
    ServerMessage,
    pack_message,
    unpack_agent_message,
)
from capture_protocol.datagram import DatagramCodec, Start, Stop
from capture_protocol.events import Event, EventKind, iter_events
from capture_protocol.handshake import (
    BEGIN_SIZE,
    HELLO_SIZE,
    Hello,
    Verdict,
    pack_challenge,
    pack_welcome,
    unpack_begin,
    unpack_hello,
)
from capture_protocol.keys import KeyPair, make_pair, make_rig_key, write_public, write_secret

WAIT_S = 15.0
STATE = "state"


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that is free now."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> None:
    """Block until something holds; the failure says what did not."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out waiting for {what}")
        time.sleep(0.01)


def spooled_files(root: Path) -> list[str]:
    """Spool files below a folder that may be going away meanwhile (os.walk passes over that)."""
    return [name for _, _, names in os.walk(root) for name in names if name.endswith(".units")]


@dataclass
class Unit:
    """One access unit as it arrived."""

    slot: int
    key: bool
    data: bytes
    arrived_ns: int


@dataclass
class Part:
    """What one connection brought."""

    session: int
    first_slot: int
    units: list[Unit] = field(default_factory=list)
    closed: bool = False


class StreamPort:
    """A segmenter's port: accepts one connection after the other and keeps what it brings."""

    def __init__(self, rig_id: bytes, key: bytes, port: int = 0) -> None:
        self.parts: list[Part] = []
        self.refusals = 0
        self.verdict = Verdict.ACCEPTED
        self.forget_from: int | None = None
        """Pretend that nothing from this slot on was kept."""
        self.greeting_delay_s = 0.0
        self.rate = Fraction(30)
        self.reading = threading.Event()
        self.reading.set()
        self._rig_id, self._key = rig_id, key
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        self._peer: socket.socket | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    def units(self, session: int) -> dict[int, Unit]:
        """All units of a session by slot; the first delivery counts."""
        found: dict[int, Unit] = {}
        for part in list(self.parts):
            for unit in list(part.units) if part.session == session else []:
                found.setdefault(unit.slot, unit)
        return found

    def resume_slot(self, session: int) -> int:
        """The slot after the last one here: what is not here before it was lost at the camera."""
        after = max(self.units(session), default=-1) + 1
        return after if self.forget_from is None else min(after, self.forget_from)

    def cut(self) -> None:
        """Break the connection hard, as a pulled cable and a reboot would."""
        peer = self._peer
        if peer is not None:
            with contextlib.suppress(OSError):
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                peer.shutdown(socket.SHUT_RDWR)
                peer.close()

    def close(self) -> None:
        """Stop listening; the connection breaks."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._peer = peer
            with contextlib.suppress(OSError, av.FFmpegError):
                self._take(peer)
            peer.close()

    def _take(self, peer: socket.socket) -> None:
        nonce = secrets.token_bytes(16)
        time.sleep(self.greeting_delay_s)
        peer.sendall(pack_challenge(nonce))
        hello: Hello = unpack_hello(_exactly(peer, HELLO_SIZE), nonce, self._key)
        if hello.rig_id != self._rig_id or self.verdict is not Verdict.ACCEPTED:
            self.refusals += 1
            peer.sendall(pack_welcome(self.verdict))
            return
        peer.sendall(pack_welcome(Verdict.ACCEPTED, self.resume_slot(hello.session)))
        self.forget_from = None
        part = Part(hello.session, unpack_begin(_exactly(peer, BEGIN_SIZE)))
        self.parts.append(part)
        try:
            with peer.makefile("rb") as file, av.open(file, format="nut") as container:
                for packet in container.demux(video=0):
                    if packet.size and packet.pts is not None:
                        slot = packet.pts * packet.time_base * self.rate
                        part.units.append(
                            Unit(int(slot), packet.is_keyframe, bytes(packet), time.time_ns())
                        )
                    self.reading.wait()
        finally:
            part.closed = True


class AgentPeer:
    """A whole small server: keys, control link, stream ports, datagrams."""

    def __init__(self, folder: Path, cameras: list[str], **camera_options: object) -> None:
        self.folder = folder
        self.node = "node0"
        self.rig_id = secrets.token_bytes(16)
        self.key_hex = make_rig_key()
        self.codec = DatagramCodec(self.rig_id, bytes.fromhex(self.key_hex))
        self.server_keys, self.node_keys = make_pair(), make_pair()
        self.cameras = cameras
        self.ports = {name: StreamPort(self.rig_id, self.codec.key) for name in cameras}
        self.group = f"239.84.{secrets.randbelow(250) + 1}.{secrets.randbelow(250) + 1}"
        self.datagram_port = free_port(socket.SOCK_DGRAM)
        self.control_port = free_port()
        self.messages: list[AgentMessage] = []
        self.events: dict[tuple[int, str, str], dict[int, Event]] = {}
        self.final: set[tuple[int, str, str]] = set()
        self.registered = Registered()
        self.storing = True
        self._outbox: list[ServerMessage] = []
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.setsockopt(
            socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1")
        )
        self._write_node(camera_options)
        self.start_link()

    @property
    def config_path(self) -> Path:
        """The agent's node.toml."""
        return self.folder / "node.toml"

    def start_link(self) -> None:
        """Serve the control link in a thread."""
        self._stopping = False
        self._thread = threading.Thread(target=self._serve_link, daemon=True)
        self._thread.start()

    def stop_link(self) -> None:
        """End the control link, as a killed manager does."""
        self._stopping = True
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """End everything."""
        self.stop_link()
        for port in self.ports.values():
            port.close()
        self._udp.close()

    def multicast(self, data: bytes) -> None:
        """Send a datagram to the rig's group."""
        self._udp.sendto(data, (self.group, self.datagram_port))

    def start(self, session: int, *, rate: Fraction = Fraction(30), **more: object) -> Start:
        """Multicast a START; t0 lies on the epoch's grid, 0.4 s from now unless `delay_s` says."""
        delay_ns = int(float(str(more.pop("delay_s", 0.4))) * 1e9)
        slot = (time.time_ns() + delay_ns) * rate // 10**9
        t0_ns = int(slot * 10**9 / rate)
        fields = {"gop": 15, "segment_slots": 30} | more
        start = Start(session, t0_ns, rate, **fields)  # type: ignore[arg-type]
        self.start_datagram = self.codec.encode(start, time.time_ns())
        self.multicast(self.start_datagram)
        return start

    def stop(self, session: int, last_slot: int) -> None:
        """Multicast a STOP."""
        self.multicast(self.codec.encode(Stop(session, last_slot), time.time_ns()))

    def send(self, message: ServerMessage) -> None:
        """Send over the control link."""
        self._outbox.append(message)

    def seal(self, session: int, complete: bool = True) -> None:
        """Tell the agent that a session is sealed."""
        self.send(Sealed(session=session, complete=complete))

    def durable(self, session: int, camera: str, next_slot: int) -> None:
        """Tell the agent what is safe."""
        self.send(Durable(session=session, camera=camera, next_slot=next_slot))

    def of(self, kind: type) -> list:
        """All messages of one kind so far."""
        return [message for message in self.messages if isinstance(message, kind)]

    @property
    def beat(self) -> Heartbeat:
        """The last heartbeat."""
        return self.of(Heartbeat)[-1]

    def wait_registered(self, count: int = 1) -> None:
        """Until the agent has registered so many times."""
        wait_until(lambda: len(self.of(Register)) >= count, f"registration {count}")

    def wait_locked(self) -> None:
        """Until every camera is in genlock."""
        wait_until(
            lambda: (
                self.of(Heartbeat)
                and len(self.beat.cameras) == len(self.cameras)
                and all(camera.lock == 2 for camera in self.beat.cameras)
            ),
            "lock of all cameras",
        )

    def wait_drained(self, session: int) -> None:
        """Until every camera has reported that it has delivered a session."""
        wait_until(
            lambda: (
                {m.camera for m in self.of(Drained) if m.session == session} >= set(self.cameras)
            ),
            f"session {session} drained",
        )

    def wait_handed_over(self, session: int) -> None:
        """Until all event logs of a session are here."""
        wanted = {(session, c, s) for c in self.cameras for s in ("capture", "stream")}
        wait_until(lambda: wanted <= self.final, f"event logs of session {session}")

    def log(self, session: int, camera: str, stage: str, kind: EventKind) -> list[Event]:
        """Events of one kind of a handed-over log, in order."""
        events = self.events.get((session, camera, stage), {})
        return [event for _, event in sorted(events.items()) if event.kind is kind]

    def _write_node(self, camera_options: dict[str, object]) -> None:
        lines = [
            f'name = "{self.node}"',
            'rig_name = "test"',
            f'rig_id = "{self.rig_id.hex()}"',
            'server = "127.0.0.1"',
            f"control_port = {self.control_port}",
            f'group = "{self.group}"',
            f"datagram_port = {self.datagram_port}",
            'interface = "127.0.0.1"',
            'clock = "shared"',
            f'state = "{STATE}"',
        ]
        lines += [f"{k} = {v!r}" for k, v in camera_options.pop("node", {}).items()]
        for index, (name, port) in enumerate(self.ports.items()):
            lines += ["[[camera]]", f'name = "{name}"', f"index = {index}"]
            lines += [f"stream_port = {port.port}"]
            defaults: dict[str, object] = {"width": 320, "height": 240, "bitrate_kbps": 1000}
            lines += [f"{k} = {_toml(v)}" for k, v in (defaults | camera_options).items()]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config_path.write_text("\n".join(lines) + "\n")
        write_secret(self.folder / "rig.key", self.key_hex)
        write_public(self.folder / "server.public", self.server_keys.public)
        write_public(self.folder / "node.public", self.node_keys.public)
        write_secret(self.folder / "node.secret", self.node_keys.secret)

    def _serve_link(self) -> None:
        context = zmq.Context()
        auth = ThreadAuthenticator(context)
        auth.start()
        auth.configure_curve_callback("*", _OnlyKey(self.node_keys))
        router = context.socket(zmq.ROUTER)
        router.curve_server = True
        router.curve_secretkey = self.server_keys.secret.encode()
        router.curve_publickey = self.server_keys.public.encode()
        router.linger = 0
        router.bind(f"tcp://127.0.0.1:{self.control_port}")
        while not self._stopping:
            while self._outbox:
                router.send_multipart([self.node.encode(), pack_message(self._outbox.pop(0))])
            if router.poll(10):
                _, *parts = router.recv_multipart()
                self._take(parts)
        auth.stop()
        router.close()
        context.term()

    def _take(self, parts: list[bytes]) -> None:
        message = unpack_agent_message(parts[0])
        self.messages.append(message)
        if isinstance(message, Register):
            self.send(self.registered)
        elif isinstance(message, EventLog) and self.storing:
            self._store(message, parts[1])

    def _store(self, message: EventLog, records: bytes) -> None:
        place = (message.session, message.camera, message.stage)
        held = self.events.setdefault(place, {})
        held.update({event.number: event for event in iter_events(records)})
        if message.final:
            self.final.add(place)
        next_number = max(held, default=message.first_number - 1) + 1
        self.send(
            EventLogStored(
                session=message.session,
                camera=message.camera,
                stage=message.stage,
                next_number=next_number,
            )
        )


class AgentProcess:
    """The real `edge-agent run` in a process of its own."""

    def __init__(self, peer: AgentPeer) -> None:
        self.log_path = peer.folder / "agent.log"
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge_agent.cli", "run", "--config", peer.config_path],
                stderr=log,
                stdout=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the agent itself, not of its children."""
        return self.process.pid

    def children(self) -> list[int]:
        """Pids of all processes below the agent."""
        return [pid for pid, session in _sessions() if session == self.pid and pid != self.pid]

    def kill(self) -> None:
        """kill -9 the agent; its children must go by themselves."""
        self.process.kill()
        self.process.wait()

    def terminate(self, timeout_s: float = 30.0) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def close(self) -> None:
        """End it in any case."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in self.children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def running_agent(peer: AgentPeer) -> Iterator[AgentProcess]:
    """An agent that is ended whatever happens; its output is shown where a test fails."""
    agent = AgentProcess(peer)
    try:
        yield agent
    finally:
        agent.close()
        print(agent.log_path.read_text())


class _OnlyKey:
    """Lets one CURVE key in."""

    def __init__(self, pair: KeyPair) -> None:
        self._public = pair.public.encode()

    def callback(self, domain: str, key: bytes) -> bool:
        """See `zmq.auth`."""
        return key == self._public


def _sessions() -> Iterator[tuple[int, int]]:
    """(pid, session id) of all processes that are not zombies."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    yield int(entry.name), int(fields[3])


def _exactly(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = peer.recv(size - len(data))
        if not more:
            raise ConnectionError("peer closed")
        data += more
    return data


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


__all__ = ["Ack", "AgentPeer", "AgentProcess", "free_port", "running_agent", "wait_until"]
