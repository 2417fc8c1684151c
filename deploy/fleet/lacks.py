"""What this machine lacks for containers."""

import os
import shutil

_ALWAYS = {"systemd-nspawn": "systemd-container", "nsenter": "util-linux", "setpriv": "util-linux"}
_FLEET = {"debootstrap": "debootstrap", "gcc": "gcc", "ssh": "openssh-client", "ip": "iproute2"}
_SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def lacking(*, fleet: bool = True) -> str:
    """Why no containers can be booted here; empty if they can.

    Args:
        fleet: bare machines on a bridge are wanted, not only a copy of this one.
    """
    if os.geteuid() != 0:
        return "needs root for systemd containers: use sudo"
    programs = _ALWAYS | (_FLEET if fleet else {})
    packages = {
        package for name, package in programs.items() if not shutil.which(name, path=_SEARCH)
    }
    return f"sudo apt-get install -y {' '.join(sorted(packages))}" if packages else ""
