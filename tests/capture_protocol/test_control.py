import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_protocol import AgentState, InputError, LockState
from capture_protocol.control import (
    Ack,
    AgentMessage,
    CameraHealth,
    Drained,
    Durable,
    EventLog,
    EventLogStored,
    Heartbeat,
    Register,
    Registered,
    Sealed,
    ServerMessage,
    Spooled,
    pack_message,
    unpack_agent_message,
    unpack_server_message,
)

AGENT: list[AgentMessage] = [
    Register(
        node="pi1",
        software="1",
        cameras=["a"],
        state=AgentState.IDLE,
        datagram_host="10.0.0.2",
        datagram_port=9,
        spooled=[Spooled(session=3, camera="a", first_slot=0, last_slot=9)],
    ),
    Heartbeat(
        node="pi1",
        state=AgentState.CAPTURING,
        session=3,
        cameras=[CameraHealth(camera="a", lock=LockState.LOCKED, phase_error_ns=-12)],
        refused={"forged": 2},
    ),
    Ack(node="pi1", of="start", session=3, accepted=False, reason="busy"),
    Drained(node="pi1", camera="a", session=3, frames=9, last_slot=8),
    EventLog(node="pi1", camera="a", stage="capture", session=3, first_number=1, final=True),
]
SERVER: list[ServerMessage] = [
    Registered(start="00ff", discard=[1, 2]),
    Durable(session=3, camera="a", next_slot=300),
    EventLogStored(session=3, camera="a", stage="stream", next_number=77),
    Sealed(session=3, complete=True),
]


@pytest.mark.parametrize("message", AGENT)
def test_agent_messages_survive(message: AgentMessage) -> None:
    assert unpack_agent_message(pack_message(message)) == message


@pytest.mark.parametrize("message", SERVER)
def test_server_messages_survive(message: ServerMessage) -> None:
    assert unpack_server_message(pack_message(message)) == message


@given(st.binary(max_size=100))
def test_garbage_is_an_input_error(data: bytes) -> None:
    with pytest.raises(InputError):
        unpack_agent_message(data)
    with pytest.raises(InputError):
        unpack_server_message(data)


def test_each_side_refuses_the_others_messages() -> None:
    with pytest.raises(InputError):
        unpack_agent_message(pack_message(SERVER[0]))
    with pytest.raises(InputError):
        unpack_server_message(pack_message(AGENT[0]))
