import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_protocol.errors import InputError
from capture_protocol.handshake import (
    BEGIN_SIZE,
    CHALLENGE_SIZE,
    HELLO_SIZE,
    WELCOME_SIZE,
    HandshakeError,
    Hello,
    Verdict,
    pack_begin,
    pack_challenge,
    pack_hello,
    pack_welcome,
    unpack_begin,
    unpack_challenge,
    unpack_hello,
    unpack_welcome,
)

KEY, NONCE = b"k" * 32, bytes(range(16))
hellos = st.builds(
    Hello,
    rig_id=st.binary(min_size=16, max_size=16),
    session=st.integers(0, 2**32 - 1),
    camera=st.integers(0, 2**16 - 1),
)


@given(hellos, st.sampled_from(Verdict), st.integers(0, 2**63))
def test_all_four_messages_survive(hello: Hello, verdict: Verdict, slot: int) -> None:
    challenge, signed = pack_challenge(NONCE), pack_hello(hello, NONCE, KEY)
    assert unpack_challenge(challenge) == NONCE
    assert unpack_hello(signed, NONCE, KEY) == hello
    assert unpack_welcome(pack_welcome(verdict, slot)) == (verdict, slot)
    assert unpack_begin(pack_begin(slot)) == slot
    sizes = (len(challenge), len(signed), len(pack_welcome(verdict)), len(pack_begin(slot)))
    assert sizes == (CHALLENGE_SIZE, HELLO_SIZE, WELCOME_SIZE, BEGIN_SIZE)


@given(hellos)
def test_a_hello_holds_for_its_own_challenge_and_key_only(hello: Hello) -> None:
    signed = pack_hello(hello, NONCE, KEY)
    with pytest.raises(InputError):
        unpack_hello(signed, bytes(16), KEY)
    with pytest.raises(InputError):
        unpack_hello(signed, NONCE, b"x" * 32)


@pytest.mark.parametrize("data", [bytes(CHALLENGE_SIZE), b"TUTS\x09" + bytes(16)])
def test_a_foreign_challenge_is_refused(data: bytes) -> None:
    with pytest.raises(HandshakeError):
        unpack_challenge(data)


def test_an_unknown_verdict_is_refused() -> None:
    with pytest.raises(HandshakeError):
        unpack_welcome(b"\xee" + bytes(8))
