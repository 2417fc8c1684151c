"""The playbooks after the first one: they refuse, do all, or leave all as it was.

The order matters: the last test takes a node out of the rig.
"""

import hashlib
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from control_server.rig.place import RigPlace
from deploy.fleet import SERVER
from tests.fleet.lab import Lab, Run
from tests.fleet.newer import newer_site

pytestmark = [pytest.mark.root, pytest.mark.timeout(2400)]

LONG = 3600
"""Seconds of a session that is stopped long before."""
BOX = ("/usr/lib/tutti-vclock.so",)
"""What the box itself puts on a machine."""
FAILS_ONCE = r"""[Service]
ExecStartPre=+/bin/sh -c 'test -e /run/failed-once || { touch /run/failed-once; exit 1; }'
"""


def releases(lab: Lab) -> dict[str, str]:
    """The release that each machine uses."""
    links = {name: lab.ssh(name, "readlink /opt/tutti/.venv").stdout for name in machines(lab)}
    return {name: link.split("/")[1] for name, link in links.items()}


def machines(lab: Lab) -> list[str]:
    return list(lab.fleet.addresses())


def secrets(lab: Lab) -> dict[str, str]:
    """Digests of all keys, of every machine and of the controller's folder."""
    command = "sudo find /etc/tutti -name '*.secret' -o -name '*.public' -o -name rig.key"
    digests = {"controller": _folder_digest(lab.place)}
    for name in machines(lab):
        done = lab.ssh(name, f"{command} | sort | xargs sudo sha256sum")
        assert done.returncode == 0, done.stderr
        digests[name] = done.stdout
    return digests


def readers(lab: Lab) -> dict[str, str]:
    """Who may read what in /etc/tutti, on every machine."""
    command = r"sudo find /etc/tutti -printf '%m %u:%g %p\n' | sort"
    return {name: lab.ssh(name, command).stdout for name in machines(lab)}


def _folder_digest(place: RigPlace) -> str:
    paths = sorted(path for path in (*place.keys.rglob("*"), *place.nodes.rglob("*")))
    return "\n".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path}"
        for path in paths
        if path.is_file() and path.name != "node.toml"
    )


def tell(run: Run) -> Run:
    print(f"\n{run.seconds:.0f} s, rc {run.returncode}, {run.counts}")
    return run


@pytest.fixture
def newer(lab: Lab) -> Callable[..., Path]:
    """Makes a newer archive beside the lab's."""

    def make(version: str, **options: bool) -> Path:
        return newer_site(lab.site, lab.folder / f"site-{version}", version, **options)

    return make


def upgrade(lab: Lab, site: Path) -> Run:
    return tell(lab.playbook("upgrade.yml", "--extra-vars", f"tutti_archive={site}"))


def test_upgrade_refuses_during_a_session(lab: Lab, newer: Callable[..., Path]) -> None:
    before = releases(lab)
    folder = lab.start(LONG)
    run = upgrade(lab, newer("0.9.0"))
    assert run.returncode != 0
    assert f"session {int(folder.path.name)} is recording" in run.text
    assert run.changed == 0
    assert releases(lab) == before
    site = tell(lab.playbook("site.yml"))
    assert site.returncode != 0
    assert "End it with `manager stop`" in site.text
    assert site.changed == 0
    lab.ask("stop")
    assert lab.audit(folder).verdict == "pass"


def test_a_node_that_fails_goes_back(lab: Lab, newer: Callable[..., Path]) -> None:
    before = releases(lab)
    run = upgrade(lab, newer("0.9.1", broken_agent=True))
    assert run.returncode != 0
    after = releases(lab)
    assert after[SERVER].startswith("0.9.1-"), "the server comes first, and does well"
    assert {name: after[name] for name in after if name != SERVER} == {
        name: before[name] for name in before if name != SERVER
    }
    assert "node0 did not do well" in run.text
    lab.wait_ready()


def test_upgrade_succeeds_afterwards(lab: Lab, newer: Callable[..., Path]) -> None:
    run = upgrade(lab, newer("0.9.2"))
    assert run.returncode == 0, run.text[-3000:]
    after = releases(lab)
    assert all(release.startswith("0.9.2-") for release in after.values()), after
    lab.wait_ready()
    folder = lab.start(10)
    lab.wait_sealed(folder)
    assert lab.audit(folder).verdict == "pass"


