"""Which commands an agent acts on, what it remembers, and what it owes the server."""

import time
from collections import Counter
from fractions import Fraction

import pytest

from capture_protocol.control import EventLogStored
from capture_protocol.datagram import DatagramCodec, DatagramError, Refusal, Start, Stop
from capture_protocol.errors import InputError
from capture_protocol.events import LOST_STRUCT, STATE_STRUCT, AgentState, EventKind, iter_events
from edge_agent.agent import AgentMemory, NodePaths, SessionMachine
from edge_agent.agent.archive import Archive
from edge_agent.agent.keeper import SessionKeeper
from edge_agent.agent.machine import Outcome
from edge_agent.eventlog import RingWriter
from edge_agent.process import (
    CaptureDone,
    CaptureStatus,
    Drained,
    EndSession,
    SessionOrder,
    SessionRefused,
    SessionTaken,
)

CODEC = DatagramCodec(bytes(16), bytes(32))


def start_of(session, t0_ns=None):
    return Start(session, t0_ns or time.time_ns(), Fraction(30), 30, 60)


class Recorder:
    """Takes orders and acknowledgements down."""

    def __init__(self):
        self.capture, self.workers, self.acks = [], [], []

    def to_capture(self, order):
        self.capture.append(order)

    def to_workers(self, order):
        self.workers.append(order)

    def acknowledge(self, *ack):
        self.acks.append(ack)


@pytest.fixture
def seen():
    return Recorder()


@pytest.fixture
def make_keeper(tmp_path, seen):
    return lambda: SessionKeeper(CODEC, tmp_path / "agent.json", seen, seen.acknowledge)


def send(keeper, message, issued_ns=None):
    keeper.take_datagram(CODEC.encode(message, issued_ns or time.time_ns()))


def status(session, capturing=True):
    return CaptureStatus(session, capturing, 0, "spin", 100, False)


def test_the_states_follow_a_session_to_its_end():
    machine = SessionMachine()
    start, states = start_of(1), []
    for step in (
        lambda: machine.on_start(start),
        lambda: machine.on_capturing(1),
        lambda: machine.on_stop(Stop(1, 9)),
        lambda: machine.on_captured(1),
        machine.on_drained,
    ):
        step()
        states.append(machine.state)
    assert states == [
        AgentState.ARMED,
        AgentState.CAPTURING,
        AgentState.CAPTURING,
        AgentState.DRAINING,
        AgentState.IDLE,
    ]
    assert machine.finished == 1


def test_repeated_commands_are_idempotent():
    machine, start = SessionMachine(), start_of(2)
    assert machine.on_start(start) is Outcome.NEW
    assert machine.on_start(start) is Outcome.AGAIN
    assert machine.on_stop(Stop(2, 9)) is Outcome.NEW
    assert machine.on_stop(Stop(2, 9)) is Outcome.AGAIN


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (lambda machine: machine.on_start(start_of(3)), Refusal.REPLAYED),
        (lambda machine: machine.on_start(start_of(5, 77)), Refusal.BUSY),
        (lambda machine: machine.on_start(start_of(6)), Refusal.BUSY),
        (lambda machine: machine.on_stop(Stop(4, 9)), Refusal.WRONG_SESSION),
        (lambda machine: machine.on_stop(Stop(5, 10)), Refusal.REPLAYED),
    ],
)
def test_commands_at_the_wrong_time_are_refused(command, refusal):
    machine = SessionMachine(finished=3)
    machine.on_start(start_of(5))
    machine.on_stop(Stop(5, 9))
    with pytest.raises(DatagramError) as caught:
        command(machine)
    assert caught.value.refusal is refusal
    assert machine.session == 5


def test_a_new_session_may_begin_while_the_last_one_drains():
    machine = SessionMachine()
    machine.on_start(start_of(1))
    machine.on_captured(1)
    assert machine.on_start(start_of(2)) is Outcome.NEW


