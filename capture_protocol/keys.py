"""The rig's secrets: one HMAC key for datagrams and streams, one CURVE key pair per party."""

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

import zmq

from capture_protocol.errors import InputError
from capture_protocol.publish import publish_text

RIG_KEY_NAME = "rig.key"
SERVER_PUBLIC_NAME = "server.public"
SECRET_MODE = 0o600
_Z85_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE25519 key pair in Z85 text (ZeroMQ RFC 26)."""

    public: str
    secret: str


def make_rig_key() -> str:
    """A new rig secret: 32 random bytes in hex."""
    return secrets.token_hex(32)


def make_pair() -> KeyPair:
    """A new CURVE key pair."""
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def write_secret(path: Path, text: str) -> None:
    """Publish a secret that only its owner can read."""
    publish_text(path, text + "\n", mode=SECRET_MODE)


def write_public(path: Path, text: str) -> None:
    """Publish a public key."""
    publish_text(path, text + "\n")


def read_rig_key(path: Path) -> bytes:
    """The rig secret of a file.

    Raises:
        InputError: missing, or not a rig key.
    """
    text = _read(path)
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise InputError(f"{path} holds no rig key", hint="copy it anew from the server's keys/")
    return bytes.fromhex(text)


def read_curve_key(path: Path) -> str:
    """A public or secret CURVE key of a file.

    Raises:
        InputError: missing, or not a CURVE key.
    """
    text = _read(path)
    if not _Z85_KEY.fullmatch(text):
        raise InputError(f"{path} holds no CURVE key", hint="copy it anew from the server's keys/")
    return text


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        raise InputError(
            f"key file {path} is missing", hint="make it with: manager init"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"key file {path} cannot be read: {error}") from error
