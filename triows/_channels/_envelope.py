"""What members that joined with an envelope are sent: JSON texts that say what they are.

- `{"topic", "joined": true, "epoch", "offset", "recovered"}` comes first, and again whenever
  messages may have been missed, or, by those who are present, who came and went. `offset` is
  where the member stands: the next message has the one after it. A topic without history has
  neither, they are null.
- `{"topic", "epoch", "offset", "data"}` is a message. JSON that was published is `data` itself,
  text is a string. Binary comes as `base64` in its place.
- `{"topic", "presence": "join" | "leave", "member", "data"}` goes to those who are present.
"""

from base64 import b64encode
from typing import Any

import msgspec

from triows._broker import Message, Position, PresenceEvent
from triows._codecs import encode_json


def joined_frame(topic: str, position: Position | None, *, recovered: bool) -> str:
    """Return the first frame, or the one that tells of a gap."""
    return encode_json({"topic": topic, "joined": True, **_of(position), "recovered": recovered})


def message_frame(message: Message) -> str:
    """Return the frame of a message."""
    return encode_json({"topic": message.topic, **_of(message.position), **_body(message)})


def presence_frame(event: PresenceEvent) -> str:
    """Return the frame of a presence event."""
    return encode_json(
        {
            "topic": event.topic,
            "presence": event.kind,
            "member": event.member,
            "data": event.data,
        }
    )


def _of(position: Position | None) -> dict[str, Any]:
    epoch, offset = position or (None, None)
    return {"epoch": epoch, "offset": offset}


def _body(message: Message) -> dict[str, Any]:
    if isinstance(message.data, bytes):
        return {"base64": b64encode(message.data).decode()}
    return {"data": msgspec.Raw(message.data.encode()) if message.is_json else message.data}
