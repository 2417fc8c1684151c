"""What keeps a session from starting, and what a request comes to. No I/O."""

import asyncio
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_protocol import (
    AgentState,
    ClockSource,
    DatagramCodec,
    Grid,
    InputError,
    RigConfig,
    StartFlag,
)
from capture_protocol.control import CameraHealth, ClockFinding, ClockHealth, Heartbeat, Register
from capture_protocol.rig import PtpSection
from control_server.commands.lifecycle import parse_utc
from control_server.fleet.nodes import Fleet
from control_server.manager.planning import check_lead, epoch_slot, make_plan, wanted_frames
from control_server.manager.preflight import Surroundings, preflight
from control_server.manager.requests import StartRequest
from control_server.manager.server_clock import judge_server_clock
from tests.support.served_rig import rig_config

NOW_NS = 10**12
RIG = rig_config(2, 1, {})
MIB = 1 << 20


def fleet(**changes: object) -> Fleet:
    """Two ready nodes; ``changes`` are for node1."""
    made = Fleet.of(RIG)
    for node, view in made.nodes.items():
        change = changes if node == "node1" else {}
        view.heard_ns = NOW_NS - change.get("age_ns", 0)
        cameras = change.get("cameras", view.cameras)
        state = change.get("state", AgentState.IDLE)
        view.registered = Register(
            node=node, software="x", cameras=cameras, state=state, datagram_host="h",
            datagram_port=1,
        )  # fmt: skip
        clock = change.get("clock", ClockHealth(source=ClockSource.PTP_HARDWARE))
        health = [CameraHealth(camera=name, problem=change.get("problem", "")) for name in cameras]
        view.heartbeat = Heartbeat(node=node, state=state, clock=clock, cameras=health)
    return made


def around(**changes: object) -> Surroundings:
    settings = {"now_ns": NOW_NS, "free_bytes": 100 * MIB, "storage": "/s", "running_session": 0}
    return Surroundings(**{**settings, **changes})


def complaints(nodes: Fleet, surroundings: Surroundings) -> list[tuple[str, bool]]:
    failed = preflight(RIG, nodes, surroundings).failed
    assert all(check.detail for check in failed)
    return [(check.name, check.forcible) for check in failed]


def test_ready_rig_has_no_complaints() -> None:
    found = preflight(RIG, fleet(), around())
    assert found.failed == []
    assert len(found.checks) == 10


@pytest.mark.parametrize(
    ("nodes", "surroundings", "expected"),
    [
        (fleet(), around(running_session=7), [("server session", False)]),
        (fleet(), around(free_bytes=16 * MIB), [("server storage", False)]),
        (fleet(age_ns=4 * 10**9), around(), [("node1 heard", True)]),
        (fleet(state=AgentState.DRAINING), around(), [("node1 idle", True)]),
        (fleet(clock=ClockHealth()), around(), [("node1 clock", True)]),
        (fleet(clock=ClockHealth(source=2, problem="lost")), around(), [("node1 clock", True)]),
        (fleet(problem="no camera"), around(), [("node1 camera cam1", True)]),
        (fleet(cameras=["other"]), around(), [("node1 camera cam1", True)]),
    ],
)
def test_each_complaint(
    nodes: Fleet, surroundings: Surroundings, expected: list[tuple[str, bool]]
) -> None:
    assert complaints(nodes, surroundings) == expected


def test_every_point_of_a_clock_is_a_row_and_only_failures_keep_a_session_from_starting() -> None:
    points = [
        ClockFinding(point="port state", verdict="ok", text="MASTER on eth0"),
        ClockFinding(point="CLOCK_REALTIME", verdict="warning", text="runs free", mend="NTP"),
    ]
    found = preflight(RIG, fleet(), around(clock=points))
    assert found.failed == []
    rows = [(row.point, row.verdict, row.hint) for row in found.checks if row.where == "server"]
    assert rows[2:] == [("port state", "ok", ""), ("CLOCK_REALTIME", "warning", "NTP")]
    broken = ClockFinding(point="ptp4l", verdict="failed", text="does not answer", mend="start it")
    nodes = fleet(clock=ClockHealth(source=ClockSource.PTP_SOFTWARE, findings=[broken]))
    assert complaints(nodes, around(clock=[broken])) == [
        ("server ptp4l", True),
        ("node1 clock: ptp4l", True),
    ]


def rig_with(*clocks: tuple[str, str]) -> RigConfig:
    """A rig whose nodes have these (clock, role)."""
    nodes = [
        entry.model_copy(update={"clock": clock, "ptp": PtpSection(role=role)})
        for entry, (clock, role) in zip(RIG.node, clocks, strict=True)
    ]
    return RIG.model_copy(update={"node": nodes})


FOLLOWERS = rig_with(("ptp", "follower"), ("ptp", "follower"))


