"""The rig that the fleet is going to be: a folder as `manager init` makes it."""

from pathlib import Path

from capture_protocol.publish import publish_text
from capture_protocol.rig import CameraConfig, NodeEntry, RigConfig
from control_server.rig.place import RigPlace
from control_server.rig.setup import RigWish, config_text, set_up
from deploy.fleet.base import USER
from deploy.fleet.fleet import SERVER, Fleet

INTERFACE = "host0"
_WIDTH, _HEIGHT = 640, 480


def make_rig(fleet: Fleet, folder: Path, domain: int = 0) -> RigPlace:
    """Write the rig's folder: one simulated camera per node, whose pictures show the true time.

    Args:
        fleet: its machines.
        folder: of the rig.
        domain: of PTP; rigs that share a network need different ones.
    """
    addresses = fleet.addresses()
    server = addresses.pop(SERVER)
    wish = RigWish(
        name=fleet.folder.name,
        nodes=len(addresses),
        address=server,
        node_addresses=tuple(addresses.values()),
        fleet=True,
    )
    place, _ = set_up(folder, wish)
    publish_text(place.path, config_text(_adapted(place.config, domain)))
    return set_up(folder, wish)[0]


def _adapted(config: RigConfig, domain: int) -> RigConfig:
    deploy = config.deploy.model_copy(update={"user": USER, "operators": [USER], "ntp_servers": []})
    nodes = [_adapted_node(node, domain) for node in config.node]
    return config.model_copy(update={"deploy": deploy, "node": nodes})


def _adapted_node(node: NodeEntry, domain: int) -> NodeEntry:
    cameras = [_adapted_camera(camera) for camera in node.camera]
    ptp = node.ptp.model_copy(update={"domain": domain})
    return node.model_copy(update={"interface": INTERFACE, "ptp": ptp, "camera": cameras})


def _adapted_camera(camera: CameraConfig) -> CameraConfig:
    # The light in a camera knows nothing of its node's clock: the kernel's time is the true one.
    options = camera.options | {"true_time": "kernel", "mode": "imx708-1536"}
    return camera.model_copy(update={"width": 320, "height": 240, "options": options})
