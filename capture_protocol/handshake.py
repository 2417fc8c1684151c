"""How an agent opens one stream connection, before the first byte of video.

Four fixed messages over TCP, then the NUT stream::

    server → agent   CHALLENGE  magic, version, 16 random bytes
    agent  → server  HELLO      rig id, session, camera, HMAC over challenge and these
    server → agent   WELCOME    verdict, resume slot (first slot the server has not durable)
    agent  → server  BEGIN      first slot that follows (a key frame not after the resume slot)

The challenge makes a recorded HELLO worthless; a peer without the rig's key gets no segmenter.
"""

import enum
import hmac
import struct
from dataclasses import dataclass

from capture_protocol.errors import InputError, TuttiError

HANDSHAKE_VERSION = 1
TIMEOUT_S = 5.0
"""Each side waits this long for the other's next message."""
GREETING_TIMEOUT_S = 15.0
"""The agent waits this long for CHALLENGE: systemd starts a segmenter for the connection, and a
busy server may start one for every camera at once. Hanging up early would make it start another."""

_MAGIC = b"TUTS"
_CHALLENGE = struct.Struct(">4sB16s")
_HELLO = struct.Struct(">16sIH32s")
_WELCOME = struct.Struct(">BQ")
_BEGIN = struct.Struct(">Q")

CHALLENGE_SIZE = _CHALLENGE.size
HELLO_SIZE = _HELLO.size
WELCOME_SIZE = _WELCOME.size
BEGIN_SIZE = _BEGIN.size


class Verdict(enum.IntEnum):
    """The server's answer to a HELLO."""

    ACCEPTED = 0
    NO_SUCH_SESSION = 1
    NO_SUCH_CAMERA = 2
    FORGED = 3
    BUSY = 4  # this camera already has a connection
    COMPLETE = 5  # everything of this camera is durable: nothing to send
    STORAGE = 6  # the server cannot write (disk full)


class HandshakeError(TuttiError):
    """The peer does not speak the handshake, or refused."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What an agent wants to stream."""

    rig_id: bytes
    session: int
    camera: int


def pack_challenge(nonce: bytes) -> bytes:
    """CHALLENGE with 16 random bytes."""
    return _CHALLENGE.pack(_MAGIC, HANDSHAKE_VERSION, nonce)


def unpack_challenge(data: bytes) -> bytes:
    """The nonce of a CHALLENGE.

    Raises:
        HandshakeError: not our server, or another version of it.
    """
    magic, version, nonce = _CHALLENGE.unpack(data)
    if magic != _MAGIC:
        raise HandshakeError("the peer on the stream port is not a segmenter")
    if version != HANDSHAKE_VERSION:
        raise HandshakeError(f"the segmenter speaks version {version}, not {HANDSHAKE_VERSION}")
    return bytes(nonce)


def pack_hello(hello: Hello, nonce: bytes, key: bytes) -> bytes:
    """HELLO, signed with the rig's key over the server's nonce."""
    tag = _hello_tag(hello, nonce, key)
    return _HELLO.pack(hello.rig_id, hello.session, hello.camera, tag)


def unpack_hello(data: bytes, nonce: bytes, key: bytes) -> Hello:
    """A HELLO whose signature holds.

    Raises:
        InputError: the signature does not belong to this nonce and the rig's key.
    """
    rig_id, session, camera, tag = _HELLO.unpack(data)
    hello = Hello(rig_id, session, camera)
    if not hmac.compare_digest(tag, _hello_tag(hello, nonce, key)):
        raise InputError("HELLO with a wrong signature")
    return hello


def pack_welcome(verdict: Verdict, resume_slot: int = 0) -> bytes:
    """WELCOME."""
    return _WELCOME.pack(verdict, resume_slot)


def unpack_welcome(data: bytes) -> tuple[Verdict, int]:
    """Verdict and resume slot of a WELCOME."""
    verdict, resume_slot = _WELCOME.unpack(data)
    try:
        return Verdict(verdict), resume_slot
    except ValueError as error:
        raise HandshakeError(f"unknown verdict {verdict} from the segmenter") from error


def pack_begin(first_slot: int) -> bytes:
    """BEGIN."""
    return _BEGIN.pack(first_slot)


def unpack_begin(data: bytes) -> int:
    """First slot of the stream that follows."""
    (first_slot,) = _BEGIN.unpack(data)
    return int(first_slot)


def _hello_tag(hello: Hello, nonce: bytes, key: bytes) -> bytes:
    signed = nonce + hello.rig_id + struct.pack(">IH", hello.session, hello.camera)
    return hmac.digest(key, signed, "sha256")
