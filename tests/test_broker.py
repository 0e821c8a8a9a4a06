"""What a broker has to promise, and what it hands over."""

import inspect

import pytest

from triows._broker import (
    Broker,
    BrokerSession,
    Listener,
    Message,
    Position,
    PresenceEvent,
    Replay,
    is_after,
)


@pytest.mark.parametrize(
    ("position", "floor", "answer"),
    [
        (None, None, True),
        (None, Position("e", 1), True),
        (Position("e", 1), None, True),
        (Position("e", 1), Position("e", 1), False),
        (Position("e", 2), Position("e", 1), True),
        (Position("new", 1), Position("e", 9), True),
    ],
)
def test_is_after(position: Position | None, floor: Position | None, *, answer: bool) -> None:
    """A message is later if it has a greater offset, or if that cannot be told."""
    assert answer == is_after(position, floor)


def test_the_start_of_a_replay() -> None:
    """It stands before its first message, also where there is none."""
    at = Position("e", 7)
    messages = [Message("t", "", position=Position("e", offset)) for offset in (4, 6, 7)]

    assert Position("e", 3) == Replay(messages, at, is_complete=False).start
    assert at == Replay([], at, is_complete=True).start


def test_what_waits_for_a_slow_subscription() -> None:
    """Messages and events have a size, and events are about their member."""
    assert 2 == Message("t", "ä").size
    assert not Message("t", "ä").is_ordered
    assert Message("t", "ä", position=Position("e", 1)).is_ordered
    event = PresenceEvent("t", "join", "id", None)
    assert ("id", 2, False) == (event.key, event.size, event.is_ordered)


@pytest.mark.parametrize(
    "method",
    [
        value
        for cls in (Broker, BrokerSession, Listener)
        for name, value in vars(cls).items()
        if inspect.isfunction(value) and not name.startswith("_")
    ],
    ids=lambda method: method.__qualname__,
)
def test_promises_are_documented(method: object) -> None:
    """Whoever writes a broker finds what each method has to guarantee."""
    assert inspect.getdoc(method)


def test_interfaces() -> None:
    """A broker that lacks a method is none."""
    for cls in (Broker, BrokerSession):
        with pytest.raises(TypeError, match="abstract"):
            cls()  # type: ignore[abstract]
