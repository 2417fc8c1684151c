"""A hostile network: none of it touches a running session, and all of it is counted."""

import random
import socket
import time
from pathlib import Path

import zmq

from capture_protocol import DatagramCodec, SessionFolder, Start, Stop
from capture_protocol.handshake import (
    CHALLENGE_SIZE,
    WELCOME_SIZE,
    Hello,
    Verdict,
    pack_hello,
    unpack_challenge,
    unpack_welcome,
)
from capture_protocol.keys import make_pair, read_curve_key
from tests.integration.test_faults import SLOTS, assert_nothing_lost, send_to_group
from tests.support.rig import TestRig, wait_for

HOSTILE = 20_000
PER_BURST = 100
"""Datagrams sent at once: loopback drops what the receiver's buffer cannot hold."""
KINDS = {"malformed", "version", "other_rig", "forged", "stale", "replayed", "wrong_session"}


def hostile_datagrams(rig: TestRig, folder: SessionFolder, seed: int) -> list[bytes]:
    """Random, mutated, replayed, stale, foreign and future-version datagrams."""
    rng = random.Random(seed)
    plan, config = folder.read_plan(), rig.place.config
    now_ns = time.time_ns()
    codec = DatagramCodec(config.rig_id, rig.place.rig_key)
    stop = codec.encode(Stop(plan.session, 5), now_ns)
    old = Start(plan.session - 1 or 2**32 - 1, now_ns, plan.rate, plan.gop, plan.segment_slots)
    bad = [
        codec.encode(Stop(plan.session, 5), now_ns - 3600 * 10**9),
        codec.encode(Stop(plan.session + 9, 5), now_ns),
        codec.encode(old, now_ns - 3600 * 10**9),
        DatagramCodec(bytes(16), rig.place.rig_key).encode(Stop(plan.session, 5), now_ns),
        DatagramCodec(config.rig_id, bytes(32)).encode(Stop(plan.session, 5), now_ns),
        stop[:4] + b"\x63" + stop[5:],
        bytes.fromhex(plan.start_datagram),  # the real START again: harmless
    ]
    made = []
    for number in range(HOSTILE):
        if number % 3 == 0:
            made.append(rng.randbytes(rng.randrange(0, 200)))
        elif number % 3 == 1:
            mutated = bytearray(stop)
            for _ in range(rng.randrange(1, 6)):
                mutated[rng.randrange(len(mutated))] ^= rng.randrange(1, 256)
            made.append(bytes(mutated))
        else:
            made.append(bad[number // 3 % len(bad)])
    return made


def test_hostile_datagrams_and_peers_have_no_effect(rig: TestRig) -> None:
    folder = rig.start("--frames", str(SLOTS))
    rig.wait_for_slot(folder, 5)
    datagrams = hostile_datagrams(rig, folder, seed=6)
    assert len(datagrams) == HOSTILE
    for at in range(0, HOSTILE, PER_BURST):
        send_to_group(rig, datagrams[at : at + PER_BURST])
        wait_for("the agents read them", lambda: not unread_bytes(rig.place.config.network.port))
    knock_without_the_key(rig, folder)
    knock_with_garbage(rig)
    speak_without_curve(rig)
    speak_with_a_strange_key(rig)
    rig.wait_sealed(folder)
    assert_nothing_lost(folder)

    counted = wait_for("the agents have counted", lambda: all_counted(rig))
    assert set(counted) >= KINDS - {"replayed"}
    peers = rig.status()["refused_peers"]
    assert sum(peers.values()) >= 2, peers


def unread_bytes(port: int) -> int:
    """What waits in the receive queues of all UDP sockets on a port (proc(5), net/udp)."""
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return sum(int(row[4].split(":")[1], 16) for row in rows if row[1].endswith(f":{port:04X}"))


def all_counted(rig: TestRig) -> dict[str, int]:
    """Refusals of all agents, once they are more than half of what was sent to each."""
    refused: dict[str, int] = rig.status()["refused_datagrams"]
    return refused if sum(refused.values()) > HOSTILE else {}


def knock_without_the_key(rig: TestRig, folder: SessionFolder) -> None:
    """A peer that speaks the handshake but has another key."""
    config = rig.place.config
    with socket.create_connection((config.server.address, config.server.stream_port)) as peer:
        peer.settimeout(10)
        nonce = unpack_challenge(receive(peer, CHALLENGE_SIZE))
        hello = Hello(config.rig_id, folder.read_plan().session, 0)
        peer.sendall(pack_hello(hello, nonce, b"x" * 32))
        verdict, _ = unpack_welcome(receive(peer, WELCOME_SIZE))
        assert verdict is Verdict.FORGED


def knock_with_garbage(rig: TestRig) -> None:
    """A peer that sends anything and goes away."""
    server = rig.place.config.server
    with socket.create_connection((server.address, server.stream_port)) as peer:
        peer.sendall(random.Random(1).randbytes(5000))


def speak_without_curve(rig: TestRig) -> None:
    """A ZeroMQ peer without encryption gets no word in."""
    assert not answered(rig, secured=False)


def speak_with_a_strange_key(rig: TestRig) -> None:
    """A ZeroMQ peer with a key that is not of this rig gets no word in either."""
    assert not answered(rig, secured=True)


def answered(rig: TestRig, *, secured: bool) -> bool:
    """Whether the control link answers a registration."""
    server = rig.place.config.server
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.linger = 0
    if secured:
        pair = make_pair()
        dealer.curve_secretkey, dealer.curve_publickey = pair.secret.encode(), pair.public.encode()
        dealer.curve_serverkey = read_curve_key(rig.place.keys / "server.public").encode()
    dealer.connect(f"tcp://{server.address}:{server.control_port}")
    dealer.send(b'{"kind":"heartbeat","node":"node0","state":0}')
    heard = bool(dealer.poll(1000))
    dealer.close()
    context.term()
    return heard


def receive(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = peer.recv(size - len(data))
        assert more, "the server closed the connection early"
        data += more
    return data
