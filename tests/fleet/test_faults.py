"""Whatever a rig lives through, with the closing audit of each: `make test-fleet-faults`.

Every test records a session in which something breaks. What the nodes could keep must not be
missing; what they could not is accounted slot by slot; the other cameras notice nothing.
"""

import time
from collections.abc import Callable

import pytest

from capture_protocol import SessionFolder
from control_server.audit import AuditResult
from control_server.audit.result import CameraResult
from deploy.fleet import SERVER
from tests.fleet.lab import Lab

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]

VICTIM, VICTIMS_CAMERA = "node1", "cam1"
CAMERAS = ("cam0", "cam1", "cam2")
BEGIN_SLOT = 150
"""Five seconds into the session all is well: then something breaks."""
RATE = 30
AGENT = "edge-agent.service"
Fault = Callable[[SessionFolder], float]
"""Breaks and mends something; returns the time from the mend to normal (s)."""


def record(lab: Lab, seconds: int, fault: Fault, absent: str = "") -> AuditResult:
    """A session with a fault in it, and what its audit says; a camera may be absent at first."""
    folder = lab.start_without(seconds, absent) if absent else lab.start(seconds)
    lab.wait_for_slot(folder, BEGIN_SLOT)
    recovery_s = fault(folder)
    lab.wait_for_slot(folder, folder.read_plan().frames or 0)
    lab.wait_sealed(folder)
    result = lab.audit(folder, deep=True)
    print(f"\nsession {result.session}: normal again after {recovery_s:.1f} s; {result.sentence}")
    for camera in result.cameras:
        print(
            f"  {camera.name}: {camera.delivered} of {camera.slots} slots in {camera.parts} parts, "
            f"missing {camera.missing.total} ({camera.missing})"
        )
    assert_proven(result)
    return result


def assert_proven(result: AuditResult) -> None:
    """Every slot of every camera is there, or it is known where it was lost."""
    verdicts = {check.name: str(check.verdict) for check in result.checks}
    for name in ("account", "loss_places", "video"):
        assert verdicts[name] == "pass", result.check(name).sentence
    for camera in result.cameras:
        assert camera.delivered + camera.missing.total == camera.slots
        assert camera.missing.unknown == 0


def assert_whole(result: AuditResult, *cameras: str) -> None:
    """These cameras lost nothing."""
    for camera in result.cameras:
        if camera.name in cameras:
            assert camera.missing.total == 0, f"{camera.name} lost {camera.missing}"


def assert_undisturbed(result: AuditResult, *victims: str) -> None:
    """All other cameras delivered everything, over one connection."""
    others = [camera for camera in result.cameras if camera.name not in victims]
    assert_whole(result, *(camera.name for camera in others))
    assert {camera.name: camera.parts for camera in others} == {camera.name: 1 for camera in others}


@pytest.mark.parametrize("outage_s", [10, 60])
def test_a_pulled_cable_loses_nothing(lab: Lab, outage_s: int) -> None:
    def pull(folder: SessionFolder) -> float:
        lab.fleet.pull_cable(VICTIM)
        lab.wait_for_slot(folder, BEGIN_SLOT + outage_s * RATE)
        lab.fleet.plug_cable(VICTIM)
        return lab.wait_live(VICTIMS_CAMERA)

    result = record(lab, outage_s + 25, pull)
    assert_whole(result, *CAMERAS)
    assert_undisturbed(result, VICTIMS_CAMERA)


def test_a_node_that_reboots_comes_back_into_the_session(lab: Lab) -> None:
    def reboot(_: SessionFolder) -> float:
        begun = time.monotonic()
        lab.fleet.machine(VICTIM).reboot()
        lab.wait_live(VICTIMS_CAMERA)
        return time.monotonic() - begun

    result = record(lab, 60, reboot)
    assert_undisturbed(result, VICTIMS_CAMERA)
    assert 0 < camera(result, VICTIMS_CAMERA).missing.total < 40 * RATE


def test_a_server_that_reboots_loses_nothing(lab: Lab) -> None:
    def reboot(_: SessionFolder) -> float:
        begun = time.monotonic()
        lab.fleet.machine(SERVER).reboot()
        lab.wait_live(*CAMERAS)
        return time.monotonic() - begun

    assert_whole(record(lab, 60, reboot), *CAMERAS)


