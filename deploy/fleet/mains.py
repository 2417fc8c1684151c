"""`python -m deploy.fleet.mains FOLDER`: a container's power supply, in the background.

Runs nspawn, and again when the container reboots; a power-on leaves the clock as wrong as that of a
board without battery. SIGTERM is the power button: the container shuts down, and this ends.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from capture_protocol.publish import publish_text
from deploy.fleet.cgroups import command_in
from deploy.fleet.container import MAINS_NAME, Container, Plan
from deploy.fleet.processes import children, kill
from deploy.fleet.vclock.vclock import VirtualClock

_REBOOT = 133
"""How nspawn ends when the container wants to be started again."""
_SHUTDOWN_S = 20


class Mains:
    """Holds one container until it powers off."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._wanted = True

    def run(self) -> None:
        """Until the container powers off, or SIGTERM."""
        signal.signal(signal.SIGTERM, self._press_power_button)
        signal.signal(signal.SIGALRM, self._cut)
        plan, ended = self._container.plan, _REBOOT
        while self._wanted and ended == _REBOOT:
            forget(self._container, plan)
            self._nspawn = subprocess.Popen(nspawn_command(self._container, plan))
            ended = self._nspawn.wait()

    def _press_power_button(self, _signal: int, _frame: FrameType | None) -> None:
        self._wanted = False
        if self._nspawn:
            self._nspawn.terminate()
        signal.alarm(_SHUTDOWN_S)

    def _cut(self, _signal: int, _frame: FrameType | None) -> None:
        if self._nspawn:
            for pid in (*children(self._nspawn.pid), self._nspawn.pid):
                kill(pid)


def nspawn_command(container: Container, plan: Plan) -> list[str]:
    """The command line that boots a container."""
    options = ["--register=no", "--keep-unit", "--console=pipe", "--kill-signal=SIGRTMIN+3"]
    options.append(f"--bind={container.shared_memory}:/dev/shm")
    options.append(f"--network-bridge={plan.bridge}" if plan.bridge else "--private-network")
    if plan.realtime:
        # Its systemd may then give what units ask for: LimitRTPRIO, LimitMEMLOCK.
        options.append("--capability=CAP_SYS_RESOURCE,CAP_IPC_LOCK")
    if plan.clock:
        # The right to set a clock: what the virtual one asks for, and units have as a condition.
        options.append("--capability=CAP_SYS_TIME")
    machine = ["-q", "-D", str(container.root), "-M", container.unique_name, "-b"]
    command = ["systemd-nspawn", *machine, f"--hostname={plan.name}", *options]
    return command_in(container.unique_name, ["setpriv", "--pdeathsig", "KILL", *command])


def forget(container: Container, plan: Plan) -> None:
    """What a machine without battery does when it is powered on: memory and clock start anew."""
    again = container.clock_file.exists() and plan.clock_later
    for path in container.shared_memory.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if clock := again or plan.clock:
        VirtualClock(container.clock_file).wind(clock)


def main() -> None:
    """Supply the container of the folder that is named."""
    container = Container(Path(sys.argv[1]))
    publish_text(container.folder / MAINS_NAME, str(os.getpid()))
    Mains(container).run()


if __name__ == "__main__":
    main()
