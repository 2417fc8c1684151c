"""The control link: who gets in, who may say what."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio

from capture_protocol import AgentState, EnvironmentLackError
from capture_protocol.control import Heartbeat, Registered, pack_message, unpack_server_message
from capture_protocol.keys import KeyPair, make_pair, read_curve_key
from control_server.demo.local_rig import free_ports
from control_server.fleet.link import FleetLink
from control_server.refusals import RefusalCounts
from control_server.rig.place import RigPlace
from control_server.rig.setup import RigWish, set_up


@pytest.fixture
def place(tmp_path: Path) -> RigPlace:
    return set_up(tmp_path, RigWish(nodes=2, base_port=free_ports(13)))[0]


def keys_of(place: RigPlace, node: str) -> KeyPair:
    folder = place.nodes / node
    return KeyPair(read_curve_key(folder / "node.public"), read_curve_key(folder / "node.secret"))


def heartbeat(node: str) -> bytes:
    return pack_message(Heartbeat(node=node, state=AgentState.IDLE))


class Bench:
    """A link with one visitor after the other."""

    def __init__(self, place: RigPlace) -> None:
        self.place = place
        self.heard: list[Any] = []
        self.refusals = RefusalCounts(place.folder / "refused.json")
        self.context = zmq.asyncio.Context()

    def visitor(self, name: str, keys: KeyPair | None) -> zmq.asyncio.Socket:
        dealer = self.context.socket(zmq.DEALER)
        dealer.identity, dealer.linger = name.encode(), 0
        if keys is not None:
            server = read_curve_key(self.place.keys / "server.public")
            dealer.curve_serverkey = server.encode()
            dealer.curve_publickey, dealer.curve_secretkey = (
                keys.public.encode(),
                keys.secret.encode(),
            )
        dealer.connect(f"tcp://127.0.0.1:{self.place.config.server.control_port}")
        return dealer

    async def wait(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                await asyncio.sleep(0.01)

    def run(self, talk: Callable[[FleetLink], Any]) -> None:
        async def main() -> None:
            link = FleetLink(self.place, lambda *message: self.heard.append(message), self.refusals)
            link.open("127.0.0.1", self.place.config.server.control_port)
            try:
                await talk(link)
            finally:
                await link.close()
                self.context.destroy(linger=0)

        asyncio.run(main())


def test_node_is_heard_and_answered(place: RigPlace) -> None:
    bench = Bench(place)

    async def talk(link: FleetLink) -> None:
        node = bench.visitor("node0", keys_of(place, "node0"))
        await node.send_multipart([heartbeat("node0"), b"records"])
        await bench.wait(lambda: bench.heard)
        await link.send("node0", Registered(start="ab"))
        assert unpack_server_message(await node.recv()) == Registered(start="ab")
        await link.send("node1", Registered())  # is not there: no error

    bench.run(talk)
    ((message, records),) = bench.heard
    assert (message.node, records) == ("node0", b"records")
    assert bench.refusals.read() == {}


@pytest.mark.parametrize("keys", [make_pair(), None], ids=["strange key", "no key"])
def test_stranger_gets_no_word_in_and_is_counted(place: RigPlace, keys: KeyPair | None) -> None:
    bench = Bench(place)

    async def talk(_: FleetLink) -> None:
        stranger = bench.visitor("node0", keys)
        await stranger.send(heartbeat("node0"))
        await bench.wait(lambda: bench.refusals.read().get("control_key"))
        node = bench.visitor("node1", keys_of(place, "node1"))
        await node.send(heartbeat("node1"))
        await bench.wait(lambda: bench.heard)

    bench.run(talk)
    assert {message.node for message, _ in bench.heard} == {"node1"}


def test_node_cannot_speak_for_another(place: RigPlace) -> None:
    bench = Bench(place)

    async def talk(_: FleetLink) -> None:
        liar = bench.visitor("node0", keys_of(place, "node0"))
        await liar.send(heartbeat("node1"))
        masked = bench.visitor("node1", keys_of(place, "node0"))
        await masked.send(heartbeat("node1"))
        await bench.wait(lambda: bench.refusals.read().get("control_message") == 2)
        await liar.send(heartbeat("node0"))
        await bench.wait(lambda: bench.heard)

    bench.run(talk)
    assert [message.node for message, _ in bench.heard] == ["node0"]


@pytest.mark.parametrize("frames", [[b"{}"], [b"\xff\xfe"], [b"[]", b""], [b"", b"", b""]])
def test_rubbish_of_a_node_is_counted_and_survived(place: RigPlace, frames: list[bytes]) -> None:
    bench = Bench(place)

    async def talk(_: FleetLink) -> None:
        node = bench.visitor("node0", keys_of(place, "node0"))
        await node.send_multipart(frames)
        await node.send(heartbeat("node0"))
        await bench.wait(lambda: bench.heard)

    bench.run(talk)
    assert bench.refusals.read() == {"control_message": 1}


def test_port_that_is_taken_is_named(place: RigPlace) -> None:
    bench = Bench(place)

    async def talk(_: FleetLink) -> None:
        second = FleetLink(place, lambda *_: None, bench.refusals)
        port = place.config.server.control_port
        with pytest.raises(EnvironmentLackError, match=f"port {port}"):
            second.open("127.0.0.1", port)
        await second.close()

    bench.run(talk)
