"""`manager init`: the annotated rig.toml, keys that are kept, bundles that are completed."""

import stat
from pathlib import Path

import pytest

from capture_protocol import InputError, load_node, load_rig
from capture_protocol.keys import read_curve_key, read_rig_key
from control_server.rig.place import RIG_VARIABLE, find_rig
from control_server.rig.setup import RigWish, config_text, rig_text, set_up


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_new_rig_is_whole(tmp_path: Path) -> None:
    place, written = set_up(tmp_path / "rig", RigWish(nodes=2, cameras=2, base_port=9000))
    assert place.path in written
    names = [camera.name for _, _, camera in place.config.cameras()]
    assert names == ["cam0", "cam1", "cam2", "cam3"]
    node = load_node(place.nodes / "node1" / "node.toml")
    assert [(camera.index, camera.stream_port) for camera in node.camera] == [(2, 9012), (3, 9013)]
    assert (node.control_port, node.datagram_port, node.clock) == (9000, 9001, "shared")
    for bundle in ("node0", "node1"):
        folder = place.nodes / bundle
        assert read_rig_key(folder / "rig.key") == place.rig_key
        for name in ("server.public", "node.public", "node.secret"):
            read_curve_key(folder / name)
        assert not (folder / "server.secret").exists()


def test_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    set_up(tmp_path, RigWish(nodes=2))
    secrets = [*tmp_path.rglob("*.secret"), *tmp_path.rglob("rig.key")]
    assert len(secrets) == 3 + 1 + 2 + 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}
    for folder in (tmp_path / "keys", tmp_path / "nodes" / "node0"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_second_run_changes_nothing(tmp_path: Path) -> None:
    set_up(tmp_path, RigWish(nodes=2))
    before = contents(tmp_path)
    set_up(tmp_path, RigWish(nodes=5))
    assert contents(tmp_path) == before


def test_edited_rig_gets_what_is_missing_and_keeps_keys_and_local_settings(tmp_path: Path) -> None:
    place, _ = set_up(tmp_path, RigWish(nodes=1))
    before = contents(tmp_path)
    node = tmp_path / "nodes/node0/node.toml"
    node.write_text(node.read_text().replace('state = "state"', 'state = "/var/lib/tutti"'))
    extra = '\n[[node]]\nname = "attic"\n[[node.camera]]\nname = "door"\n'
    edited = place.path.read_text().replace('address = "127.0.0.1"', 'address = "10.0.0.1"', 1)
    place.path.write_text(edited + extra)
    set_up(tmp_path, RigWish())
    after = contents(tmp_path)
    keys = {name: data for name, data in before.items() if name.startswith("keys/")}
    assert keys.items() <= after.items()
    assert {"keys/attic.secret", "nodes/attic/node.secret"} <= set(after)
    assert load_node(node).server == "10.0.0.1"
    assert load_node(node).state == "/var/lib/tutti"
    assert load_node(tmp_path / "nodes/attic/node.toml").camera[0].stream_port == 7711


def test_half_a_key_pair_is_made_anew(tmp_path: Path) -> None:
    set_up(tmp_path, RigWish())
    (tmp_path / "keys/node0.secret").unlink()
    set_up(tmp_path, RigWish())
    public = read_curve_key(tmp_path / "keys/node0.public")
    assert public == read_curve_key(tmp_path / "nodes/node0/node.public")


def test_wrong_rig_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text("name = 'x'\n")
    with pytest.raises(InputError, match=r"rig\.toml"):
        set_up(tmp_path, RigWish())
    assert list(contents(tmp_path)) == ["rig.toml"]


def test_every_option_of_the_template_is_real_and_has_the_default_it_shows(tmp_path: Path) -> None:
    text = rig_text(RigWish(nodes=2, cameras=2))
    plain, shown = tmp_path / "plain.toml", tmp_path / "shown.toml"
    plain.write_text(text)
    options = [
        line[2:] if line.startswith("# ") and " = " in line and line[2:3].islower() else line
        for line in text.splitlines()
    ]
    shown.write_text("\n".join(options))
    assert sum(a != b for a, b in zip(options, text.splitlines(), strict=True)) >= 18
    assert load_rig(shown) == load_rig(plain)


def test_config_text_is_read_back_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(rig_text(RigWish(nodes=3, cameras=2, address="10.1.2.3")))
    config = load_rig(tmp_path / "a.toml")
    assert config.node[0].clock == "ptp"
    (tmp_path / "b.toml").write_text(config_text(config))
    assert load_rig(tmp_path / "b.toml") == config


def test_rig_is_found_by_option_variable_and_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three"):
        set_up(tmp_path / name, RigWish(name=name))
    monkeypatch.chdir(tmp_path / "three")
    monkeypatch.delenv(RIG_VARIABLE, raising=False)
    assert find_rig(None).config.name == "three"
    monkeypatch.setenv(RIG_VARIABLE, str(tmp_path / "two" / "rig.toml"))
    assert find_rig(None).config.name == "two"
    assert find_rig(tmp_path / "one").config.name == "one"
    with pytest.raises(InputError, match="no rig here") as caught:
        find_rig(tmp_path / "nowhere")
    assert "manager init" in caught.value.hint
