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
