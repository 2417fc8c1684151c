"""What is known of the nodes: from their registrations and heartbeats. No I/O."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from capture_protocol import AgentState, RigConfig
from capture_protocol.control import SILENT_S, CameraHealth, Heartbeat, Register
from capture_protocol.grid import NS_PER_S

SILENT_NS = int(SILENT_S * NS_PER_S)


@dataclass
class NodeView:
    """One node as the server sees it."""

    name: str
    cameras: list[str]
    registered: Register | None = None
    heartbeat: Heartbeat | None = None
    heard_ns: int | None = None
    """`CLOCK_MONOTONIC` of its last message."""

    def age_ns(self, now_ns: int) -> int | None:
        """Time since its last message, None if there was none."""
        return None if self.heard_ns is None else now_ns - self.heard_ns

    def is_heard(self, now_ns: int) -> bool:
        """Whether it is registered and its heartbeats come."""
        age_ns = self.age_ns(now_ns)
        return self.registered is not None and age_ns is not None and age_ns < SILENT_NS

    @property
    def state(self) -> AgentState:
        """What its agent last said it does."""
        told = self.heartbeat or self.registered
        return AgentState.IDLE if told is None else told.state

    @property
    def session(self) -> int:
        """The session its agent last said it records, 0 for none."""
        told = self.heartbeat or self.registered
        return 0 if told is None else told.session

    @property
    def datagram_address(self) -> tuple[str, int] | None:
        """Where its agent hears unicast datagrams."""
        told = self.registered
        return None if told is None else (told.datagram_host, told.datagram_port)

    def health(self, camera: str) -> CameraHealth | None:
        """The last health of one of its cameras."""
        told = self.heartbeat.cameras if self.heartbeat else []
        return next((health for health in told if health.camera == camera), None)


@dataclass
class Fleet:
    """All nodes of the rig."""

    nodes: dict[str, NodeView] = field(default_factory=dict)

    @classmethod
    def of(cls, rig: RigConfig) -> "Fleet":
        """The nodes of a rig, none of them heard yet."""
        return cls(
            {
                node.name: NodeView(node.name, [camera.name for camera in node.camera])
                for node in rig.node
            }
        )

    def heard(self, message_node: str, now_ns: int) -> NodeView | None:
        """Note a sign of life; None if the rig has no such node."""
        view = self.nodes.get(message_node)
        if view is not None:
            view.heard_ns = now_ns
        return view

    def silent(self, now_ns: int) -> list[str]:
        """Nodes that are not heard."""
        return [view.name for view in self.nodes.values() if not view.is_heard(now_ns)]

    def of_camera(self, camera: str) -> NodeView | None:
        """The node that owns a camera."""
        return next((view for view in self.nodes.values() if camera in view.cameras), None)

    def cameras(self) -> Iterator[tuple[str, NodeView]]:
        """(camera, its node) of the whole rig."""
        for view in self.nodes.values():
            for camera in view.cameras:
                yield camera, view
