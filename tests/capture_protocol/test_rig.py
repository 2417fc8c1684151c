from fractions import Fraction
from pathlib import Path

import pytest

from capture_protocol import InputError, load_node, load_rig, node_config

MINIMAL = """
name = "lab"
id = "00112233445566778899aabbccddeeff"
[[node]]
name = "pi1"
[[node.camera]]
name = "left"
[[node.camera]]
name = "right"
[[node]]
name = "pi2"
clock = "ntp"
[[node.camera]]
name = "top"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "rig.toml"
    path.write_text(text)
    return path


def test_a_minimal_rig_has_defaults(tmp_path: Path) -> None:
    rig = load_rig(write(tmp_path, MINIMAL))
    assert [(i, node.name, camera.name) for i, node, camera in rig.cameras()] == [
        (0, "pi1", "left"),
        (1, "pi1", "right"),
        (2, "pi2", "top"),
    ]
    assert rig.session.frame_rate == Fraction(30)
    assert rig.session.segment_slots == 300
    assert len(rig.rig_id) == 16


def test_a_node_gets_its_own_cameras_and_ports(tmp_path: Path) -> None:
    rig = load_rig(write(tmp_path, MINIMAL))
    node = node_config(rig, "pi2")
    assert [(camera.name, camera.index) for camera in node.camera] == [("top", 2)]
    assert node.camera[0].stream_port == rig.server.stream_port + 2
    assert node.clock == "ntp"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (('name = "lab"', 'name = "La b"'), "name"),
        (("0011", "00zz"), "id"),
        (('"right"', '"left"'), "unique: left"),
        (('clock = "ntp"', 'clock = "sundial"'), "clock"),
        (('clock = "ntp"', 'colour = "blue"'), "colour"),
        (('[[node]]\nname = "pi2"', '[session]\nrate = "fast"\n[[node]]\nname = "pi2"'), "fast"),
        (
            ('[[node]]\nname = "pi2"', '[server]\ncontrol_port = 7711\n[[node]]\nname = "pi2"'),
            "port",
        ),
        (
            ('[[node]]\nname = "pi2"', '[server]\nstream_port = 65534\n[[node]]\nname = "pi2"'),
            "room",
        ),
        (("[[node]]", "[[node"), "cannot be read"),
        (('clock = "ntp"', 'static_address = "10.0.0.7"'), "prefix"),
        (('clock = "ntp"', 'static_address = "10.0.0.7/24"'), "address 127.0.0.1 is not"),
        (('clock = "ntp"', 'interface = "eth0; reboot"'), "interface"),
        (('clock = "ntp"', 'overlays = ["imx708\\nboot"]'), "overlays"),
        (('[[node]]\nname = "pi2"', '[deploy]\nuser = "Root"\n[[node]]\nname = "pi2"'), "user"),
        (('[[node]]\nname = "pi2"', '[deploy]\ngateway = "x"\n[[node]]\nname = "pi2"'), "gateway"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    old, new = change
    assert old in MINIMAL
    with pytest.raises(InputError, match=complaint):
        load_rig(write(tmp_path, MINIMAL.replace(old, new, 1)))


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_node(tmp_path / "node.toml")
    assert "manager init" in caught.value.hint


SENSOR_MODE = """
[[sensor_mode]]
name = "ov9281-1280"
width = 1280
rows = 800
line_time_ns = 9100.0
shortest_lines = 910
vblank_delay = 2
global_shutter = true
"""


def test_a_sensor_mode_of_the_rig_reaches_every_node(tmp_path: Path) -> None:
    rig = load_rig(write(tmp_path, MINIMAL + SENSOR_MODE))
    for name in ("pi1", "pi2"):
        (mode,) = node_config(rig, name).sensor_mode
        assert (mode.name, mode.shortest_lines, mode.global_shutter) == ("ov9281-1280", 910, True)
        assert (mode.longest_lines, mode.exposure_margin_lines) == (65_535, 48)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("shortest_lines = 910", "shortest_lines = 700"), "rows <= shortest_lines"),
        (("line_time_ns = 9100.0", "line_time_ns = 9.1"), "line_time_ns"),
        (("rows = 800", "rows = 800\ncolour = true"), "colour"),
        (("[[sensor_mode]]", SENSOR_MODE + "[[sensor_mode]]"), "unique: ov9281-1280"),
    ],
)
def test_an_impossible_sensor_mode_is_named(
    tmp_path: Path, change: tuple[str, str], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        load_rig(write(tmp_path, MINIMAL + SENSOR_MODE.replace(*change, 1)))


def test_a_nodes_part_in_ptp_is_handed_on(tmp_path: Path) -> None:
    text = MINIMAL.replace('clock = "ntp"', 'ptp = { role = "grandmaster", domain = 7 }')
    rig = load_rig(write(tmp_path, text))
    assert (node_config(rig, "pi1").ptp.role, node_config(rig, "pi2").ptp.role) == (
        "follower",
        "grandmaster",
    )
    assert node_config(rig, "pi2").ptp.domain == 7
    with pytest.raises(InputError, match="role"):
        load_rig(write(tmp_path, text.replace("grandmaster", "boss")))
