"""How messages and presence events look in Redis.

A message on a topic's channel is `m`, its epoch and offset if it has some, a line feed, and the
rest in msgpack, which is also what its stream has of it. A presence event is `pj` or `pl`, the
member, a line feed, and what it told in JSON.

Anybody may write there: whoever reads is ready for any exception.
"""

from typing import Any, Literal

import msgspec

from triows._broker import Message, Position, PresenceEvent
from triows._codecs import check_json, decode_json

_KINDS: dict[bytes, Literal["join", "leave"]] = {b"pj": "join", b"pl": "leave"}

# The data, which is text or binary, `id`, `is_json`, `key` and `exclude`.
_decoder = msgspec.msgpack.Decoder(tuple[Any, str, bool, str | None, str | None])


def make_position(epoch: bytes, offset: int) -> Position:
    """Return a position, as Redis tells it."""
    return Position(str(epoch, "ascii"), offset)


def encode_message(message: Message) -> bytes:
    """Return all of a message but its topic and position.

    Raises:
        TypeError: Nobody could read it.
    """
    for told in (message.key, message.exclude):
        if not isinstance(told, str | None):
            raise TypeError(f"a message's key is a text or None, not {told!r}")
    return msgspec.msgpack.encode(
        (message.data, message.id, message.is_json, message.key, message.exclude)
    )


def decode_message(topic: str, body: bytes, position: Position | None) -> Message:
    """Return the message that was encoded."""
    data, name, is_json, key, exclude = _decoder.decode(body)
    if not isinstance(data, str | bytes):
        raise msgspec.ValidationError(f"its data is {type(data).__name__}")
    if is_json and isinstance(data, str):
        # In a frame it stands as it is, and would break it.
        check_json(data)
    return Message(topic, data, name, is_json, key=key, exclude=exclude, position=position)


def decode_payload(topic: str, payload: bytes) -> Message | PresenceEvent:
    """Return what was published to a topic's channel."""
    head, _, rest = payload.partition(b"\n")
    if head.startswith(b"m"):
        return decode_message(topic, rest, _decode_position(head[1:]))
    kind = _KINDS.get(head[:2])
    if kind is None:
        raise ValueError(f"it begins with {head[:2]!r}")
    return PresenceEvent(topic, kind, str(head[2:], "utf-8"), decode_json(rest))


def _decode_position(head: bytes) -> Position | None:
    if not head:
        return None
    epoch, _, offset = head.partition(b" ")
    return make_position(epoch, int(offset))
