"""What members that joined with an envelope are sent."""

import json

import pytest

from triows._broker import Message, Position, PresenceEvent
from triows._channels._envelope import joined_frame, message_frame, presence_frame

AT = Position("e", 7)


@pytest.mark.parametrize("recovered", [True, False])
def test_joined(*, recovered: bool) -> None:
    """The first frame says where the member stands, and whether nothing is missing."""
    frame = joined_frame("t", AT, recovered=recovered)

    expected = {"topic": "t", "joined": True, "epoch": "e", "offset": 7, "recovered": recovered}
    assert expected == json.loads(frame)


def test_joined_without_history() -> None:
    """A topic without history has no positions."""
    frame = json.loads(joined_frame("t", None, recovered=False))

    assert (None, None) == (frame["epoch"], frame["offset"])


@pytest.mark.parametrize(
    ("message", "body"),
    [
        (Message("t", "text", position=AT), {"data": "text"}),
        (Message("t", '"text"', position=AT), {"data": '"text"'}),
        (Message("t", '{"a":[1]}', is_json=True, position=AT), {"data": {"a": [1]}}),
        (Message("t", b"\x00\xff", position=AT), {"base64": "AP8="}),
        (Message("t", "", position=AT), {"data": ""}),
    ],
)
def test_message(message: Message, body: dict[str, object]) -> None:
    """JSON is itself, text a string, binary base64."""
    assert {"topic": "t", "epoch": "e", "offset": 7, **body} == json.loads(message_frame(message))


def test_presence() -> None:
    """Who came, or went, and what it told of itself."""
    frame = presence_frame(PresenceEvent("t", "join", "id", {"name": "joe"}))

    expected = {"topic": "t", "presence": "join", "member": "id", "data": {"name": "joe"}}
    assert expected == json.loads(frame)
