"""The whole fleet in one folder: server and nodes, their network, keys and clocks."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from capture_protocol import TuttiError
from capture_protocol.publish import publish_bytes
from deploy.fleet import clocks, network, ssh
from deploy.fleet.base import bare_root
from deploy.fleet.container import Container, Plan
from deploy.fleet.network import Network, free_network
from deploy.fleet.vclock.vclock import VirtualClock, build

SERVER = "server"
_SERVER_NUMBER, _FIRST_NODE, _FLEET_STEP = 1, 11, 60
"""Last parts of the addresses; a second fleet on the bridge has the next ones."""
_STATE_NAME = "fleet.json"
_INTERFACE = """[Match]
Name=host0
[Network]
Address={address}/24
Gateway={gateway}
LinkLocalAddressing=no
IPv6AcceptRA=no
"""


@dataclass(frozen=True)
class Member:
    """One machine of the fleet."""

    name: str
    address: str


@dataclass(frozen=True)
class State:
    """What the fleet's folder says about it."""

    network: Network
    members: list[Member]
    owns_network: bool = True


_STATES = TypeAdapter(State)


class Fleet:
    """A fleet that is there, whoever brought it up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        try:
            self.state = _STATES.validate_json((self.folder / _STATE_NAME).read_bytes())
        except FileNotFoundError as error:
            raise TuttiError(
                f"there is no fleet in {folder}", hint="deploy/fleet-in-a-box up"
            ) from error
        self.machines = {
            member.name: Container(self.folder / "machines" / member.name)
            for member in self.state.members
        }

    @classmethod
    def create(cls, folder: Path, nodes: int, beside: "Fleet | None" = None) -> "Fleet":
        """A new fleet, still powered off: server and node0, node1, ...

        Args:
            folder: of the fleet, its last part is the fleet's name.
            nodes: how many.
            beside: another fleet whose switch it shares; that one is taken down after this.

        Raises:
            TuttiError: the folder has a fleet, or there is no network for it.
        """
        if (folder / _STATE_NAME).exists():
            raise TuttiError(
                f"there is a fleet in {folder} already", hint="deploy/fleet-in-a-box down"
            )
        bare_root()
        folder.mkdir(parents=True, exist_ok=True)
        net = beside.state.network if beside else free_network(folder.resolve().name)
        base = _FLEET_STEP if beside else 0
        members = [Member(SERVER, net.address(base + _SERVER_NUMBER))]
        members += [Member(f"node{i}", net.address(base + _FIRST_NODE + i)) for i in range(nodes)]
        state = State(net, members, owns_network=beside is None)
        publish_bytes(folder / _STATE_NAME, _STATES.dump_json(state, indent=1))
        fleet = cls(folder)
        try:
            fleet._make()
        except BaseException:
            fleet.down()
            raise
        return fleet

    def power_on(self) -> None:
        """Boot all machines that are off, and wait until they are up."""
        off = [machine for machine in self.machines.values() if not machine.leader]
        for machine in off:
            machine.switch_on()
        for machine in off:
            machine.wait_until_up()

    def down(self) -> None:
        """Shut all machines down and leave nothing behind."""
        with ThreadPoolExecutor(len(self.machines)) as pool:
            list(pool.map(Container.close, self.machines.values()))
        if self.state.owns_network:
            self.state.network.delete()
        shutil.rmtree(self.folder, ignore_errors=True)

    def machine(self, name: str) -> Container:
        """The container of a machine.

        Raises:
            TuttiError: there is none of that name.
        """
        if name not in self.machines:
            raise TuttiError(f"the fleet has no {name}", hint=f"it has {', '.join(self.machines)}")
        return self.machines[name]

    def pull_cable(self, name: str) -> None:
        """Unplug a machine from the network."""
        network.pull(self._cable(name))

    def plug_cable(self, name: str) -> None:
        """Plug it in again."""
        network.plug(self._cable(name))

    def clock_error_ns(self, name: str) -> int:
        """How wrong a machine's clock is: what it does not know itself."""
        return VirtualClock(self.machine(name).clock_file).error_ns()

    def addresses(self) -> dict[str, str]:
        """All machines' addresses by name."""
        return {member.name: member.address for member in self.state.members}

    def ssh_command(self, name: str, *words: str) -> list[str]:
        """The command line that runs a command on a machine as its user, or logs in."""
        self.machine(name)
        return ssh.command(self.folder, name, *words)

    def _make(self) -> None:
        if self.state.owns_network:
            self.state.network.create()
        key = ssh.make_key(self.folder)
        ssh.write_config(self.folder, self.addresses())
        library = build(self.folder)
        lower = str(bare_root())
        for number, member in enumerate(self.state.members):
            clock = clocks.oscillator(number - 1) if number else clocks.SERVER_OSCILLATOR
            later = clocks.after_power_off(clock) if number else clock
            bridge = self.state.network.bridge
            plan = Plan(member.name, lower, bridge, clock=clock, clock_later=later, realtime=True)
            self._add(member, plan)
            root = self.machine(member.name).root
            ssh.install(root, key)
            clocks.install(root, library)

    def _add(self, member: Member, plan: Plan) -> None:
        machine = Container.create(self.machine(member.name).folder, plan)
        where = _INTERFACE.format(address=member.address, gateway=self.state.network.gateway)
        (machine.root / "etc/systemd/network/10-host0.network").write_text(where)
        (machine.root / "etc/hostname").write_text(f"{member.name}\n")
        (machine.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {member.name}\n")

    def _cable(self, name: str) -> str:
        inside = self.machine(name).run("cat", "/sys/class/net/host0/iflink").stdout
        return network.cable(int(inside))
