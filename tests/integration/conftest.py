from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.support.rig import TestRig


class MakeRig(Protocol):
    def __call__(self, **wish: Any) -> TestRig: ...


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[MakeRig]:
    """Rigs whose processes end with the test. Agents are started by the test, or by `with`.

    15 frames per second: a busy test machine that stalls for a quarter of a second loses nothing.
    """
    rigs: list[TestRig] = []

    def make(**wish: Any) -> TestRig:
        defaults = {"rate": "15", "gop": 15, "segment_gops": 1}
        rig = TestRig(tmp_path / f"rig{len(rigs)}", **{**defaults, **wish})
        rigs.append(rig)
        return rig

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(make_rig: MakeRig) -> TestRig:
    """A running rig of two nodes with a camera each."""
    made = make_rig()
    for node in made.place.config.node:
        made.start_agent(node.name)
    return made
