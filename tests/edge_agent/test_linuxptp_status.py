"""From evidence to verdict: who disciplines CLOCK_REALTIME, and what to do where it fails."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture_protocol.errors import EnvironmentLackError, InputError, TuttiError
from capture_protocol.events import ClockSource
from edge_agent.clock.watch import ClockWatch
from edge_agent.linuxptp import (
    ClockEvidence,
    ClockUncertainty,
    Daemon,
    Driver,
    PortState,
    PtpSetup,
    Response,
    Role,
    Stamping,
    Timestamping,
    Verdict,
    derive_status,
    find_daemons,
    judge,
    parse_log_line,
    parse_pmc,
    phc2sys_arguments,
    phc2sys_environment,
    ptp4l_config,
    query_pmc,
    read_processes,
)
from tests.support.agent_peer import wait_until

RECORDED = Path(__file__).parents[3] / "shared" / "fixtures" / "linuxptp"
GM, NODE = "2654a2.fffe.da20e0", "52ad01.fffe.c78f89"
HARDWARE = Timestamping(
    "eth0",
    frozenset({"hardware-transmit", "hardware-receive", "hardware-raw-clock"}),
    0,
    frozenset(),
    frozenset(),
)
SOFTWARE = Timestamping(
    "eth0", frozenset({"software-transmit", "software-receive"}), None, frozenset(), frozenset()
)
NTP = Daemon("systemd-timesyncd")
PTP4L = Daemon("ptp4l", ("-f", "/etc/linuxptp/ptp4l.conf", "-i", "eth0"))
PHC2SYS = Daemon("phc2sys", ("-w", "-s", "eth0"))
NOW_NS = 2_582_000_000_000
LOCKED = parse_log_line(
    "phc2sys[2581.394]: CLOCK_REALTIME phc offset        25 s2 freq  +24963 delay    280"
)

deterministic = settings(derandomize=True, deadline=None)


def answers(state="SLAVE", stamping="SOFTWARE", offset_ns=-841):
    """What the local ptp4l answers."""
    master = state == "MASTER"
    return (
        Response(
            f"{NODE}-0",
            "TIME_STATUS_NP",
            {
                "master_offset": str(offset_ns),
                "ingress_time": "1795245345471051622",
                "gmPresent": "false" if master else "true",
                "gmIdentity": GM,
            },
        ),
        Response(
            f"{NODE}-1",
            "PORT_DATA_SET",
            {
                "portIdentity": f"{NODE}-1",
                "portState": state,
                "logSyncInterval": "-3",
                "logAnnounceInterval": "0",
                "announceReceiptTimeout": "3",
            },
        ),
        Response(
            f"{NODE}-1",
            "PORT_PROPERTIES_NP",
            {
                "timestamping": stamping,
                "interface": "eth0",
            },
        ),
        Response(
            f"{NODE}-0",
            "CURRENT_DATA_SET",
            {
                "stepsRemoved": "0" if master else "1",
                "offsetFromMaster": str(float(offset_ns)),
                "meanPathDelay": "16031.0",
            },
        ),
    )


def software(**changes):
    evidence = ClockEvidence(
        answers(), SOFTWARE, phcs=(), daemons=(PTP4L,), now_monotonic_ns=NOW_NS
    )
    return dataclasses.replace(evidence, **changes)


def hardware(**changes):
    evidence = ClockEvidence(
        answers(stamping="HARDWARE"),
        HARDWARE,
        phcs=(0,),
        daemons=(PTP4L, PHC2SYS),
        phc2sys=LOCKED,
        now_monotonic_ns=NOW_NS,
    )
    return dataclasses.replace(evidence, **changes)


def failed(evidence, role=Role.FOLLOWER):
    """Points that are not ok, with their mends."""
    findings = judge(evidence, derive_status(evidence), role)
    return {
        finding.point: (finding.verdict, finding.mend)
        for finding in findings
        if finding.verdict is not Verdict.OK
    }


def test_a_follower_with_software_stamps():
    status = derive_status(software())
    assert status.source is ClockSource.PTP_SOFTWARE
    assert status.driver is Driver.PTP4L
    assert status.disciplined
    assert (status.offset_ns, status.path_delay_ns, status.steps_removed) == (-841, 16031, 1)
    assert status.grandmaster == GM
    assert failed(software()) == {}


def test_a_follower_with_hardware_stamps_adds_up_both_servos():
    status = derive_status(hardware())
    assert status.source is ClockSource.PTP_HARDWARE
    assert status.disciplined
    assert status.offset_ns == -841 + 25
    assert status.phc2sys_age_ns == 606_000_000
    assert failed(hardware()) == {}


def test_slave_without_phc2sys_is_not_disciplined_though_ptp4l_says_slave():
    evidence = hardware(daemons=(PTP4L, NTP), phc2sys=None)
    status = derive_status(evidence)
    assert (status.source, status.disciplined) == (ClockSource.NTP, False)
    verdict, mend = failed(evidence)["CLOCK_REALTIME"]
    assert verdict is Verdict.FAILED
    assert "start phc2sys" in mend
    assert derive_status(hardware(daemons=(PTP4L,), phc2sys=None)).driver is Driver.NONE


@pytest.mark.parametrize(
    ("evidence", "mend"),
    [
        (hardware(daemons=(PTP4L, PHC2SYS, NTP)), "disable --now systemd-timesyncd"),
        (software(daemons=(PTP4L, PHC2SYS)), "keep ptp4l alone"),
        (software(daemons=(PTP4L, Daemon("chronyd", ("-F", "1")))), "keep ptp4l alone"),
    ],
)
def test_two_that_steer_one_clock_fail(evidence, mend):
    status = derive_status(evidence)
    assert status.driver is Driver.SEVERAL
    assert not status.disciplined
    assert mend in failed(evidence)["CLOCK_REALTIME"][1]


def test_chrony_that_only_serves_time_does_not_count():
    assert failed(software(daemons=(PTP4L, Daemon("chronyd", ("-x",))))) == {}


@pytest.mark.parametrize(
    ("state", "mend"),
    [
        ("UNCALIBRATED", "free_running"),
        ("LISTENING", "no master is heard"),
        ("FAULTY", "journalctl"),
        ("PASSIVE", "two masters"),
        ("MASTER", "slaveOnly"),
        ("INITIALIZING", "wait"),
    ],
)
def test_every_port_state_but_slave_fails_with_its_mend(state, mend):
    evidence = software(responses=answers(state))
    assert mend in failed(evidence)["port state"][1]
    if state != "MASTER":
        assert not derive_status(evidence).disciplined


def test_a_grandmaster_on_ntp_is_fine_and_without_it_is_warned():
    evidence = software(responses=answers("MASTER"), daemons=(PTP4L, NTP), ntp_synchronised=True)
    status = derive_status(evidence)
    assert (status.source, status.disciplined) == (ClockSource.GRANDMASTER, True)
    assert failed(evidence, Role.GRANDMASTER) == {}
    for synchronised, said in ((False, "has reached no server"), (None, "nobody tells")):
        doubtful = dataclasses.replace(evidence, ntp_synchronised=synchronised)
        verdict, *_ = failed(doubtful, Role.GRANDMASTER)["CLOCK_REALTIME"]
        assert verdict is Verdict.WARNING
        assert said in next(
            finding.text
            for finding in judge(doubtful, derive_status(doubtful), Role.GRANDMASTER)
            if finding.point == "CLOCK_REALTIME"
        )
    alone = software(responses=answers("MASTER"))
    assert failed(alone, Role.GRANDMASTER)["CLOCK_REALTIME"][0] is Verdict.WARNING
    slave = failed(software(), Role.GRANDMASTER)
    assert "masterOnly" in slave["port state"][1]


def test_a_grandmaster_with_hardware_stamps_feeds_its_card_from_the_clock():
    towards = Daemon("phc2sys", ("-w", "-s", "CLOCK_REALTIME", "-c", "eth0"))
    evidence = hardware(
        responses=answers("MASTER", "HARDWARE"),
        daemons=(PTP4L, towards, NTP),
        phc2sys=None,
        ntp_synchronised=True,
    )
    assert failed(evidence, Role.GRANDMASTER) == {}
    for feeder in (("-a", "-rr"), ("-arr",), ("-w", "-s", "CLOCK_REALTIME", "-c", "/dev/ptp0")):
        fed = dataclasses.replace(evidence, daemons=(PTP4L, Daemon("phc2sys", feeder), NTP))
        assert "card's clock" not in failed(fed, Role.GRANDMASTER)
    alone = dataclasses.replace(evidence, daemons=(PTP4L, NTP))
    assert failed(alone, Role.GRANDMASTER).keys() == {"card's clock"}
    other = dataclasses.replace(towards, arguments=("-w", "-s", "CLOCK_REALTIME", "-c", "eth1"))
    elsewhere = dataclasses.replace(evidence, daemons=(PTP4L, other, NTP))
    assert failed(elsewhere, Role.GRANDMASTER).keys() == {"card's clock"}
    back = dataclasses.replace(evidence, daemons=(PTP4L, PHC2SYS))
    assert "not back" in failed(back, Role.GRANDMASTER)["CLOCK_REALTIME"][1]


def test_phc2sys_must_read_the_clock_that_ptp4l_disciplines():
    wrong = Daemon("phc2sys", ("-s", "/dev/ptp0", "-w"))
    second = dataclasses.replace(HARDWARE, phc=1)
    evidence = hardware(timestamping=second, phcs=(0, 1), daemons=(PTP4L, wrong))
    assert "phc2sys -s eth0" in failed(evidence)["hardware clocks"][1]
    assert "hardware clocks" not in failed(hardware(phcs=(0, 1)))


def test_a_silent_or_unlocked_phc2sys_fails():
    later = hardware(now_monotonic_ns=NOW_NS + 60_000_000_000)
    assert "restart" in failed(later)["phc2sys"][1]
    unread = hardware(phc2sys=None)
    assert failed(unread)["phc2sys"][0] is Verdict.WARNING
    gathering = parse_log_line(
        "phc2sys[2581.394]: CLOCK_REALTIME phc offset   1506842 s0 freq      +0 delay    270"
    )
    assert (
        "not locked"
        in judge(
            hardware(phc2sys=gathering), derive_status(hardware(phc2sys=gathering)), Role.FOLLOWER
        )[3].text
    )


def test_stamps_that_the_interface_cannot_make_or_could_make():
    assert "several lost them" in failed(hardware(timestamping=SOFTWARE))["stamping"][1]
    assert failed(software(timestamping=HARDWARE))["stamping"][0] is Verdict.WARNING


def test_a_large_offset_fails():
    assert "settled" in failed(software(responses=answers(offset_ns=250_000)))["offset"][1]


def test_a_silent_ptp4l_is_one_finding():
    absent = ClockEvidence(daemons=(NTP,))
    assert list(failed(absent)) == ["ptp4l"]
    assert "enable --now ptp4l" in failed(absent)["ptp4l"][1]
    assert "uds_address" in failed(ClockEvidence(daemons=(PTP4L,)))["ptp4l"][1]
    assert derive_status(absent).source is ClockSource.NTP


def test_every_finding_that_is_not_ok_says_what_to_do():
    for evidence in (software(responses=answers(state)) for state in ("FAULTY", "LISTENING")):
        assert all(mend for _, mend in failed(evidence).values())


@pytest.mark.parametrize(
    ("arguments", "sink"),
    [
        (("-s", "eth0", "-w"), "CLOCK_REALTIME"),
        (("-seth0", "-cCLOCK_REALTIME"), "CLOCK_REALTIME"),
        (("-s", "CLOCK_REALTIME", "-c", "eth0"), "eth0"),
        (("-a", "-r"), "CLOCK_REALTIME"),
        (("-arr",), "CLOCK_REALTIME"),
        (("-a",), ""),
    ],
)
def test_where_a_phc2sys_writes_to(arguments, sink):
    assert Daemon("phc2sys", arguments).sink == sink


def test_daemons_are_found_among_real_processes():
    program = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(
        ["/usr/sbin/ptp4l", *program[1:]], executable=program[0], stdin=subprocess.PIPE
    ) as process:
        # A process that has just begun its program has no command line yet.
        wait_until(
            lambda: "ptp4l" in [daemon.name for daemon in find_daemons(read_processes())],
            "the daemon is found",
        )
        process.stdin.close()
        process.wait()
    assert find_daemons([("/usr/bin/python3",), ("/usr/sbin/phc2sys", "-a")]) == (
        Daemon("phc2sys", ("-a",)),
    )


@pytest.mark.skipif(not RECORDED.is_dir(), reason=f"no recorded outputs at {RECORDED}")
def test_status_of_the_recorded_nodes():
    """A follower with free_running 1 looks healthy and is not; its grandmaster is."""
    recorded = {
        name: ClockEvidence(
            tuple(parse_pmc((RECORDED / f"pmc-{name}.txt").read_text())), SOFTWARE, daemons=(PTP4L,)
        )
        for name in ("gm", "pi1")
    }
    follower = derive_status(recorded["pi1"])
    assert follower.port_state is PortState.UNCALIBRATED
    assert (follower.grandmaster, follower.interface) == (GM, "eth0")
    assert not follower.disciplined
    assert "free_running" in failed(recorded["pi1"])["port state"][1]
    master = derive_status(recorded["gm"])
    assert (master.is_grandmaster, master.disciplined, master.steps_removed) == (True, True, 0)
    assert failed(recorded["gm"], Role.GRANDMASTER).keys() == {"CLOCK_REALTIME"}


def options(text):
    return dict(line.split() for line in text.splitlines() if len(line.split()) == 2)


def test_ptp4l_configuration():
    follower = options(ptp4l_config(PtpSetup(Role.FOLLOWER, Stamping.SOFTWARE, "eth0")))
    assert follower["slaveOnly"] == "1"
    assert follower["clock_servo"] == "linreg"
    assert "free_running" not in follower
    master = options(ptp4l_config(PtpSetup(Role.GRANDMASTER, Stamping.SOFTWARE, "eth0")))
    assert (master["masterOnly"], master["priority1"], master["free_running"]) == ("1", "64", "1")
    card = ptp4l_config(PtpSetup(Role.FOLLOWER, Stamping.HARDWARE, "enp1s0", domain=7))
    assert options(card)["time_stamping"] == "hardware"
    assert options(card)["domainNumber"] == "7"
    assert "linreg" not in card
    assert card.endswith("[enp1s0]\n")
    for text in (card, ptp4l_config(PtpSetup(Role.GRANDMASTER, Stamping.HARDWARE, "eth0"))):
        assert "uds_ro_address" not in text  # 3.1.1 refuses to start with it


def test_phc2sys_goes_from_the_card_to_the_clock_or_back():
    follower = PtpSetup(Role.FOLLOWER, Stamping.HARDWARE, "eth0", domain=3)
    master = dataclasses.replace(follower, role=Role.GRANDMASTER)
    common = ["-n", "3", "-z", "/var/run/ptp4l", "-F", "0.00002", "-S", "0.001", "-w"]
    assert phc2sys_arguments(follower) == [*common, "-s", "eth0", "-c", "CLOCK_REALTIME"]
    assert phc2sys_arguments(master) == [*common, "-s", "CLOCK_REALTIME", "-c", "eth0"]
    with pytest.raises(InputError, match="software stamps"):
        phc2sys_arguments(PtpSetup(Role.FOLLOWER, Stamping.SOFTWARE, "eth0"))


def test_phc2sys_is_recognised_by_the_options_it_was_given():
    follower = PtpSetup(Role.FOLLOWER, Stamping.HARDWARE, "eth0")
    line = phc2sys_environment(follower).splitlines()[-1]
    name, _, options_text = line.partition("=")
    (daemon,) = find_daemons([("/usr/sbin/phc2sys", *options_text.split())])
    assert (name, daemon.source, daemon.sink) == ("PHC2SYS_OPTIONS", "eth0", "CLOCK_REALTIME")
    assert not daemon.automatic


@pytest.mark.parametrize(
    "wrong",
    [
        {"interface": "eth0\n[x]"},
        {"interface": "a-name-that-is-too-long"},
        {"uds_address": "relative"},
        {"uds_address": "/run/x\nslaveOnly 0"},
        {"domain": 128},
        {"priority": 256},
        {"log_sync_interval": 5},
    ],
)
def test_nothing_strange_gets_into_a_configuration(wrong):
    with pytest.raises(InputError):
        PtpSetup(
            **{"role": Role.FOLLOWER, "stamping": Stamping.SOFTWARE, "interface": "eth0", **wrong}
        )


def fake_program(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_pmc_is_asked_on_the_given_socket(tmp_path, monkeypatch):
    fake_program(
        tmp_path,
        "pmc",
        f'printf "%s\\n" "$@" > {tmp_path}/asked\n'
        "printf '\\ta.b.c-0 seq 0 RESPONSE MANAGEMENT CURRENT_DATA_SET\\n'",
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (response,) = query_pmc("/run/mine.sock", domain=3)
    assert response.dataset == "CURRENT_DATA_SET"
    asked = (tmp_path / "asked").read_text().split("\n")
    assert asked[:7] == ["-u", "-b", "0", "-d", "3", "-s", "/run/mine.sock"]
    assert "GET TIME_STATUS_NP" in asked


def test_a_missing_or_failing_program_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("edge_agent.linuxptp.query._SBIN", ())
    with pytest.raises(EnvironmentLackError, match="pmc is not installed") as missing:
        query_pmc()
    assert missing.value.hint == "sudo apt install linuxptp"
    fake_program(tmp_path, "pmc", "echo 'uds: bind failed' >&2; exit 2")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(TuttiError, match="uds: bind failed"):
        query_pmc()


def test_uncertainty_grows_by_the_measured_drift_when_the_discipline_is_lost():
    rng = np.random.default_rng(1)
    calm, rough = ClockUncertainty(), ClockUncertainty()
    for second in range(120):
        at_ns = second * 10**9
        calm.observe(at_ns, rng.normal(0, 1_000), 16_000, 24_960 + rng.normal(0, 30))
        rough.observe(at_ns, rng.normal(0, 1_000), 16_000, 24_960 + rng.normal(0, 900))
    last_ns = 119 * 10**9
    now = calm.bound_ns(last_ns)
    assert 4_000 + 1_000 < now < 4_000 + 6_000
    assert rough.drift_ppb > 5 * calm.drift_ppb
    assert rough.bound_ns(last_ns + 10**10) - rough.bound_ns(last_ns) > 10_000
    assert calm.bound_ns(last_ns + 10**10) < rough.bound_ns(last_ns + 10**10)


@deterministic
@given(st.lists(st.integers(0, 600 * 10**9), min_size=2, max_size=20))
def test_the_bound_never_shrinks_while_nothing_is_observed(instants):
    model = ClockUncertainty()
    assert model.bound_ns(0) is None
    model.observe(0, 500, 10_000)
    bounds = [model.bound_ns(instant) for instant in sorted(instants)]
    assert bounds == sorted(bounds)


def test_the_bound_covers_a_clock_that_really_drifts():
    """Clocks that a servo steers, then lets go: their true error stays within the bound."""
    covered = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        model, crystal_ppb, error_ns = ClockUncertainty(), 25_000.0, 0.0
        for second in range(60):
            correction = crystal_ppb + rng.normal(0, 200)
            error_ns = rng.normal(0, 800)
            model.observe(second * 10**9, error_ns + rng.normal(0, 300), 4_000, correction)
        for elapsed in range(1, 121):
            crystal_ppb += rng.normal(0, 10)
            error_ns += crystal_ppb - correction
            bound = model.bound_ns((59 + elapsed) * 10**9)
            covered.append(abs(error_ns) <= bound)
    assert np.mean(covered) >= 0.99


def test_one_late_packet_is_no_servo_that_has_not_settled():
    watch = ClockWatch("ptp")
    verdicts = []
    for offset_ns in (-120_000, -900, -120_000, 150_000, 900, 0):
        evidence = software(responses=answers(offset_ns=offset_ns))
        findings = watch.judge_chain(evidence, derive_status(evidence))
        (offset,) = (finding for finding in findings if finding.point == "offset")
        verdicts.append(offset.verdict is Verdict.OK)
    assert verdicts == [False, True, True, False, True, True]
