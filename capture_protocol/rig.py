"""The rig described once: `rig.toml` on the server, and each node's `node.toml` made from it."""

import tomllib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from capture_protocol.deployment import (
    AddressWithPrefix,
    DeploySection,
    HostName,
    InterfaceName,
    LoginName,
    Overlay,
)
from capture_protocol.errors import InputError
from capture_protocol.grid import parse_rate

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
"""Names of nodes and cameras: they become parts of file names and unit names."""
Port = Annotated[int, Field(ge=1, le=65535)]
RigId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Option = str | int | float | bool
SERVICE_STATE = "/var/lib/edge-agent"
"""Where an agent that systemd runs keeps its state: the unit's StateDirectory."""
_Config = TypeVar("_Config", bound=BaseModel)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SensorModeSection(_Section):
    """A read-out mode of a sensor that the agent's own table lacks; the same fields as there."""

    name: Name
    """For a camera's option `mode`; `<libcamera's name of the sensor>-<width>`."""
    width: Annotated[int, Field(ge=1, le=65_535)]
    rows: Annotated[int, Field(ge=1, le=65_535)]
    line_time_ns: Annotated[float, Field(ge=2_000)]
    shortest_lines: Annotated[int, Field(ge=1)]
    """Shortest frame: rows and the least vertical blanking."""
    vblank_delay: Annotated[int, Field(ge=0, le=8)] = 3
    """Frames from the write of a frame length to the frame that has it."""
    longest_lines: Annotated[int, Field(ge=1)] = 65_535
    exposure_margin_lines: Annotated[int, Field(ge=0)] = 48
    """An exposure ends at least this many lines before its frame does."""
    global_shutter: bool = False

    @model_validator(mode="after")
    def _lines_fit(self) -> "SensorModeSection":
        if not self.rows <= self.shortest_lines <= self.longest_lines:
            raise ValueError(f"sensor mode {self.name}: rows <= shortest_lines <= longest_lines")
        return self


class CameraConfig(_Section):
    """One camera of a node."""

    name: Name
    backend: Literal["simulated", "file", "v4l2", "picamera"] = "simulated"
    device: str = ""
    """What the backend opens: a file's path, /dev/video0, a picamera2 camera number."""
    width: Annotated[int, Field(ge=64, le=8192, multiple_of=2)] = 640
    height: Annotated[int, Field(ge=48, le=8192, multiple_of=2)] = 480
    exposure_us: Annotated[int, Field(ge=1, le=1_000_000)] = 4000
    bitrate_kbps: Annotated[int, Field(ge=100, le=200_000)] = 4000
    options: dict[str, Option] = {}
    """Settings of the backend itself, e.g. the simulated sensor's `ppm` and `seed`."""


class PtpSection(_Section):
    """How a node with `clock = "ptp"` takes part in PTP: what its ptp4l.conf says."""

    role: Literal["follower", "grandmaster"] = "follower"
    domain: Annotated[int, Field(ge=0, le=127)] = 0
    socket: Annotated[str, StringConstraints(pattern=r"^/[\w./-]{1,106}$")] = "/var/run/ptp4l"
    """ptp4l's `uds_address`."""


class NodeEntry(_Section):
    """One node as the rig sees it."""

    name: Name
    address: str = "127.0.0.1"
    """Where Ansible reaches the node."""
    clock: Literal["shared", "ntp", "ptp"] = "ptp"
    """What should discipline CLOCK_REALTIME; `shared`: the agent runs on the server itself."""
    ptp: PtpSection = PtpSection()
    interface: InterfaceName = ""
    """The rig's network on this node; empty: `[deploy]`'s."""
    overlays: list[Overlay] = []
    """Camera overlays of a Raspberry Pi's config.txt."""
    isolated_cpu: Annotated[int, Field(ge=-1)] = -1
    """A core that Linux keeps free for the release timer; -1: none."""
    static_address: AddressWithPrefix = ""
    """Address and prefix that the first boot gives the node; empty: DHCP."""
    camera: Annotated[list[CameraConfig], Field(min_length=1)]

    @model_validator(mode="after")
    def _addresses_agree(self) -> "NodeEntry":
        fixed = self.static_address.partition("/")[0]
        if fixed and self.address != fixed:
            raise ValueError(
                f"node {self.name}: address {self.address} is not its static_address {fixed}"
            )
        return self