def test_new_keys_need_every_node(lab: Lab) -> None:
    before = secrets(lab)
    lab.fleet.pull_cable("node1")
    try:
        run = tell(lab.playbook("rotate-keys.yml"))
    finally:
        lab.fleet.plug_cable("node1")
    assert run.returncode != 0
    assert "node1" in run.text
    lab.wait_ready()
    assert secrets(lab) == before


def test_new_keys_that_a_node_cannot_take_are_taken_back(lab: Lab) -> None:
    before, readable = secrets(lab), readers(lab)
    drop_in = lab.fleet.machine("node0").root / "etc/systemd/system/edge-agent.service.d"
    drop_in.mkdir()
    (drop_in / "fails-once.conf").write_text(FAILS_ONCE)
    lab.ssh("node0", "sudo systemctl daemon-reload")
    try:
        run = tell(lab.playbook("rotate-keys.yml"))
    finally:
        (drop_in / "fails-once.conf").unlink()
        drop_in.rmdir()
        lab.ssh("node0", "sudo systemctl daemon-reload")
    assert run.returncode != 0
    assert "the rig keeps its old keys" in run.text
    lab.wait_ready()
    assert secrets(lab) == before
    assert readers(lab) == readable


def test_new_keys_reach_everyone(lab: Lab) -> None:
    before = secrets(lab)
    run = tell(lab.playbook("rotate-keys.yml"))
    assert run.returncode == 0, run.text[-3000:]
    after = secrets(lab)
    old = {line.split()[0] for text in before.values() for line in text.splitlines()}
    new = {line.split()[0] for text in after.values() for line in text.splitlines()}
    assert not old & new, "a key was kept"
    lab.wait_ready()
    folder = lab.start(10)
    lab.wait_sealed(folder)
    assert lab.audit(folder).verdict == "pass"
    assert tell(lab.playbook("site.yml")).changed == 0


def test_logs_of_all_machines_without_secrets(lab: Lab) -> None:
    run = tell(lab.playbook("collect-logs.yml"))
    assert run.returncode == 0, run.text[-3000:]
    (archive,) = lab.place.folder.glob("tutti-logs-*.tar.gz")
    with tarfile.open(archive) as tar:
        files = {
            Path(member.name).relative_to(Path(member.name).parts[0]): tar.extractfile(member)
            for member in tar.getmembers()
            if member.isfile()
        }
        texts = {str(path): file.read() for path, file in files.items() if file}
    for name in machines(lab):
        assert b"systemd" in texts[f"{name}/journal.txt"]
        assert b"0.9.2" in texts[f"{name}/release.txt"]
    assert b"portState" in texts["node0/ptp.txt"]
    for path in (*lab.place.keys.glob("*.secret"), lab.place.keys / "rig.key"):
        secret = path.read_bytes().strip()
        assert not [name for name, text in texts.items() if secret in text]


def test_a_node_is_removed_without_a_trace(lab: Lab) -> None:
    spool = "/var/lib/edge-agent/spool/000099/cam2"
    lab.ssh("node2", f"sudo mkdir -p {spool} && echo frames | sudo tee {spool}/0.units")
    refused = tell(lab.playbook("remove-node.yml", "--extra-vars", "node=node2"))
    assert refused.returncode != 0
    assert "discard_frames=true" in refused.text
    assert lab.ssh("node2", "systemctl is-active edge-agent").stdout.strip() == "active"

    run = tell(lab.playbook("remove-node.yml", "--extra-vars", "node=node2 discard_frames=true"))
    assert run.returncode == 0, run.text[-3000:]
    names = r"-iname '*tutti*' -o -iname '*edge-agent*' -o -iname '*edge_agent*'"
    found = lab.ssh("node2", rf"sudo find / -xdev \( {names} -o -nouser -o -nogroup \) -print")
    assert set(found.stdout.split()) - set(BOX) == set(), found.stdout
    assert lab.ssh("node2", "getent passwd tutti || getent group tutti").stdout == ""
    assert "tutti" not in lab.ssh("node2", "sudo nft list tables").stdout
    units = lab.ssh("node2", "systemctl list-unit-files --state=enabled --no-legend").stdout
    assert not [line for line in units.splitlines() if "ptp" in line or "phc2sys" in line]
    masked = lab.ssh("node2", "systemctl list-unit-files --state=masked --no-legend").stdout
    assert "chrony" not in masked
    assert "timesyncd" not in masked
    assert lab.ssh("node0", "systemctl is-active edge-agent").stdout.strip() == "active"
