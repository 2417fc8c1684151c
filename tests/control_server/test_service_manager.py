"""What systemd is told of the manager."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from capture_protocol.service_manager import ServiceManager
from control_server.manager.requests import Check, Preflight
from control_server.manager.views import journal_lines
from control_server.manager.watchdog import feed


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A service manager's socket, of both kinds that there are."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@tutti-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as received:
        received.bind(name.replace("@", "\0", 1))
        received.settimeout(5)
        yield name, received


def test_systemd_is_told_and_the_watchdog_fed(listener: tuple[str, socket.socket]) -> None:
    name, received = listener
    manager = ServiceManager({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "300000"})
    assert manager.watchdog_s == 0.3

    async def live() -> list[bytes]:
        manager.ready()
        feeding = asyncio.create_task(feed(manager, lambda: "no session runs"))
        told = [await asyncio.to_thread(received.recv, 100) for _ in range(5)]
        feeding.cancel()
        manager.stopping()
        while told[-1] != b"STOPPING=1":
            told.append(received.recv(100))
        return told

    first, *between, _ = asyncio.run(live())
    assert first == b"READY=1"
    assert between[:4] == [b"STATUS=no session runs", b"WATCHDOG=1"] * 2


def test_without_systemd_nothing_is_told() -> None:
    manager = ServiceManager({"WATCHDOG_USEC": "300000"})
    manager.ready()
    asyncio.run(feed(manager, lambda: pytest.fail("nobody listens")))
    assert manager.watchdog_s == 0.0


def test_a_watchdog_of_another_process_is_not_ours() -> None:
    settings = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "300000", "WATCHDOG_PID": "1"}
    assert ServiceManager(settings).watchdog_s == 0.0


def test_the_journal_gets_what_is_not_ok_with_its_priority() -> None:
    found = Preflight(
        checks=[
            Check(where="server", point="session", verdict="ok", detail="no session runs"),
            Check(where="node0", point="clock", verdict="warning", detail="free", hint="NTP"),
            Check(where="node1", point="heard", verdict="failed", detail="silent", hint="start it"),
            Check(where="node1", point="camera cam1", verdict="failed", detail="hangs"),
        ]
    )
    assert journal_lines(found) == [
        "<4>node0 clock: free; NTP",
        "<3>node1 heard: silent; start it",
        "<3>node1 camera cam1: hangs",
        "<6>4 points, 2 failed: a session cannot start",
    ]
    ready = Preflight(checks=found.checks[:1])
    assert journal_lines(ready) == ["<6>1 points, 0 failed: a session can start"]
