"""`edge-agent cameras` and `check`, run as a user would."""

import json
import subprocess
import sys

import pytest

from capture_protocol import load_node
from edge_agent.agent import NodePaths
from edge_agent.check import find_cameras, run_checks
from edge_agent.linuxptp import Verdict
from tests.support.agent_peer import AgentPeer


def edge_agent(*arguments):
    command = [sys.executable, "-m", "edge_agent.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    peer = AgentPeer(tmp_path_factory.mktemp("node"), ["cam0"])
    yield peer
    peer.close()


def server_check(peer):
    config = load_node(peer.config_path)
    results = run_checks(config, NodePaths.of(peer.config_path, config))
    return next(result for result in results if result.point == "server")


def test_a_node_that_can_record_passes(peer):
    done = edge_agent("check", "--json", "--config", str(peer.config_path))
    results = {result["point"]: result for result in json.loads(done.stdout)}
    failed = [result for result in results.values() if result["verdict"] == "failed"]
    assert (done.returncode, failed) == (0, [])
    assert {"keys", "network", "server", "clock", "disk", "encoder cam0"} <= set(results)
    assert "knows this node's key" in results["server"]["text"]
    assert results["stream cam0"]["verdict"] == "ok"


def test_a_wrong_key_and_a_missing_server_are_told_apart(peer):
    secret = peer.folder / "node.secret"
    held = secret.read_text()
    secret.write_text(peer.server_keys.secret)
    refused = server_check(peer)
    secret.write_text(held)
    assert refused.verdict is Verdict.FAILED
    assert "nothing listens" not in refused.text
    peer.stop_link()
    silent = server_check(peer)
    peer.start_link()
    assert silent.verdict is Verdict.FAILED
    assert "nothing listens" in silent.text
    assert silent.mend


def test_a_failed_check_is_exit_code_1(peer):
    (peer.folder / "lonely.toml").write_text(
        peer.config_path.read_text().replace(str(peer.control_port), "9")
    )
    done = edge_agent("check", "--config", str(peer.folder / "lonely.toml"))
    assert done.returncode == 1
    assert "server" in done.stdout


def test_a_missing_config_is_one_line_a_hint_and_exit_code_2(tmp_path):
    done = edge_agent("run", "--config", str(tmp_path / "node.toml"))
    assert done.returncode == 2
    assert "does not exist" in done.stderr
    assert "manager init" in done.stderr
    assert "Traceback" not in done.stderr


def test_cameras_are_listed_with_what_config_wants_of_them(tmp_path):
    done = edge_agent("cameras", "--json")
    assert done.returncode == 0
    assert {"backend": "simulated", "device": "imx708-2304"}.items() <= next(
        camera for camera in json.loads(done.stdout) if camera["device"] == "imx708-2304"
    ).items()


def test_usb_cameras_are_found_in_sysfs(tmp_path):
    for number, index in ((0, 0), (1, 1)):
        folder = tmp_path / f"video{number}"
        folder.mkdir()
        (folder / "index").write_text(f"{index}\n")
        (folder / "name").write_text("HD Webcam\n")
    found = [camera for camera in find_cameras(tmp_path) if camera.backend == "v4l2"]
    assert [(camera.device, camera.description) for camera in found] == [
        ("/dev/video0", "HD Webcam")
    ]


def clock_config(role, stamping, *arguments):
    options = ("--role", role, "--stamping", stamping, *arguments)
    return edge_agent("clock-config", *options)


def test_clock_config_prints_what_the_programs_read():
    done = clock_config("follower", "software", "--interface", "eth0", "--domain", "5")
    assert (done.returncode, done.stderr) == (0, "")
    words = [line.split() for line in done.stdout.splitlines()]
    assert ["domainNumber", "5"] in words
    assert ["time_stamping", "software"] in words
    assert ["slaveOnly", "1"] in words
    assert words[-1] == ["[eth0]"]


def test_clock_config_says_where_a_file_belongs():
    both = {
        name: clock_config("grandmaster", "hardware", "--interface", "end0", "--json", *flags)
        for name, flags in {"ptp4l": (), "phc2sys": ("--phc2sys",)}.items()
    }
    files = {name: json.loads(done.stdout) for name, done in both.items()}
    assert files["ptp4l"]["path"] == "/etc/linuxptp/ptp4l.conf"
    assert "masterOnly" in files["ptp4l"]["text"]
    assert files["phc2sys"]["path"] == "/etc/default/phc2sys"
    assert files["phc2sys"]["unit"] == "phc2sys@end0.service"
    assert "-s CLOCK_REALTIME -c end0" in files["phc2sys"]["text"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("follower", "software", "--interface", "eth0", "--phc2sys"), "software stamps"),
        (("follower", "software", "--interface", "eth0\n[global]"), "network interface"),
        (("follower", "software", "--interface", "eth0", "--domain", "128"), "domain is 0-127"),
        (("master", "software", "--interface", "eth0"), "grandmaster"),
    ],
)
def test_clock_config_refuses_what_cannot_work(arguments, said):
    done = clock_config(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr


def test_clock_judges_a_machine_without_a_node():
    done = edge_agent("clock", "--role", "grandmaster", "--json")
    points = {finding["point"]: finding for finding in json.loads(done.stdout)}
    failed = {name for name, finding in points.items() if finding["verdict"] == "failed"}
    assert "clock" in points
    assert done.returncode == (1 if failed else 0)


def test_wait_for_clock_ends_in_time_and_says_how_it_was():
    done = edge_agent("wait-for-clock", "--timeout", "0.1")
    assert done.returncode in (0, 1)
    said = "is disciplined" if done.returncode == 0 else "is not disciplined after 0.1 s"
    assert said in done.stdout + done.stderr
