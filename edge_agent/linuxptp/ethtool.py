"""What `ethtool -T` prints: whether a network interface stamps packets in hardware."""

import re
from dataclasses import dataclass

_INTERFACE = re.compile(r"^Time stamping parameters for (\S+):$")
_PHC = re.compile(r"^(?:PTP Hardware Clock|Hardware timestamp provider index): (\S+)$")


@dataclass(frozen=True)
class Timestamping:
    """Time-stamping abilities of one interface."""

    interface: str
    capabilities: frozenset[str]
    phc: int | None
    """Index n of its hardware clock /dev/ptpn; None if it has none."""
    transmit_modes: frozenset[str]
    receive_filters: frozenset[str]

    @property
    def hardware(self) -> bool:
        """Whether ptp4l can use hardware stamps here."""
        needed = {"hardware-transmit", "hardware-receive", "hardware-raw-clock"}
        return self.phc is not None and needed <= self.capabilities

    @property
    def software(self) -> bool:
        """Whether ptp4l can use software stamps here."""
        return {"software-transmit", "software-receive"} <= self.capabilities


def parse_ethtool(text: str) -> list[Timestamping]:
    """Return the abilities of every interface that the output describes."""
    blocks: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if match := _INTERFACE.match(line):
            blocks.append((match[1], []))
        elif blocks:
            blocks[-1][1].append(line)
    return [_timestamping(interface, lines) for interface, lines in blocks]


def _timestamping(interface: str, lines: list[str]) -> Timestamping:
    phc = next((match[1] for line in lines if (match := _PHC.match(line))), "none")
    return Timestamping(
        interface=interface,
        capabilities=_listed(lines, "Capabilities"),
        phc=int(phc) if phc.isdigit() else None,
        transmit_modes=_listed(lines, "Hardware Transmit Timestamp Modes"),
        receive_filters=_listed(lines, "Hardware Receive Filter Modes"),
    )


def _listed(lines: list[str], heading: str) -> frozenset[str]:
    """Return the first words of the indented lines below a heading."""
    found: list[str] = []
    inside = False
    for line in lines:
        if not line.startswith(("\t", " ")):
            inside = line.startswith(heading + ":")
        elif inside and line.strip():
            found.append(line.split()[0])
    return frozenset(found)