class ServerSection(_Section):
    """Where agents reach the server, and where it stores sessions."""

    address: str = "127.0.0.1"
    ssh_address: HostName | Literal[""] = ""
    """Where Ansible reaches the server; empty: `address`; `local`: Ansible runs on it."""
    interface: InterfaceName = ""
    """The rig's network on the server; empty: `[deploy]`'s."""
    listen: str = "127.0.0.1"
    control_port: Port = 7700
    stream_port: Port = 7710
    """Port of the first camera; camera i streams to `stream_port + i`."""
    storage: str = "sessions"
    """Folder of the sessions, absolute or beside rig.toml."""
    reserve_mb: Annotated[int, Field(ge=0)] = 1024
    """Free space that is kept on the storage: below it no video is accepted."""
    runtime: str = "run"
    """Folder of the manager's command socket, lock and log, absolute or beside rig.toml."""
    operators_group: LoginName | Literal[""] = ""
    """Group whose members may give the manager commands; empty: only its own user."""


class NetworkSection(_Section):
    """How START and STOP travel."""

    group: str = "239.84.85.84"
    """Multicast group, or a broadcast address."""
    port: Port = 7701
    interface: str = ""
    """Address of the server's network interface that START leaves by; empty: the route's."""


class SessionSection(_Section):
    """What a session looks like unless `manager start` is told otherwise."""

    rate: str = "30"
    gop: Annotated[int, Field(ge=1, le=1000)] = 30
    segment_gops: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Length of a segment file in groups of pictures."""
    container: Literal["mkv", "nut"] = "mkv"
    lead_ms: Annotated[int, Field(ge=200, le=60_000)] = 2000
    """From the command to t0: time for START to reach every agent."""
    idle_close_ms: Annotated[int, Field(ge=50, le=10_000)] = 300
    drain_timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """After STOP, how long to wait for cameras before the session is sealed as incomplete."""

    @model_validator(mode="after")
    def _rate_is_a_rate(self) -> "SessionSection":
        try:
            parse_rate(self.rate)
        except InputError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def frame_rate(self) -> Fraction:
        """Frames per second, exact."""
        return parse_rate(self.rate)

    @property
    def segment_slots(self) -> int:
        """Slots per segment file."""
        return self.gop * self.segment_gops


class SegmenterSection(_Section):
    """Who runs FFmpeg on the server."""

    supervisor: Literal["local", "systemd"] = "local"
    ffmpeg: str = ""
    """Path of FFmpeg; empty: the one that comes with imageio-ffmpeg."""


class AuditSection(_Section):
    """Thresholds of the audit; a session passes when every one holds."""

    max_missing: Annotated[int, Field(ge=0)] = 0
    max_late: Annotated[int, Field(ge=0)] = 0
    max_repeated: Annotated[int, Field(ge=0)] = 0
    grid_error_p99_us: Annotated[float, Field(gt=0)] = 1000.0
    skew_p99_us: Annotated[float, Field(gt=0)] = 1000.0
    release_error_p99_us: Annotated[float, Field(gt=0)] = 20_000.0
    clock_uncertainty_us: Annotated[float, Field(gt=0)] = 1000.0
    optical_error_p99_us: Annotated[float, Field(gt=0)] = 1000.0


class RigConfig(_Section):
    """The whole `rig.toml`."""

    name: Name
    id: RigId
    server: ServerSection = ServerSection()
    network: NetworkSection = NetworkSection()
    session: SessionSection = SessionSection()
    segmenter: SegmenterSection = SegmenterSection()
    audit: AuditSection = AuditSection()
    deploy: DeploySection = DeploySection()
    sensor_mode: list[SensorModeSection] = []
    node: Annotated[list[NodeEntry], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_are_unique(self) -> "RigConfig":
        _require_unique("node", [node.name for node in self.node])
        _require_unique("camera", [camera.name for _, _, camera in self.cameras()])
        _require_unique("sensor mode", [mode.name for mode in self.sensor_mode])
        last_port = self.server.stream_port + sum(1 for _ in self.cameras()) - 1
        if last_port > 65535:
            raise ValueError(
                f"stream_port {self.server.stream_port} leaves no room for all cameras"
            )
        if self.server.stream_port <= self.server.control_port <= last_port:
            raise ValueError("control_port lies among the cameras' stream ports")
        return self

    @property
    def rig_id(self) -> bytes:
        """The rig's 16 bytes, as datagrams carry them."""
        return bytes.fromhex(self.id)

    def cameras(self) -> Iterator[tuple[int, NodeEntry, CameraConfig]]:
        """(index in the rig, node, camera) of all cameras, in the order of the file."""
        index = 0
        for node in self.node:
            for camera in node.camera:
                yield index, node, camera
                index += 1


