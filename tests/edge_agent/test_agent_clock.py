"""An agent that is given its session before its clock is right, as after a boot."""

import os
import shutil
import subprocess
import sys

import pytest

from capture_protocol.control import Ack, Registered
from deploy.fleet.vclock.vclock import Oscillator, VirtualClock, build
from tests.support.agent_peer import AgentPeer, running_agent, wait_until

HOUR_NS = 3_600_000_000_000
STEP = "import sys, time; time.clock_settime_ns(time.CLOCK_REALTIME, time.time_ns() + {})"


@pytest.mark.skipif(not shutil.which("gcc"), reason="sudo apt-get install -y gcc libc6-dev")
@pytest.mark.parametrize("error_ns", [-HOUR_NS, -HOUR_NS // 60])
def test_a_clock_that_is_set_before_the_first_slot_is_followed(tmp_path, monkeypatch, error_ns):
    library = build(tmp_path)
    clock = VirtualClock(tmp_path / "clock")
    clock.wind(Oscillator(error_ns, 0.0))
    peer = AgentPeer(tmp_path, ["cam0"])
    start = peer.start(3, slots=300)
    peer.registered = Registered(start=peer.start_datagram.hex())
    for name, value in clock.environment(library).items():
        monkeypatch.setenv(name, value)
    with running_agent(peer):
        wait_until(lambda: peer.of(Ack), "the cameras wait for the session")
        subprocess.run([sys.executable, "-c", STEP.format(-error_ns)], env=os.environ, check=True)
        peer.wait_drained(3)
        units = peer.ports["cam0"].units(3)
        assert max(units) == start.last_slot
        late_ns = [unit.arrived_ns - start.grid.time_ns(slot) for slot, unit in units.items()]
        assert 0 < min(late_ns) <= max(late_ns) < -error_ns
    peer.close()