def test_a_start_is_remembered_before_it_is_acknowledged(make_keeper, seen, tmp_path):
    keeper = make_keeper()
    send(keeper, start := start_of(1))
    assert seen.acks == []
    assert AgentMemory.load(tmp_path / "agent.json").start
    assert seen.capture == seen.workers == [SessionOrder(start)]
    keeper.on_capture_report(SessionTaken(1))
    send(keeper, start)
    assert seen.acks == [("start", 1, True, "")] * 2


def test_a_restarted_agent_goes_on_at_once(make_keeper, seen):
    keeper = make_keeper()
    send(keeper, start := start_of(1))
    send(keeper, Stop(1, 10**6))
    again = make_keeper()
    again.resume()
    assert seen.capture[-1] == SessionOrder(start, 10**6)
    assert again.session == 1
    assert again.unsealed_orders() == [SessionOrder(start, running=True)]


def test_an_agent_that_was_told_to_end_rejoins_when_it_is_started_again(make_keeper, seen):
    keeper = make_keeper()
    send(keeper, start := start_of(1))
    keeper.leave()
    assert isinstance(seen.capture[-1], EndSession)
    keeper.on_capture_report(CaptureDone(1, 5))
    assert keeper.state is AgentState.DRAINING
    again = make_keeper()
    again.resume()
    assert seen.capture[-1] == SessionOrder(start)


def test_only_so_many_sessions_are_owed(make_keeper):
    keeper = make_keeper()
    for session in range(1, 31):
        send(keeper, start_of(session))
        keeper.on_capture_report(CaptureDone(session, 5))
    assert [order.start.session for order in keeper.unsealed_orders()] == list(range(11, 31))


def test_nonsense_from_the_server_is_counted_and_ignored(make_keeper, seen):
    keeper = make_keeper()
    keeper.take_registered("no hex", "ff", 0)
    assert keeper.refused == {"malformed": 2}
    assert seen.capture == []


def test_a_session_that_ended_meanwhile_is_not_rejoined(make_keeper, seen):
    keeper = make_keeper()
    send(keeper, start := start_of(1, time.time_ns() - 10**11))
    send(keeper, Stop(1, 30))
    again = make_keeper()
    before = len(seen.capture)
    again.resume()
    assert (again.session, len(seen.capture)) == (0, before)
    assert again.unsealed_orders() == [SessionOrder(start, running=False)]
    send(again, start)
    assert again.refused == {"replayed": 1}


def test_refused_datagrams_are_counted_by_reason(make_keeper):
    keeper = make_keeper()
    keeper.take_datagram(b"")
    keeper.take_datagram(bytes(200))
    send(keeper, start_of(1), issued_ns=time.time_ns() - 10**11)
    send(keeper, Stop(4, 1))
    assert keeper.refused == Counter(malformed=2, stale=1, wrong_session=1)
    assert keeper.session == 0


def test_a_session_that_the_cameras_cannot_record_is_answered_each_time(make_keeper, seen):
    keeper = make_keeper()
    send(keeper, start := start_of(1))
    keeper.on_capture_report(SessionRefused(1, "too fast"))
    send(keeper, start)
    assert seen.acks == [("start", 1, False, "too fast")] * 2
    assert len(seen.capture) == 1
    assert keeper.state is AgentState.IDLE


def test_the_link_tells_a_late_agent_what_runs(make_keeper, seen):
    keeper = make_keeper()
    old_ns = time.time_ns() - 10**11  # far too old for the network
    start, stop = start_of(4), Stop(4, 10**6)
    keeper.take_registered(CODEC.encode(start, old_ns).hex(), CODEC.encode(stop, old_ns).hex(), 0)
    assert seen.capture == [SessionOrder(start), EndSession(4, 10**6)]


def test_a_session_that_the_server_no_longer_knows_ends(make_keeper, seen):
    keeper = make_keeper()
    send(keeper, start_of(4, time.time_ns() - 2 * 10**9))
    keeper.take_registered("", "", was_recording=0)
    assert len(seen.capture) == 1, "it began after we had registered"
    keeper.take_registered("", "", was_recording=4)
    assert 58 <= seen.capture[-1].last_slot <= 90


