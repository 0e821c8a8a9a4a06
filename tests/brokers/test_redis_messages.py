"""What is written to Redis, and read again by whoever hears it."""

from typing import Any

import msgspec
import pytest

from triows._broker import Message, Position, PresenceEvent
from triows._errors import InvalidMessage
from triows.brokers._redis_messages import decode_message, decode_payload, encode_message


@pytest.mark.parametrize(
    "message",
    [
        Message("t", "text ü", "1", exclude="x", key="k"),
        Message("t", b"\x00\n\xff", "2"),
        Message("t", "null", "3", is_json=True),
    ],
)
def test_messages(message: Message) -> None:
    """All but the topic is there again, with a position and without."""
    at = Position("e", 5)
    placed = decode_payload("t", b"me 5\n" + encode_message(message))

    assert message == decode_payload("t", b"m\n" + encode_message(message))
    assert isinstance(placed, Message)
    assert (message.data, at) == (placed.data, placed.position)
    assert placed == decode_message("t", encode_message(message), at)


def test_events() -> None:
    """They are a kind, a member, and JSON."""
    assert PresenceEvent("t", "join", "ä", [1]) == decode_payload("t", "pjä\n[1]".encode())
    assert PresenceEvent("t", "leave", "a", None) == decode_payload("t", b"pla\nnull")


@pytest.mark.parametrize("told", [{"key": 7}, {"key": b"k"}, {"exclude": 7}], ids=repr)
def test_keys_that_are_none(told: dict[str, Any]) -> None:
    """Nothing is written that nobody could read."""
    with pytest.raises(TypeError, match="a text or None, not"):
        encode_message(Message("t", "", **told))


@pytest.mark.parametrize("data", [None, 1, 1.5, True, ["text"], {"text": "text"}], ids=repr)
def test_data_that_is_none(data: object) -> None:
    """Only text and binary is, though what it stands in looks like a message of ours."""
    body = msgspec.msgpack.encode((data, "id", False, None, None))
    with pytest.raises(msgspec.ValidationError, match="its data is"):
        decode_message("t", body, None)


@pytest.mark.parametrize("data", ["", "{", '"\x01"', "1 2"], ids=repr)
def test_json_that_is_none(data: object) -> None:
    """It would break the frame in which it stands as it is."""
    body = msgspec.msgpack.encode((data, "id", True, None, None))
    with pytest.raises(InvalidMessage, match="not JSON"):
        decode_message("t", body, None)


@pytest.mark.parametrize("payload", [b"", b"hello", b"m\nhello", b"mx\n", b"pjx\n{", b"me 1\n\x92"])
def test_what_is_no_message(payload: bytes) -> None:
    """That is an error of one kind or another."""
    with pytest.raises((ValueError, msgspec.DecodeError, InvalidMessage)):
        decode_payload("t", payload)
