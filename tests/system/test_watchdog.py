"""The watchdog under real systemd: a camera hangs, the agent is restarted: `make test-systemd`.

The unit is the shipped one (systemd/edge-agent.service); a drop-in only says where the software
lies on this machine.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from capture_protocol import SessionFolder
from capture_protocol.publish import publish_text
from capture_protocol.rig import NodeEntry, load_node
from control_server.audit import run_audit
from control_server.demo.local_rig import LocalWish, local_config
from control_server.rig.place import RIG_NAME
from control_server.rig.setup import RigWish, config_text, set_up
from deploy.fleet import Container, Plan, lacking

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
UNIT = "edge-agent.service"
RIG = "/opt/rig"
HANG_AT_SLOT = 150
SLOTS = 900
STALL_SLOTS = 30
"""Releases that a busy machine may swallow, at the hang or at the end."""
WAIT_S = 60.0
DROP_IN = f"""[Service]
ExecStart=
ExecStart={BIN}/edge-agent run --config {RIG}/nodes/node0/node.toml
User=root
Group=root
SupplementaryGroups=
ProtectHome=no
ReadWritePaths={RIG}
"""


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    if os.environ.get("TUTTI_TEST_SYSTEMD") != "1":
        pytest.skip("run by `make test-systemd` (root; two minutes)")
    pytest.importorskip(
        "systemd.daemon", reason="systemd-python is missing: pip install .[systemd]"
    )
    if reason := lacking(fleet=False):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("systemd") / "watchdog"
    with Container.create(folder, Plan("watchdog", lower="/", in_memory=True)) as container:
        install(container)
        yield container


def install(container: Container) -> None:
    """The rig's files, and the shipped unit with the drop-in of this machine."""
    folder = container.root / RIG.lstrip("/")
    config = local_config(LocalWish(nodes=1, width=320, height=240, gop=15))
    (node,) = config.node
    camera = node.camera[0].model_copy(update={"options": {"hang_at_slot": HANG_AT_SLOT}})
    hanging = NodeEntry(name=node.name, clock="shared", camera=[camera])
    folder.mkdir(parents=True)
    publish_text(folder / RIG_NAME, config_text(config.model_copy(update={"node": [hanging]})))
    set_up(folder, RigWish())
    load_node(folder / "nodes/node0/node.toml")
    units = container.root / "etc/systemd/system"
    (units / UNIT).write_text((ROOT / "systemd" / UNIT).read_text())
    (units / f"{UNIT}.d").mkdir()
    (units / f"{UNIT}.d/here.conf").write_text(DROP_IN)
    container.run("systemctl", "daemon-reload")


def manager(container: Container, *arguments: str) -> Any:
    """Run a `manager` command in the container; its JSON."""
    return json.loads(
        container.run(
            str(BIN / "manager"), *arguments, "--rig", f"{RIG}/{RIG_NAME}", "--json"
        ).stdout
    )


def wait_for(what: str, condition: Callable[[], Any], container: Container) -> Any:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.2)
    journal = container.run("journalctl", "-u", UNIT, "--no-pager", "-o", "cat").stdout
    raise AssertionError(f"waited {WAIT_S:.0f} s in vain: {what}\n{journal[-3000:]}")


def locked(container: Container) -> bool:
    cameras = manager(container, "status")["cameras"]
    return all(camera["lock"] == "locked" for camera in cameras)


def shown(container: Container, *names: str) -> dict[str, str]:
    """Properties of the unit."""
    text = container.run("systemctl", "show", UNIT, "-p", ",".join(names)).stdout
    return dict(line.partition("=")[::2] for line in text.splitlines())


def journal(container: Container, *matches: str) -> list[dict[str, str]]:
    lines = container.run("journalctl", "--no-pager", "-o", "json", *matches).stdout.splitlines()
    return [json.loads(line) for line in lines]


def test_a_camera_that_hangs_is_restarted_and_accounted_for(container: Container) -> None:
    container.run("systemctl", "start", UNIT)  # returns when the agent has said READY=1
    assert shown(container, "ActiveState")["ActiveState"] == "active"
    wait_for("the camera in lock", lambda: locked(container), container)
    assert "idle" in shown(container, "StatusText")["StatusText"]
    first_pid = shown(container, "MainPID")["MainPID"]
    started = manager(container, "start", "--frames", str(SLOTS))
    folder = SessionFolder(container.root / str(started["folder"]).lstrip("/"))
    wait_for("the session is sealed", folder.read_manifest, container)

    after = shown(container, "NRestarts", "ActiveState", "MainPID")
    result = run_audit(folder, deep=True).result
    (camera,) = result.cameras
    slots = recorded_slots(folder)
    missing = sorted(set(range(SLOTS)) - set(slots))
    print(f"\nrestarts {after['NRestarts']}; {len(slots)} of {SLOTS} slots recorded,")
    print(f"missing {missing[0]}-{missing[-1]} ({len(missing) / 30:.1f} s): {camera.missing}")
    assert (after["NRestarts"], after["ActiveState"]) == ("1", "active")
    assert after["MainPID"] != first_pid
    gap = range(HANG_AT_SLOT + STALL_SLOTS, HANG_AT_SLOT + 90)  # 3 s pass before it is noticed
    assert set(gap) <= set(missing)
    assert slots[-1] >= SLOTS - STALL_SLOTS, "the new agent has rejoined and ended with the session"
    assert camera.missing.total == len(missing)
    assert camera.missing.unknown == 0
    verdicts = {check.name: str(check.verdict) for check in result.checks}
    assert verdicts["account"] == verdicts["loss_places"] == verdicts["video"] == "pass"

    session = started["session"]
    (error,) = journal(container, f"TUTTI_SESSION={session}", "PRIORITY=3", "-u", UNIT)
    assert error["MESSAGE"] == "no frames from cam0: the watchdog is not fed"
    assert int(error["TUTTI_SLOT"]) > HANG_AT_SLOT
    assert int(error["TUTTI_OFFSET_NS"]) == 0
    print(f"journal: {error['MESSAGE']} (slot {error['TUTTI_SLOT']})")


def recorded_slots(folder: SessionFolder) -> list[int]:
    from control_server.session.frames_table import read_frames

    return [int(slot) for slot in read_frames(folder, "cam0").records["slot"]]


def test_an_idle_agent_stays_up_and_ends_in_good_order(container: Container) -> None:
    before = shown(container, "NRestarts")["NRestarts"]
    time.sleep(8)  # longer than the watchdog's patience: it must have been fed meanwhile
    assert shown(container, "NRestarts", "ActiveState") == {
        "NRestarts": before,
        "ActiveState": "active",
    }
    container.run("systemctl", "stop", UNIT)
    ended = shown(container, "ActiveState", "Result")
    assert ended == {"ActiveState": "inactive", "Result": "success"}