def test_damaged_memory_is_an_error_that_says_what_to_do(tmp_path):
    (tmp_path / "agent.json").write_text('{"finished": "many"}')
    with pytest.raises(InputError, match="damaged") as caught:
        AgentMemory.load(tmp_path / "agent.json")
    assert "delete it" in caught.value.hint


@pytest.fixture
def owing(tmp_path):
    """An archive of one camera whose logs hold 3 records of session 1, and one of session 2."""
    paths = NodePaths(tmp_path, tmp_path)
    paths.make()
    log = RingWriter(paths.log("cam0", "capture"), 64)
    for slot, session in ((0, 1), (1, 1), (2, 2), (3, 1)):
        log.append(slot, session, 0, EventKind.LOST, LOST_STRUCT, slot, 2)
    stream = RingWriter(paths.log("cam0", "stream"), 64)
    stream.append(1, 1, 0, EventKind.STATE, STATE_STRUCT, AgentState.DRAINING, 2)
    archive = Archive("node0", ["cam0"], paths)
    archive.add(1)
    return archive, log


def batches(archive, now_s, over=True):
    return {
        message.stage: (message, [event.mono_ns for event in iter_events(records)])
        for message, records in archive.batches(now_s, lambda _session: over)
    }


def stored(archive, stage, next_number):
    archive.on_stored(
        EventLogStored(session=1, camera="cam0", stage=stage, next_number=next_number)
    )


def test_logs_are_sent_until_they_are_stored(owing):
    archive, log = owing
    first = batches(archive, 0.0, over=False)
    assert first["capture"][1] == [0, 1, 3], "only records of this session"
    assert not first["capture"][0].final
    assert batches(archive, 1.0) == {}, "not before the server had time to answer"
    assert batches(archive, 9.0)["capture"][1] == [0, 1, 3]
    stored(archive, "capture", 3)
    assert batches(archive, 20.0)["capture"][1] == [3]
    stored(archive, "capture", 5)
    log.append(8, 1, 0, EventKind.LOST, LOST_STRUCT, 8, 2)
    last = batches(archive, 30.0)["capture"]
    assert (last[1], last[0].final) == ([8], True)
    assert not archive.is_handed_over(1)
    stored(archive, "capture", 6)
    stored(archive, "stream", 2)
    batches(archive, 40.0)
    stored(archive, "stream", 2)
    assert archive.is_handed_over(1)
    assert batches(archive, 99.0) == {}


def test_a_stream_log_is_final_only_when_the_worker_is_done(tmp_path):
    paths = NodePaths(tmp_path, tmp_path)
    paths.make()
    log = RingWriter(paths.log("cam0", "stream"), 64)
    log.append(1, 1, 0, EventKind.LOST, LOST_STRUCT, 1, 3)
    archive = Archive("node0", ["cam0"], paths)
    archive.add(1)
    assert not batches(archive, 0.0)["stream"][0].final
    stored(archive, "stream", 2)
    assert "stream" not in batches(archive, 10.0)
    log.append(2, 1, 0, EventKind.STATE, STATE_STRUCT, AgentState.DRAINING, 2)
    assert batches(archive, 20.0)["stream"][0].final


def test_what_was_delivered_is_told_to_a_restarted_server(owing):
    archive, _ = owing
    archive.on_drained(Drained("cam0", 1, 60, 59))
    assert archive.is_drained(1)
    assert [message.last_slot for message in archive.drained_messages()] == [59]
    archive.forget(1)
    assert archive.drained_messages() == []


def test_the_end_of_capture_frees_the_agent_for_the_next_session(make_keeper):
    keeper = make_keeper()
    send(keeper, start_of(1))
    keeper.on_capture_report(status(1))
    keeper.on_capture_report(CaptureDone(1, 59))
    assert keeper.state is AgentState.DRAINING
    send(keeper, start_of(2))
    assert keeper.session == 2
    keeper.forget(1)
    assert [order.start.session for order in keeper.unsealed_orders()] == [2]
