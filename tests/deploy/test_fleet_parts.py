"""The parts of a fleet in a box that need no containers."""

import os
import subprocess
import sys
import time

import pytest

from capture_protocol import TuttiError
from deploy.fleet.clocks import after_power_off, oscillator
from deploy.fleet.network import Network, free_subnet
from deploy.fleet.processes import children, comm, is_alive, kill
from deploy.fleet.vclock.vclock import VirtualClock, build

READ = "import time; print(time.time_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC))"


def test_the_subnet_collides_with_nothing():
    assert free_subnet([]) == "10.78.0.0/24"
    assert free_subnet(["10.78.0.254/24", "10.78.1.7"]) == "10.78.2.0/24"
    assert free_subnet(["172.16.0.0/12", "10.78.0.0/17"]) == "10.78.128.0/24"
    with pytest.raises(TuttiError, match="no subnet"):
        free_subnet(["10.0.0.0/8"])


def test_machines_have_addresses_of_the_subnet():
    network = Network("tt-x", "10.78.3.0/24")
    assert (network.address(11), network.gateway) == ("10.78.3.11", "10.78.3.254")


def test_a_program_lives_by_the_virtual_clock(tmp_path):
    library, clock = build(tmp_path), VirtualClock(tmp_path / "clock")
    clock.wind(after_power_off(oscillator(0)))
    done = subprocess.run(
        [sys.executable, "-c", READ], env=clock.environment(library), stdout=subprocess.PIPE
    )
    kernel_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    assert int(done.stdout) - kernel_ns == pytest.approx(-3600e9, abs=1e9)
    assert clock.error_ns() == pytest.approx(-3600e9, abs=1e9)


def test_processes_are_found_and_ended():
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        assert sleeper.pid in children(os.getpid())
        while comm(sleeper.pid) != "sleep":
            time.sleep(0.01)
        assert is_alive(sleeper.pid)
        kill(sleeper.pid)
        while is_alive(sleeper.pid):
            time.sleep(0.01)
    assert comm(sleeper.pid) == ""
    kill(0)
