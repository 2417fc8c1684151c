"""The shipped units under real systemd, as user tutti, with stock ptp4l: `make test-systemd`."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capture_protocol import SessionFolder
from control_server.audit import run_audit
from deploy.fleet import lacking
from tests.system.unit_rig import INTERFACE, ROOT, UnitRig, journal, lacking_python, shown

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]

CAP_SYS_RESOURCE = 24
PTP4L = f"ptp4l@{INTERFACE}.service"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UnitRig]:
    if os.environ.get("TUTTI_TEST_SYSTEMD") != "1":
        pytest.skip("run by `make test-systemd` (root; three minutes)")
    pytest.importorskip(
        "systemd.daemon", reason="systemd-python is missing: pip install .[systemd]"
    )
    if reason := lacking(fleet=False) or lacking_python():
        pytest.skip(reason)
    with UnitRig(tmp_path_factory.mktemp("units")) as rig:
        rig.wait_for("the clock settled and the camera in lock", rig.locked)
        yield rig


def check_unit() -> str:
    """The agent's unit, but it runs `edge-agent check`: same user, rights and sandbox."""
    text = (ROOT / "systemd/edge-agent.service").read_text()
    for shipped, changed in (
        ("Type=notify\n", "Type=oneshot\n"),
        ("edge-agent run --config /etc/tutti/node.toml", "edge-agent check --json"),
        ("RuntimeDirectory=edge-agent\n", "RuntimeDirectory=edge-agent-check\n"),
        ("Restart=always\n", ""),
        ("WatchdogSec=5\n", "WorkingDirectory=/etc/tutti\n"),
    ):
        assert shipped in text
        text = text.replace(shipped, changed)
    return text


def may_raise_limits() -> bool:
    """Whether root here has CAP_SYS_RESOURCE: without, no systemd can give LimitRTPRIO."""
    (line,) = re.findall(r"CapBnd:\t(\w+)", Path("/proc/self/status").read_text())
    return bool(int(line, 16) >> CAP_SYS_RESOURCE & 1)


def test_everything_is_ok_for_user_tutti_in_the_agents_sandbox(rig: UnitRig) -> None:
    unit = "edge-agent-check.service"
    (rig.node.root / "etc/systemd/system" / unit).write_text(check_unit())
    rig.node.run("systemctl", "daemon-reload")
    rig.node.run("systemctl", "start", unit, check=False)
    said = [line for line in journal(rig.node, unit) if line[:1] in "[]{} "]
    points = {line["point"]: line for line in json.loads("\n".join(said))}
    for name, line in points.items():
        print(f"{line['verdict']:8}{name}: {line['text']}")
    assert {"clock: port state", "clock: CLOCK_REALTIME", "clock: stamping"} <= set(points)
    assert {"rights", "server", "stream cam0", "camera cam0", "disk"} <= set(points)
    missing = set() if may_raise_limits() else {"rights"}
    assert {name for name, line in points.items() if line["verdict"] != "ok"} == missing
    assert shown(rig.node, unit, "User", "Result") == {"User": "tutti", "Result": "success"}


def test_the_agent_itself_runs_as_tutti_and_sees_the_same(rig: UnitRig) -> None:
    seen = shown(rig.node, "edge-agent.service", "User", "ActiveState", "MainPID", "NRestarts")
    pid = seen.pop("MainPID")
    assert seen == {"User": "tutti", "ActiveState": "active", "NRestarts": "0"}
    assert rig.node.run("ps", "-o", "user=", "-p", pid).stdout.strip() == "tutti"
    (status,) = rig.manager("status")["nodes"]
    assert status["release_mode"] == ("spin+fifo50+mlock" if may_raise_limits() else "spin")


def test_ptp4l_has_its_priority_and_comes_back(rig: UnitRig) -> None:
    pid = shown(rig.node, PTP4L, "MainPID")["MainPID"]
    policy = rig.node.run("chrt", "-p", pid).stdout
    assert "SCHED_FIFO" in policy
    assert "priority: 40" in policy
    listed = rig.node.run("stat", "-c", "%U:%G %a", "/run/ptp4l").stdout.strip()
    assert listed == "root:tutti 660"
    rig.node.run("systemctl", "kill", "--signal=KILL", PTP4L)
    rig.wait_for("ptp4l again", lambda: shown(rig.node, PTP4L, "NRestarts")["NRestarts"] == "1")
    rig.wait_for("the clock settled again", rig.locked)


def test_boots_wait_for_the_clock_but_not_for_ever(rig: UnitRig) -> None:
    unit = "tutti-clock.service"
    names = ("ExecMainStatus", "ActiveState", "Result")
    for machine, status in ((rig.node, "0"), (rig.server, "1")):
        seen = shown(machine, unit, *names)
        print(machine.plan.name, journal(machine, unit))
        assert seen == {"ExecMainStatus": status, "ActiveState": "active", "Result": "success"}
    assert "CLOCK_REALTIME is disciplined" in journal(rig.node, unit)
    assert "CLOCK_REALTIME is not disciplined after 20 s" in journal(rig.server, unit)


