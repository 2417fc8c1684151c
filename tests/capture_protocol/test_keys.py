from pathlib import Path

import pytest

from capture_protocol import InputError
from capture_protocol.keys import (
    make_pair,
    make_rig_key,
    read_curve_key,
    read_rig_key,
    write_public,
    write_secret,
)


def test_keys_are_read_back_and_secrets_are_private(tmp_path: Path) -> None:
    pair, rig_key = make_pair(), make_rig_key()
    write_secret(tmp_path / "secret", pair.secret)
    write_public(tmp_path / "public", pair.public)
    write_secret(tmp_path / "rig", rig_key)
    assert read_curve_key(tmp_path / "secret") == pair.secret
    assert read_curve_key(tmp_path / "public") == pair.public
    assert read_rig_key(tmp_path / "rig") == bytes.fromhex(rig_key)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "short", "g" * 64, "\u00fc" * 40])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(InputError):
        read_rig_key(path)
    with pytest.raises(InputError):
        read_curve_key(path)


def test_a_missing_key_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_rig_key(tmp_path / "none")
    assert "manager init" in caught.value.hint
