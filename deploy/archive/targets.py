"""What machines an archive is for: architectures, Python versions, Debian suites."""

import re
from dataclasses import dataclass
from itertools import product

from capture_protocol import InputError

DEBIAN_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Debian's name of each architecture that wheels call by the kernel's."""
SUITES = ("bookworm", "trixie")
PYTHONS = ("3.11", "3.13")
"""Of these suites, and of Raspberry Pi OS, which is made from them."""
OLDEST_GLIBC = 36
"""Minor version of bookworm's C library: wheels may ask for nothing newer."""


@dataclass(frozen=True, slots=True)
class Targets:
    """All combinations of these get packages."""

    architectures: tuple[str, ...] = tuple(DEBIAN_ARCHITECTURES)
    pythons: tuple[str, ...] = PYTHONS
    suites: tuple[str, ...] = SUITES

    def wheel_sets(self) -> list[tuple[str, str]]:
        """(architecture, Python) of every set of wheels."""
        return list(product(self.architectures, self.pythons))

    def deb_sets(self) -> list[tuple[str, str]]:
        """(suite, Debian's architecture) of every set of packages."""
        return [
            (suite, DEBIAN_ARCHITECTURES[architecture])
            for suite, architecture in product(self.suites, self.architectures)
        ]


def parse_targets(architectures: str, pythons: str, suites: str) -> Targets:
    """Targets from comma-separated lists; an empty list means all.

    Raises:
        InputError: an architecture or suite that is not known, or no version of Python.
    """
    every = Targets()
    chosen = Targets(
        _split(architectures) or every.architectures,
        _split(pythons) or every.pythons,
        _split(suites) or every.suites,
    )
    _require_known("architecture", chosen.architectures, every.architectures)
    _require_known("suite", chosen.suites, every.suites)
    for python in chosen.pythons:
        if not re.fullmatch(r"3\.1[1-9]", python):
            raise InputError(f"{python!r} is no Python from 3.11 on", hint="write it as 3.11")
    return chosen


def platform_tags(architecture: str) -> list[str]:
    """Platforms whose wheels run on every target of this architecture, best first."""
    newest_first = range(OLDEST_GLIBC, 16, -1)
    return [
        *(f"manylinux_2_{minor}_{architecture}" for minor in newest_first),
        f"manylinux2014_{architecture}",
        f"linux_{architecture}",
    ]


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _require_known(what: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in given:
        if name not in known:
            raise InputError(f"{name!r} is no {what}", hint=f"there are {', '.join(known)}")
