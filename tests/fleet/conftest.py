"""One fleet for all tests of this folder: booted bare, then set up by one run of the playbook."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.fleet import lacking
from tests.fleet.lab import BIN, Lab, Run

NODES = 3


def why_not() -> str:
    """Why the fleet cannot be tested here; empty if it can."""
    if os.environ.get("TUTTI_TEST_FLEET") != "1":
        return "run by `make test-fleet`, test-fleet-faults or test-fleet-playbooks (root)"
    if reason := lacking():
        return reason
    if not Path(BIN / "ansible-playbook").exists() and not shutil.which("ansible-playbook"):
        return "ansible-core is missing: make setup"
    return ""


@dataclass(frozen=True)
class Deployed:
    """A fleet that one run of the playbook has made a rig."""

    lab: Lab
    first_run: Run


@pytest.fixture(scope="session")
def deployed() -> Iterator[Deployed]:
    if reason := why_not():
        pytest.skip(reason)
    with Lab("test", NODES) as lab:
        yield Deployed(lab, lab.set_up())


@pytest.fixture
def lab(deployed: Deployed) -> Lab:
    """The rig, ready to record."""
    assert deployed.first_run.returncode == 0, deployed.first_run.text[-3000:]
    deployed.lab.wait_ready()
    return deployed.lab
