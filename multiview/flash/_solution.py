"""Cameras on one timeline, before anybody judges it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from multiview.flash._edges import Kind
from multiview.flash._equations import Member
from multiview.flash._fit import CameraFit, JointFit
from multiview.flash._matching import Alignment
from multiview.flash._track import FlashEvent


@dataclass(frozen=True)
class Solution:
    """Cameras on one timeline, and how they were found to belong together."""

    base: str
    fit: JointFit
    members: Mapping[str, Member]
    joined: Mapping[str, Alignment]
    """the alignment by which each camera but the base was joined to those before it"""
    rough_common: Mapping[str, int]
    """flashes with edges that each of them shared with others before the fit looked closer"""

    def common_flashes(self, name: str) -> set[int]:
        """Return the flashes with edges that this and another camera saw."""
        return common(self.members, name)


def common(members: Mapping[str, Member], name: str) -> set[int]:
    """Return the flashes with edges that a camera and another one saw."""
    mine = with_edges(members[name])
    others = [with_edges(member) for other, member in members.items() if other != name]
    return mine & set().union(*others)


def with_edges(member: Member) -> set[int]:
    """Return the flashes of which a camera saw an edge."""
    events = zip(member.track.events, member.flash_of, strict=True)
    return {flash for event, flash in events if event.edges}


def on_base(time_ns: float, camera: CameraFit) -> float:
    """Return a camera's time (ns) on the base camera's clock."""
    return time_ns + camera.offset_ns + camera.drift * (time_ns - camera.origin_ns)


def fitted_time(event: FlashEvent, camera: CameraFit) -> float:
    """Instant of an event on the base camera's clock by the fitted shutter."""
    if not event.edges:
        return on_base(event.time_ns, camera)
    edge, time = event.edges[0], event.edge_times_ns[0]
    exposure = camera.exposure_ns if edge.kind is Kind.TRAIL else 0.0
    return on_base(time, camera) + edge.row * camera.line_time_ns - exposure
