"""The clocks of a fleet: every machine lives by a virtual one, and the kernel's is the truth.

The server's crystal is perfect, so that it shows the kernel's time: what the nodes follow is the
truth. It is a virtual one nevertheless, for chrony on it shall steer nothing of this machine.
"""

import shutil
from pathlib import Path

from deploy.fleet.vclock.vclock import Oscillator

SERVER_OSCILLATOR = Oscillator(offset_ns=0, ppm=0.0)
_NODES = (
    Oscillator(offset_ns=350_000_000, ppm=37.0, wander_ppm=0.2, wander_period_s=40),
    Oscillator(offset_ns=-2_000_000_000, ppm=-18.0, wander_ppm=0.2, wander_period_s=55),
    Oscillator(offset_ns=5_000_000, ppm=4.5, wander_ppm=0.2, wander_period_s=70),
)
"""Crystals of a Pi are tens of ppm off; the wander is that of a room's air."""
_UNPOWERED_NS = 3_600_000_000_000
"""A board without battery goes on where its clock was last saved: an hour behind, at worst."""
_LIBRARY = "usr/lib/tutti-vclock.so"


def oscillator(number: int) -> Oscillator:
    """The clock of a node at its first power-on."""
    return _NODES[number % len(_NODES)]


def after_power_off(clock: Oscillator) -> Oscillator:
    """The same crystal, but the time was not kept."""
    return Oscillator(-_UNPOWERED_NS, clock.ppm, clock.wander_ppm, clock.wander_period_s)


def install(root: Path, library: Path) -> None:
    """Let all programs of a machine live by its virtual clock."""
    shutil.copy(library, root / _LIBRARY)
    (root / "etc/ld.so.preload").write_text(f"/{_LIBRARY}\n")
