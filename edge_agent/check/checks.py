"""The checks of a node, each a small function that says what it found and how to mend it."""

import multiprocessing
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from av.video.frame import VideoFrame

from capture_protocol.errors import TuttiError
from capture_protocol.handshake import CHALLENGE_SIZE, GREETING_TIMEOUT_S, unpack_challenge
from capture_protocol.keys import RIG_KEY_NAME, read_rig_key
from capture_protocol.rig import NodeCamera, NodeConfig
from edge_agent.agent import NodePaths
from edge_agent.agent.datagrams import local_address, open_group_socket
from edge_agent.agent.link import probe_link, read_link_keys
from edge_agent.camera import make_buffers, needs_buffers, open_camera
from edge_agent.capture import take_rights
from edge_agent.clock.points import judge_clock
from edge_agent.linuxptp.finding import Finding, Verdict
from edge_agent.stream.encoder import Encoder

_SERVER_WAIT_S = 3.0
_ENCODER_RATE = Fraction(30)
_ENCODER_PICTURES = 10
_MEGABYTE = 1_000_000


Check = Callable[[NodeConfig, NodePaths], Iterator[Finding]]


def run_checks(config: NodeConfig, paths: NodePaths) -> Iterator[Finding]:
    """All checks, one after the other; an agent that runs meanwhile is not disturbed."""
    for point, check in _CHECKS.items():
        try:
            yield from check(config, paths)
        except TuttiError as error:
            yield Finding(point, Verdict.FAILED, str(error), error.hint)


def _check_keys(_config: NodeConfig, paths: NodePaths) -> Iterator[Finding]:
    read_rig_key(paths.folder / RIG_KEY_NAME)
    read_link_keys(paths.folder)
    mode = (paths.folder / RIG_KEY_NAME).stat().st_mode & 0o077
    if mode:
        mend = f"chmod 600 {paths.folder / RIG_KEY_NAME}"
        yield Finding("keys", Verdict.WARNING, "other users can read the rig key", mend)
    else:
        yield Finding("keys", Verdict.OK, "all four are here")


def _check_network(config: NodeConfig, _paths: NodePaths) -> Iterator[Finding]:
    address = local_address(config)
    open_group_socket(config, address).close()
    text = f"START is heard on {config.group}:{config.datagram_port} through {address}"
    yield Finding("network", Verdict.OK, text)


def _check_server(config: NodeConfig, paths: NodePaths) -> Iterator[Finding]:
    where = f"{config.server}:{config.control_port}"
    answer = probe_link(config, read_link_keys(paths.folder), _SERVER_WAIT_S)
    if answer:
        mend = "start the manager there, open the port, or copy the node's keys anew"
        yield Finding("server", Verdict.FAILED, f"{where}: {answer}", mend)
    else:
        yield Finding("server", Verdict.OK, f"{where} answers and knows this node's key")


def _check_streams(config: NodeConfig, _paths: NodePaths) -> Iterator[Finding]:
    for camera in config.camera:
        point, where = f"stream {camera.name}", f"{config.server}:{camera.stream_port}"
        try:
            _greet(config.server, camera.stream_port)
        except (OSError, TuttiError) as error:
            mend = "segmenters listen while the manager runs; open the port in the firewall"
            yield Finding(point, Verdict.WARNING, f"{where}: {error}", mend)
        else:
            yield Finding(point, Verdict.OK, f"a segmenter answers on {where}")


def _greet(host: str, port: int) -> None:
    with socket.create_connection((host, port), _SERVER_WAIT_S) as peer:
        peer.settimeout(GREETING_TIMEOUT_S)
        unpack_challenge(peer.recv(CHALLENGE_SIZE, socket.MSG_WAITALL))


def _check_rights(config: NodeConfig, _paths: NodePaths) -> Iterator[Finding]:
    mode = _in_child(_granted_rights, config.realtime)
    missing = [
        name
        for name, wanted in (("fifo", config.realtime.priority > 0), ("mlock", True))
        if wanted and name not in mode
    ]
    if missing:
        mend = "give the service LimitRTPRIO=99 and LimitMEMLOCK=infinity, or run as root"
        text = f"releases would be timed with {mode}: {' and '.join(missing)} refused"
        yield Finding("rights", Verdict.WARNING, text, mend)
    else:
        yield Finding("rights", Verdict.OK, f"releases are timed with {mode}")


def _granted_rights(wanted: Any, pipe: Any) -> None:
    pipe.send(str(take_rights(wanted)))


def _in_child(target: Callable[..., None], argument: Any) -> str:
    """Run in a process of its own: rights that are taken stay with a process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=target, args=(argument, theirs))
    child.start()
    answer = ours.recv()
    child.join()
    return str(answer)


def _check_clock(config: NodeConfig, _paths: NodePaths) -> Iterator[Finding]:
    return judge_clock(config.clock, config.ptp)


def _check_disk(config: NodeConfig, paths: NodePaths) -> Iterator[Finding]:
    try:
        paths.make()
    except OSError as error:
        mend = "choose another `state` folder in node.toml, or give this user the right to write"
        yield Finding("disk", Verdict.FAILED, f"{paths.state}: {error}", mend)
        return
    free_mb = shutil.disk_usage(paths.state).free // _MEGABYTE
    text = f"{free_mb} MB free for a spool of up to {config.spool_limit_mb} MB"
    if free_mb < config.spool_limit_mb:
        mend = "free some, or lower spool_limit_mb in node.toml"
        yield Finding("disk", Verdict.WARNING, text, mend)
    else:
        yield Finding("disk", Verdict.OK, text)


def _check_cameras(config: NodeConfig, paths: NodePaths) -> Iterator[Finding]:
    for camera in config.camera:
        point = f"camera {camera.name}"
        buffers = make_buffers(camera) if needs_buffers(camera) else None
        try:
            open_camera(camera, paths.folder, buffers, config.sensor_mode).close()
        except TuttiError as error:
            mend = error.hint or "if an agent runs already, it holds the camera"
            yield Finding(point, Verdict.FAILED, str(error), mend)
        else:
            yield Finding(point, Verdict.OK, f"{camera.backend} opens")
        finally:
            if buffers is not None:
                os.close(buffers)


def _check_encoder(config: NodeConfig, _paths: NodePaths) -> Iterator[Finding]:
    for camera in config.camera:
        took_ms = _encode_some(camera)
        text = f"{camera.width}x{camera.height} takes {took_ms:.1f} ms a picture"
        yield Finding(f"encoder {camera.name}", Verdict.OK, text)


def _encode_some(camera: NodeCamera) -> float:
    encoder = Encoder(camera.width, camera.height, _ENCODER_RATE, camera.bitrate_kbps)
    picture = VideoFrame(camera.width, camera.height, "yuv420p")
    begun = time.monotonic()
    for slot in range(_ENCODER_PICTURES):
        encoder.encode(picture, slot, key=slot == 0)
    return (time.monotonic() - begun) * 1000 / _ENCODER_PICTURES


_CHECKS: dict[str, Check] = {
    "keys": _check_keys,
    "network": _check_network,
    "server": _check_server,
    "streams": _check_streams,
    "rights": _check_rights,
    "clock": _check_clock,
    "disk": _check_disk,
    "cameras": _check_cameras,
    "encoder": _check_encoder,
}
