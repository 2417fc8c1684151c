"""The same parsers and verdicts on a ptp4l that runs, configured by our own files.

Two network namespaces with a veth pair between them. Both read the one clock of this machine, so
the follower is told not to steer it (free_running); a clock of its own is another test's matter.
"""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from edge_agent.linuxptp import (
    PortState,
    PortTransition,
    PtpSetup,
    Role,
    Stamping,
    parse_log,
    ptp4l_config,
)

PTP4L = shutil.which("ptp4l", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needed = pytest.mark.skipif(
    os.geteuid() != 0 or PTP4L is None or shutil.which("ip") is None,
    reason="needs root, and ptp4l: sudo apt install linuxptp iproute2",
)
ASK = """
import json, sys
from edge_agent.linuxptp import Role, derive_status, gather_evidence, judge
evidence = gather_evidence(sys.argv[1])
status = derive_status(evidence)
findings = judge(evidence, status, Role(sys.argv[2]))
print(json.dumps({
    "state": status.port_state, "grandmaster": status.grandmaster, "interface": status.interface,
    "offset_ns": status.offset_ns, "path_delay_ns": status.path_delay_ns,
    "disciplined": status.disciplined,
    "failed": [finding.point for finding in findings if finding.verdict == "failed"],
}))
"""


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def namespaces():
    """Names of two network namespaces, grandmaster and follower, joined by a veth pair."""
    tag = f"{os.getpid():x}"
    names = (f"gm{tag}", f"fo{tag}")
    try:
        for name in names:
            run("ip", "netns", "add", name)
        run(
            "ip",
            "link",
            "add",
            "ptp0",
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            "name",
            "ptp0",
            "netns",
            names[1],
        )
        for number, name in enumerate(names, start=1):
            run("ip", "-n", name, "addr", "add", f"10.99.0.{number}/24", "dev", "ptp0")
            run("ip", "-n", name, "link", "set", "ptp0", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def ask(namespace, socket, role):
    out = run("ip", "netns", "exec", namespace, sys.executable, "-c", ASK, str(socket), role)
    return json.loads(out)


def wait_for(question, wanted, seconds=30):
    """Ask until the answer is the wanted one; return the last answer."""
    end = time.monotonic() + seconds
    answer = question()
    while not wanted(answer) and time.monotonic() < end:
        time.sleep(0.2)
        answer = question()
    return answer


@pytest.mark.root
@needed
def test_a_real_grandmaster_and_follower(namespaces, tmp_path):
    processes, sockets = [], {}
    try:
        for name, role in zip(namespaces, Role, strict=True):
            sockets[role] = tmp_path / f"{role}.sock"
            setup = PtpSetup(role, Stamping.SOFTWARE, "ptp0", uds_address=str(sockets[role]))
            text = ptp4l_config(setup)
            if role is Role.FOLLOWER:
                text = text.replace("[global]\n", "[global]\nfree_running 1\n")
            (tmp_path / f"{role}.conf").write_text(text)
            with (tmp_path / f"{role}.log").open("w") as log:
                processes.append(
                    subprocess.Popen(
                        [
                            "ip",
                            "netns",
                            "exec",
                            name,
                            PTP4L,
                            "-m",
                            "-q",
                            "-f",
                            str(tmp_path / f"{role}.conf"),
                        ],
                        stdout=log,
                        stderr=log,
                    )
                )
        gm, fo = namespaces
        follower = wait_for(
            lambda: ask(fo, sockets[Role.FOLLOWER], "follower"),
            lambda answer: answer["path_delay_ns"] > 0 and answer["state"] == "UNCALIBRATED",
        )
        master = ask(gm, sockets[Role.GRANDMASTER], "grandmaster")
    finally:
        for process in processes:
            process.terminate()
            process.wait()
    assert (master["state"], master["disciplined"]) == ("MASTER", True)
    assert (follower["state"], follower["disciplined"]) == ("UNCALIBRATED", False)
    assert follower["grandmaster"] == master["grandmaster"]
    assert follower["interface"] == "ptp0"
    assert abs(follower["offset_ns"]) < 5_000_000  # both read the same clock
    assert {"port state", "CLOCK_REALTIME"} <= set(follower["failed"])
    log = parse_log((tmp_path / "follower.log").read_text().splitlines())
    transitions = [line.message for line in log if isinstance(line.message, PortTransition)]
    assert transitions[-1].after is PortState.UNCALIBRATED