def test_without_its_grandmaster_the_rig_holds_over(lab: Lab) -> None:
    def stop_clock(folder: SessionFolder) -> float:
        machine = lab.fleet.machine(SERVER)
        machine.run("systemctl", "stop", "ptp4l@host0.service")
        lab.wait_for_slot(folder, BEGIN_SLOT + 20 * RATE)
        machine.run("systemctl", "start", "ptp4l@host0.service")
        begun = time.monotonic()
        lab.wait("no clock has a problem", lambda: not clock_problems(lab))
        return time.monotonic() - begun

    result = record(lab, 60, stop_clock)
    assert_whole(result, *CAMERAS)
    assert_undisturbed(result)
    assert all(camera.clock.holdover > 0 for camera in result.cameras)


def test_a_killed_segmenter_loses_nothing(lab: Lab) -> None:
    def kill(_: SessionFolder) -> float:
        port = lab.place.config.server.stream_port + CAMERAS.index(VICTIMS_CAMERA)
        units = f"segmenter@*:{port}-*.service"
        lab.fleet.machine(SERVER).run("systemctl", "kill", "--signal=KILL", units)
        return lab.wait_live(VICTIMS_CAMERA)

    result = record(lab, 30, kill)
    assert_whole(result, *CAMERAS)
    assert_undisturbed(result, VICTIMS_CAMERA)
    assert camera(result, VICTIMS_CAMERA).parts == 2


def test_a_killed_agent_rejoins(lab: Lab) -> None:
    def kill(_: SessionFolder) -> float:
        lab.fleet.machine(VICTIM).run("systemctl", "kill", "--signal=KILL", AGENT)
        return lab.wait_live(VICTIMS_CAMERA)

    result = record(lab, 30, kill)
    assert_undisturbed(result, VICTIMS_CAMERA)
    assert 0 < camera(result, VICTIMS_CAMERA).missing.total < 8 * RATE


def test_a_node_with_a_full_disk_says_so_and_recovers(lab: Lab) -> None:
    machine = lab.fleet.machine(VICTIM)
    state, filler = "/var/lib/edge-agent", "/var/lib/edge-agent/filler"
    machine.run("systemctl", "stop", AGENT)
    machine.run("mount", "-t", "tmpfs", "-o", "size=96m,mode=0750,uid=tutti,gid=tutti", "x", state)
    try:
        machine.run("systemctl", "start", AGENT)
        lab.wait_ready()

        def fill(folder: SessionFolder) -> float:
            machine.run("sh", "-c", f"cat /dev/zero > {filler} || true")
            lab.wait_for_slot(folder, BEGIN_SLOT + 10 * RATE)
            machine.run("rm", filler)
            return lab.wait_live(VICTIMS_CAMERA)

        result = record(lab, 40, fill)
    finally:
        machine.run("systemctl", "stop", AGENT)
        machine.run("umount", state)
        machine.run("systemctl", "start", AGENT)
    assert_undisturbed(result, VICTIMS_CAMERA)
    print(f"  its agent: {machine.run('journalctl', '-u', AGENT, '-n', '5', '-o', 'cat').stdout}")


def test_a_node_that_comes_late_joins_on_the_grid(lab: Lab) -> None:
    machine = lab.fleet.machine(VICTIM)
    machine.run("systemctl", "stop", AGENT)
    lab.wait("the node is missed", lambda: lab.manager("preflight").returncode != 0)

    def join(_: SessionFolder) -> float:
        machine.run("systemctl", "start", AGENT)
        return lab.wait_live(VICTIMS_CAMERA)

    try:
        result = record(lab, 30, join, absent=VICTIMS_CAMERA)
    finally:
        machine.run("systemctl", "start", AGENT)
    assert_undisturbed(result, VICTIMS_CAMERA)
    late = camera(result, VICTIMS_CAMERA)
    assert BEGIN_SLOT <= late.missing.agent <= late.missing.total < BEGIN_SLOT + 15 * RATE


