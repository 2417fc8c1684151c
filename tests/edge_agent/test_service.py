"""The agent as a service: what is told to systemd, and when the watchdog is fed."""

import logging
import os
import socket
import sys
from types import SimpleNamespace

import pytest

from capture_protocol import AgentState
from edge_agent.agent.health import NodeHealth
from edge_agent.agent.service_report import ServiceReport
from edge_agent.process import CameraStatus, CaptureStatus
from edge_agent.service import FrameProgress, fields, log_to_journal, service_manager


@pytest.fixture
def notified(tmp_path, monkeypatch):
    """A service manager's socket, and what has come to it."""
    pytest.importorskip(
        "systemd.daemon",
        reason="sudo apt-get install -y libsystemd-dev pkg-config, then make setup",
    )
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield lambda: listener.recv(4096).decode()


def test_everything_is_told_to_the_service_manager(notified, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "5000000")
    manager = service_manager()
    manager.ready()
    manager.status("recording")
    manager.alive()
    manager.stopping()
    assert [notified() for _ in range(4)] == [
        "READY=1",
        "STATUS=recording",
        "WATCHDOG=1",
        "STOPPING=1",
    ]
    assert manager.watchdog_s == 5.0


def test_the_watchdog_is_not_fed_before_all_cameras_are_open(notified, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "5000000")
    keeper = SimpleNamespace(session=0, state=AgentState.IDLE)
    report = ServiceReport(1, keeper, NodeHealth())
    report.tell(0.0)
    report.take(status(session=0), 1.0)
    report.tell(1.0)
    assert [notified() for _ in range(4)] == [
        "STATUS=idle, 1 cameras",
        "READY=1",
        "STATUS=idle, 1 cameras",
        "WATCHDOG=1",
    ]


def test_a_watchdog_of_another_process_is_not_ours(notified, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "5000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    assert service_manager().watchdog_s == 0.0


def test_without_systemd_nothing_is_told():
    manager = service_manager({})
    manager.ready()
    manager.alive()
    assert manager.watchdog_s == 0.0


def test_without_the_package_the_log_says_what_is_missing(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "systemd", None)
    manager = service_manager({"NOTIFY_SOCKET": "/run/nobody", "WATCHDOG_USEC": "5000000"})
    manager.ready()
    assert manager.watchdog_s == 0.0
    assert "systemd-python is missing" in caplog.text


def test_fields_are_upper_case_strings_and_absent_where_unknown():
    assert fields() == {"extra": {}}
    assert fields(session=3, camera="cam0", slot=0, offset_ns=-5)["extra"] == {
        "TUTTI_SESSION": "3",
        "TUTTI_CAMERA": "cam0",
        "TUTTI_SLOT": "0",
        "TUTTI_OFFSET_NS": "-5",
    }


def test_fields_do_not_disturb_an_ordinary_log(caplog):
    with caplog.at_level(logging.INFO):
        logging.getLogger("edge_agent").info("armed", **fields(session=7))
    assert (caplog.messages, caplog.records[0].TUTTI_SESSION) == (["armed"], "7")


def test_a_terminal_is_no_journal(monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    assert not log_to_journal()


def status(captured=None, session=1):
    """A report of the capture process: frames by camera."""
    cameras = {name: CameraStatus(captured=count) for name, count in (captured or {}).items()}
    return CaptureStatus(
        session=session,
        capturing=session > 0,
        next_slot=0,
        release_mode="",
        clock_width_ns=0,
        clock_stepped=False,
        cameras=cameras,
    )


def run(reports):
    """What stands still after the last of these (time, report)."""
    progress = FrameProgress(stall_s=3.0)
    for now_s, report in reports:
        progress.take(report, now_s)
    return progress.standing_still(now_s)


def test_frames_that_advance_are_well():
    assert run([(s, status({"a": 30 * s, "b": 30 * s})) for s in range(20)]) == ""


def test_a_camera_that_stops_is_named_after_the_stall():
    reports = [(s, status({"a": 30 * s, "b": min(30 * s, 150)})) for s in range(20)]
    assert [run(reports[:end]) for end in (8, 9, 10)] == ["", "", "no frames from b"]


def test_a_camera_that_never_came_does_not_take_the_others_down():
    assert run([(s, status({"a": 30 * s, "b": 0})) for s in range(20)]) == ""


def test_a_session_without_any_frame_stands_still():
    assert run([(s, status({"a": 0})) for s in range(20)]) == "no frames from any camera"


def test_an_idle_node_needs_reports_only():
    assert run([(s, status({"a": 5}, session=0)) for s in range(20)]) == ""
    progress = FrameProgress(stall_s=3.0)
    assert progress.standing_still(100.0) == ""  # it has not even begun
    progress.take(status(session=0), 100.0)
    assert progress.standing_still(104.0) == "the capture process does not report"


def test_a_new_session_gives_cameras_their_time_again():
    before = [(s, status({"a": 30 * s})) for s in range(10)]
    idle = [(s, status({"a": 270}, session=0)) for s in range(10, 60)]
    after = [(60, status({"a": 0}, session=2)), (62, status({"a": 0}, session=2))]
    assert run([*before, *idle, *after]) == ""
    assert run([*before, *idle, *after, (64, status({"a": 0}, session=2))]) == "no frames from a"