def test_preflight_has_a_row_for_every_point_of_every_machine(rig: UnitRig) -> None:
    def green() -> Any:
        """Another test has just ended ptp4l."""
        found = rig.manager("preflight")
        return found["ok"] and found

    preflight = rig.wait_for("the preflight is green", green)
    rows = {(row["where"], row["point"]): row for row in preflight["checks"]}
    for (where, point), row in rows.items():
        print(f"{where:8}{row['verdict']:8}{point}: {row['detail']}")
    node = rig.place.config.node[0].name
    assert rows["server", "clock: port state"]["verdict"] == "ok"
    assert rows["server", "clock: CLOCK_REALTIME"]["verdict"] == "warning"  # no NTP in here
    assert rows["server", "clock: CLOCK_REALTIME"]["hint"]
    chain = [row["verdict"] for (where, point), row in rows.items() if where == node]
    assert len(chain) >= 9
    assert set(chain) == {"ok"}


def test_the_preflights_timer_tells_the_journal_but_not_in_a_session(rig: UnitRig) -> None:
    unit = "tutti-preflight.service"
    rig.server.run("systemctl", "start", "tutti-preflight.timer")
    rig.server.run("systemctl", "start", unit)
    lines = journal(rig.server, unit)
    print("\n".join(lines))
    assert lines[-1].endswith("0 failed: a session can start")
    assert any(line.startswith("server clock: CLOCK_REALTIME: runs free") for line in lines)
    rig.wait_for("the camera in lock", rig.locked)
    folder = record(rig, 240, during=lambda: rig.server.run("systemctl", "start", unit))
    assert journal(rig.server, unit) == lines
    result = run_audit(folder, deep=True).result
    (camera,) = result.cameras
    print(f"{camera.delivered} of 240 frames; missing: {camera.missing}")
    for check in result.checks:
        print(f"{check.verdict:8}{check.name}: {check.sentence}")
    verdicts = {check.name: str(check.verdict) for check in result.checks}
    wanted = ("account", "loss_places", "video", "clock_discipline", "clock_steps")
    assert [verdicts[name] for name in wanted] == ["pass"] * len(wanted)
    assert camera.delivered + camera.missing.total == 240
    assert camera.missing.unknown == 0
    assert camera.clock.sources == ["ptp_software"]


def record(rig: UnitRig, frames: int, during: object) -> SessionFolder:
    started = rig.manager("start", "--frames", str(frames))
    assert "folder" in started, started
    folder = SessionFolder(rig.server.root / str(started["folder"]).lstrip("/"))
    assert callable(during)
    during()
    rig.wait_for("the session is sealed", folder.read_manifest)
    return folder


def test_a_manager_that_hangs_is_restarted(rig: UnitRig) -> None:
    unit = "tutti-manager.service"
    folder = rig.server.root / "etc/systemd/system" / f"{unit}.d"
    folder.mkdir()
    (folder / "hasty.conf").write_text("[Service]\nWatchdogSec=3\n")
    rig.server.run("systemctl", "daemon-reload")
    rig.server.run("systemctl", "restart", unit)
    before = shown(rig.server, unit, "MainPID", "StatusText", "NRestarts")
    assert before["StatusText"] == "no session runs"
    rig.server.run("systemctl", "kill", "--kill-whom=main", f"--signal={signal.SIGSTOP}", unit)
    rig.wait_for(
        "the manager again",
        lambda: int(shown(rig.server, unit, "NRestarts")["NRestarts"]) > int(before["NRestarts"]),
    )
    rig.wait_for(
        "it serves", lambda: shown(rig.server, unit, "ActiveState")["ActiveState"] == "active"
    )
    assert shown(rig.server, unit, "MainPID")["MainPID"] != before["MainPID"]
    assert rig.manager("status")["rig"] == "units"


def test_phc2sys_in_its_sandbox_says_what_is_missing(rig: UnitRig) -> None:
    """No card here has a clock; what can be seen is that nothing in the sandbox kills it."""
    options = ("--role", "follower", "--stamping", "hardware", "--interface", INTERFACE)
    text = rig.node.run(
        "/opt/tutti/.venv/bin/edge-agent", "clock-config", *options, "--phc2sys"
    ).stdout
    (rig.node.root / "etc/default/phc2sys").write_text(text)
    unit = f"phc2sys@{INTERFACE}.service"
    rig.node.run("systemctl", "start", unit, check=False)
    rig.wait_for(
        "phc2sys has tried", lambda: shown(rig.node, unit, "NRestarts")["NRestarts"] != "0"
    )
    rig.node.run("systemctl", "stop", unit)
    said = journal(rig.node, unit)
    print(said[:2])
    assert any("PHC" in line or "clock" in line for line in said)
    assert not any("SIGSYS" in line or "seccomp" in line.lower() for line in said)


def test_nothing_was_killed_for_a_forbidden_call(rig: UnitRig) -> None:
    for machine in (rig.server, rig.node):
        said = machine.run("journalctl", "--no-pager", "-o", "cat", "-p", "warning").stdout
        assert "status=31/SYS" not in said
