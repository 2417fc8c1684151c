"""START and STOP: the two signed UDP datagrams that steer a rig.

Fixed layout, big-endian: magic, version, kind, rig id, time of issue, the body of the kind, and
HMAC-SHA256 over all that precedes it. A datagram is repeated byte for byte until every agent has
acknowledged it, so acting on it must be idempotent. Replays are refused by three rules: an old
time of issue, a START for a session that is not newer than the last one, a STOP for a session that
is not running.
"""

import enum
import hmac
import struct
from dataclasses import dataclass
from fractions import Fraction

from capture_protocol.errors import InputError
from capture_protocol.grid import MAX_RATE_HZ, Grid

DATAGRAM_VERSION = 2
FRESH_NS = 30_000_000_000
"""A datagram issued longer ago, or further in the future, is stale. Late agents get theirs
through the control link, which is encrypted and knows what runs."""

_MAGIC = b"TUTI"
_HEAD = struct.Struct(">4sBB2x16sQ")  # magic, version, kind, rig id, issued_ns
# session, t0_ns, rate num, rate den, gop, flags, segment_slots, slots
_START = struct.Struct(">IQIIHHIQ")
_STOP = struct.Struct(">IQ")  # session, last slot
_TAG_SIZE = 32


class DatagramKind(enum.IntEnum):
    """What a datagram asks for."""

    START = 1
    STOP = 2


class StartFlag(enum.IntFlag):
    """Options of a START."""

    NONE = 0
    FORCED = 1  # preflight failed and the operator insisted: mark every frame


class Refusal(enum.StrEnum):
    """Why a datagram had no effect; agents count them and report the counts."""

    MALFORMED = "malformed"
    VERSION = "version"
    OTHER_RIG = "other_rig"
    FORGED = "forged"
    STALE = "stale"
    REPLAYED = "replayed"
    WRONG_SESSION = "wrong_session"
    BUSY = "busy"


class DatagramError(InputError):
    """A datagram that must not be acted on."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"datagram refused: {refusal}")
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Start:
    """Record session ``session`` on the grid t0 + n·Δ."""

    session: int
    t0_ns: int
    rate: Fraction
    gop: int
    """Slots per group of pictures: every camera makes a key frame at n % gop = 0."""
    segment_slots: int
    """Slots per segment file, a multiple of `gop`."""
    flags: StartFlag = StartFlag.NONE
    slots: int = 0
    """Slots to record; 0: until a STOP, which may also come earlier than they end."""

    @property
    def last_slot(self) -> int | None:
        """The last slot, as far as the START tells."""
        return self.slots - 1 if self.slots else None

    @property
    def grid(self) -> Grid:
        """The session's grid on the rig's UTC."""
        return Grid(self.t0_ns, self.rate)


@dataclass(frozen=True, slots=True)
class Stop:
    """End session ``session`` on all cameras with slot ``last_slot``."""

    session: int
    last_slot: int


@dataclass(frozen=True, slots=True)
class DatagramCodec:
    """Signs and checks the datagrams of one rig."""

    rig_id: bytes
    """The rig's 16 bytes; two rigs on one network do not hear each other."""
    key: bytes
    """The rig's secret."""

    def encode(self, message: Start | Stop, issued_ns: int) -> bytes:
        """The signed datagram."""
        if isinstance(message, Start):
            kind, body = DatagramKind.START, _pack_start(message)
        else:
            kind, body = DatagramKind.STOP, _STOP.pack(message.session, message.last_slot)
        signed = _HEAD.pack(_MAGIC, DATAGRAM_VERSION, kind, self.rig_id, issued_ns) + body
        return signed + self._tag(signed)

    def decode(self, data: bytes, now_ns: int | None) -> Start | Stop:
        """The message of a datagram.

        Args:
            data: what came from the network.
            now_ns: UTC, to refuse stale datagrams; None where the way it came vouches for it.

        Raises:
            DatagramError: with the reason; nothing in the datagram may be used.
        """
        kind, issued_ns = self._check_head(data)
        signed, tag = data[:-_TAG_SIZE], data[-_TAG_SIZE:]
        if not hmac.compare_digest(tag, self._tag(signed)):
            raise DatagramError(Refusal.FORGED)
        if now_ns is not None and abs(now_ns - issued_ns) > FRESH_NS:
            raise DatagramError(Refusal.STALE)
        body = signed[_HEAD.size :]
        return _unpack_start(body) if kind == DatagramKind.START else Stop(*_STOP.unpack(body))

    def _check_head(self, data: bytes) -> tuple[int, int]:
        if len(data) < _HEAD.size + _TAG_SIZE:
            raise DatagramError(Refusal.MALFORMED)
        magic, version, kind, rig_id, issued_ns = _HEAD.unpack_from(data)
        if magic != _MAGIC:
            raise DatagramError(Refusal.MALFORMED)
        if version != DATAGRAM_VERSION:
            raise DatagramError(Refusal.VERSION)
        if rig_id != self.rig_id:
            raise DatagramError(Refusal.OTHER_RIG)
        if len(data) != _HEAD.size + _BODY_SIZES.get(kind, -1) + _TAG_SIZE:
            raise DatagramError(Refusal.MALFORMED)
        return kind, issued_ns

    def _tag(self, signed: bytes) -> bytes:
        return hmac.digest(self.key, signed, "sha256")


_BODY_SIZES = {DatagramKind.START: _START.size, DatagramKind.STOP: _STOP.size}


def _pack_start(start: Start) -> bytes:
    return _START.pack(
        start.session,
        start.t0_ns,
        start.rate.numerator,
        start.rate.denominator,
        start.gop,
        start.flags,
        start.segment_slots,
        start.slots,
    )


def _unpack_start(body: bytes) -> Start:
    session, t0_ns, num, den, gop, flags, segment_slots, slots = _START.unpack(body)
    if den == 0 or not 0 < Fraction(num, den) <= MAX_RATE_HZ or gop == 0 or segment_slots == 0:
        raise DatagramError(Refusal.MALFORMED)
    return Start(session, t0_ns, Fraction(num, den), gop, segment_slots, StartFlag(flags), slots)
