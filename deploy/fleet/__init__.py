"""A fleet in a box: server and nodes as systemd containers on one bridge, to try or test a rig.

Every node has a clock of its own that drifts (`vclock`), a cable that can be pulled, and power
that can be cut. The machines are bare: what makes them a rig is the playbook, as in a lab.
"""

from deploy.fleet.container import Container, Plan
from deploy.fleet.fleet import SERVER, Fleet
from deploy.fleet.lacks import lacking
from deploy.fleet.rig import make_rig

__all__ = ["SERVER", "Container", "Fleet", "Plan", "lacking", "make_rig"]