class NodeCamera(CameraConfig):
    """A camera as its agent sees it: with its index in the rig and its stream port."""

    index: Annotated[int, Field(ge=0, le=65535)]
    stream_port: Port


class RealtimeSection(_Section):
    """How hard the release timer tries."""

    priority: Annotated[int, Field(ge=0, le=99)] = 50
    """SCHED_FIFO priority; 0: do not ask for it."""
    spin_us: Annotated[int, Field(ge=0, le=5000)] = 200
    """Sleep until this long before Tn, then spin."""
    cpu: Annotated[int, Field(ge=-1)] = -1
    """Pin the capture process to this CPU; -1: do not."""


class NodeConfig(_Section):
    """The whole `node.toml`."""

    name: Name
    rig_name: Name
    rig_id: RigId
    server: str
    control_port: Port
    group: str
    datagram_port: Port
    interface: str = ""
    """Address of this node by which START arrives; empty: the one that routes to the server."""
    clock: Literal["shared", "ntp", "ptp"] = "ptp"
    ptp: PtpSection = PtpSection()
    state: str = "state"
    """Folder for spool and event logs, absolute or beside node.toml."""
    spool_limit_mb: Annotated[int, Field(ge=16)] = 4096
    idle_close_ms: Annotated[int, Field(ge=50, le=10_000)] = 300
    realtime: RealtimeSection = RealtimeSection()
    sensor_mode: list[SensorModeSection] = []
    camera: Annotated[list[NodeCamera], Field(min_length=1)]


def node_config(rig: RigConfig, name: str) -> NodeConfig:
    """What the agent of node ``name`` has to know."""
    cameras = [
        NodeCamera(**camera.model_dump(), index=index, stream_port=rig.server.stream_port + index)
        for index, node, camera in rig.cameras()
        if node.name == name
    ]
    entry = next(node for node in rig.node if node.name == name)
    return NodeConfig(
        name=name,
        rig_name=rig.name,
        rig_id=rig.id,
        server=rig.server.address,
        control_port=rig.server.control_port,
        group=rig.network.group,
        datagram_port=rig.network.port,
        clock=entry.clock,
        ptp=entry.ptp,
        state=SERVICE_STATE if rig.segmenter.supervisor == "systemd" else "state",
        idle_close_ms=rig.session.idle_close_ms,
        realtime=RealtimeSection(cpu=entry.isolated_cpu),
        sensor_mode=rig.sensor_mode,
        camera=cameras,
    )


def load_rig(path: Path) -> RigConfig:
    """Read and check a `rig.toml`.

    Raises:
        InputError: the file is missing, no TOML, or a value in it is wrong (named in the message).
    """
    return _load(path, RigConfig, "manager init")


def load_node(path: Path) -> NodeConfig:
    """Read and check a `node.toml`.

    Raises:
        InputError: as `load_rig`.
    """
    return _load(path, NodeConfig, "manager init, on the server")


def _load(path: Path, model: type[_Config], maker: str) -> _Config:
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist", hint=f"write it with: {maker}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{path}: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {problem['msg']}{more}" if where else f"{problem['msg']}{more}"


def _require_unique(what: str, names: list[str]) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"{what} names must be unique: {', '.join(doubled)}")