def program(folder: Path, *lines: str) -> Path:
    """A stand-in for edge-agent that answers in a way the real one cannot be brought to."""
    path = folder / "edge-agent"
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "rig", [rig_with(("ntp", "follower"), ("shared", "follower")),
            rig_with(("ptp", "follower"), ("ptp", "grandmaster"))]
)  # fmt: skip
def test_a_clock_that_the_rig_does_not_live_by_is_not_judged(rig: RigConfig) -> None:
    assert asyncio.run(judge_server_clock(rig, Path("/nowhere"))) == []


def test_the_real_agent_judges_the_servers_clock() -> None:
    found = asyncio.run(judge_server_clock(FOLLOWERS))
    assert "clock" in [finding.point for finding in found]
    assert not [finding for finding in found if finding.text.startswith("not judged")]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("echo 'error: pmc is missing' >&2", "exit 4"), "error: pmc is missing"),
        (("echo '[{\"point\": 1}]'", "exit 3"), "exit code 3"),
        (("exec sleep 60",), "has not answered"),
    ],
)
def test_an_agent_that_gives_no_judgement_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr("control_server.manager.server_clock.WAIT_S", 2.0)
    (finding,) = asyncio.run(judge_server_clock(FOLLOWERS, program(tmp_path, *lines)))
    assert (finding.point, finding.verdict) == ("clock", "warning")
    assert said in finding.text
    assert finding.mend


def test_a_missing_agent_is_a_warning(tmp_path: Path) -> None:
    (finding,) = asyncio.run(judge_server_clock(FOLLOWERS, tmp_path / "edge-agent"))
    assert (finding.verdict, finding.mend) == ("warning", "install the agent, too")


def test_nodes_never_heard_are_the_only_complaint_about_them() -> None:
    assert complaints(Fleet.of(RIG), around()) == [("node0 heard", True), ("node1 heard", True)]


def plan(**request: object) -> tuple[object, DatagramCodec]:
    codec = DatagramCodec(RIG.rig_id, b"k" * 32)
    return make_plan(RIG, codec, 5, StartRequest(**request), forced=True), codec


def test_plan_and_datagram_say_the_same() -> None:
    made, codec = plan(frames=90)
    start = codec.decode(bytes.fromhex(made.start_datagram), time.time_ns())
    names = ("session", "t0_ns", "rate", "gop", "segment_slots")
    assert [getattr(start, name) for name in names] == [getattr(made, name) for name in names]
    assert (start.flags, start.slots) == (StartFlag.FORCED, 90)
    assert (made.frames, made.segment_slots) == (90, 10)
    lead_ms = (made.t0_ns - time.time_ns()) / 10**6
    assert 0 < lead_ms <= RIG.session.lead_ms + 1000 / made.rate
    assert [camera.stream_port for camera in made.cameras] == [
        RIG.server.stream_port,
        RIG.server.stream_port + 1,
    ]


def test_given_t0_is_kept_to_the_nanosecond() -> None:
    at_ns = time.time_ns() + 10**10 + 1
    assert plan(at_ns=at_ns)[0].t0_ns == at_ns


@pytest.mark.parametrize(("lead_ns", "text"), [(-1, "in the past"), (10**8, "too near")])
def test_t0_that_cannot_be_kept_is_refused(lead_ns: int, text: str) -> None:
    with pytest.raises(InputError, match=text):
        check_lead(time.time_ns() + lead_ns)
    check_lead(None)
    check_lead(time.time_ns() + 10**9)


@given(st.floats(0.001, 10**5), st.sampled_from([Fraction(30), Fraction(30000, 1001)]))
def test_duration_is_the_nearest_number_of_slots(duration_s: float, rate: Fraction) -> None:
    frames = wanted_frames(StartRequest(duration_s=duration_s), rate)
    assert frames >= 1
    assert abs(frames / rate - Fraction(duration_s)) <= 1 / rate


@given(st.integers(0, 2**62), st.sampled_from([Fraction(30), Fraction(30000, 1001)]))
def test_t0_is_the_next_instant_of_the_epochs_grid(time_ns: int, rate: Fraction) -> None:
    epoch = Grid(0, rate)
    t0_ns = epoch_slot(time_ns, rate)
    assert 0 <= t0_ns - time_ns <= epoch.period_ns
    assert epoch.time_ns(epoch.nearest_slot(t0_ns)) == t0_ns


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1970-01-01T00:00:01", 10**9),
        ("1970-01-01T01:00:00.000001+01:00", 1000),
        ("2026-05-01T12:00:00Z", 1_777_636_800 * 10**9),
        ("1777636800.123456789", 1_777_636_800_123_456_789),
    ],
)
def test_utc_is_read_to_the_nanosecond(text: str, time_ns: int) -> None:
    assert parse_utc(text) == time_ns


def test_no_time_is_refused() -> None:
    for text in ("noon", "nan", "inf"):
        with pytest.raises(InputError, match="is no time"):
            parse_utc(text)