def test_a_node_with_another_rigs_key_is_named_and_kept_out(lab: Lab) -> None:
    machine, key = lab.fleet.machine(VICTIM), "/etc/tutti/rig.key"
    machine.run("cp", "--preserve=all", key, f"{key}.right")
    try:
        machine.run("sh", "-c", f"tr 0123456789abcdef 123456789abcdef0 < {key}.right > {key}")
        machine.run("systemctl", "restart", AGENT)
        lab.wait_ready()  # its own key is right: it is heard, and obeys no START

        def mend(_: SessionFolder) -> float:
            refused = lab.ask("status")["refused_datagrams"]
            print(f"\nrefused datagrams: {refused}")
            assert refused["forged"] > 0
            machine.run("mv", f"{key}.right", key)
            machine.run("systemctl", "restart", AGENT)
            return lab.wait_live(VICTIMS_CAMERA)

        result = record(lab, 40, mend, absent=VICTIMS_CAMERA)
    finally:
        machine.run("sh", "-c", f"test ! -e {key}.right || mv {key}.right {key}")
        machine.run("systemctl", "restart", AGENT)
    assert_undisturbed(result, VICTIMS_CAMERA)
    assert camera(result, VICTIMS_CAMERA).missing.agent >= BEGIN_SLOT


def test_a_node_whose_own_key_is_wrong_is_not_heard(lab: Lab) -> None:
    machine, key = lab.fleet.machine(VICTIM), "/etc/tutti/node.secret"
    machine.run("cp", "--preserve=all", key, f"{key}.right")
    try:
        machine.run("sh", "-c", f"tr a-zA-Z n-za-mN-ZA-M < {key}.right > {key}")
        machine.run("systemctl", "restart", "--no-block", AGENT)
        lab.wait("it is not heard", lambda: lab.manager("preflight").returncode != 0)
        refused = lab.manager("start", "--frames", "30")
        print(f"\nstart without it: {refused.stderr.strip()}")
        assert refused.returncode == 3
        assert VICTIM in refused.stderr
    finally:
        machine.run("mv", f"{key}.right", key)
        machine.run("systemctl", "restart", AGENT)
    print(f"\nheard again after {lab.wait_ready():.1f} s")


def test_two_faults_at_once(lab: Lab) -> None:
    def break_two(folder: SessionFolder) -> float:
        lab.fleet.pull_cable("node0")
        lab.fleet.machine(VICTIM).run("systemctl", "kill", "--signal=KILL", AGENT)
        lab.wait_for_slot(folder, BEGIN_SLOT + 10 * RATE)
        lab.fleet.plug_cable("node0")
        return lab.wait_live("cam0", VICTIMS_CAMERA)

    result = record(lab, 40, break_two)
    assert_whole(result, "cam0")
    assert_undisturbed(result, "cam0", VICTIMS_CAMERA)


def test_two_rigs_on_one_network_do_not_meet(lab: Lab) -> None:
    with Lab("other", 1, beside=lab, domain=7) as other:
        run = other.playbook("site.yml")
        assert run.returncode == 0, run.text[-3000:]
        other.wait_ready()
        ours, theirs = lab.start(40), other.start(20)
        for rig, folder in ((other, theirs), (lab, ours)):
            rig.wait_for_slot(folder, folder.read_plan().frames or 0)
            rig.wait_sealed(folder)
            result = rig.audit(folder, deep=True)
            print(f"\n{result.rig}: {result.sentence}")
            assert result.verdict == "pass", result.sentence
            assert all(camera.parts == 1 for camera in result.cameras)
        print(f"refused datagrams: {lab.ask('status')['refused_datagrams']}")
        assert masters(other) == {clock_of(other, SERVER)}
        assert masters(lab) == {clock_of(lab, SERVER)}
        assert masters(lab).isdisjoint(masters(other))


def masters(lab: Lab) -> set[str]:
    """Identities of the clocks that the nodes follow."""
    found = set()
    for name in set(lab.fleet.addresses()) - {SERVER}:
        found.add(ptp_data(lab, name, "PARENT_DATA_SET", "grandmasterIdentity"))
    return found


def clock_of(lab: Lab, name: str) -> str:
    """Identity of a machine's own clock."""
    return ptp_data(lab, name, "DEFAULT_DATA_SET", "clockIdentity")


def ptp_data(lab: Lab, name: str, data_set: str, field: str) -> str:
    """What a machine's ptp4l says."""
    domain = str(lab.place.config.node[0].ptp.domain)
    command = ["pmc", "-u", "-b", "0", "-d", domain, f"GET {data_set}"]
    words = lab.fleet.machine(name).run(*command).stdout.split()
    return words[words.index(field) + 1]


def camera(result: AuditResult, name: str) -> CameraResult:
    """One camera's result."""
    return next(camera for camera in result.cameras if camera.name == name)


def clock_problems(lab: Lab) -> list[str]:
    """What the nodes say is wrong with their clocks."""
    return [node["clock_problem"] for node in lab.ask("status")["nodes"] if node["clock_problem"]]
