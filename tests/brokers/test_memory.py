"""A broker within one process: what it does beside what every broker promises."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.brokers.listeners import Recorder
from triows._broker import Message, Position, Retention
from triows.brokers import MemoryBroker

KEPT = Retention(3, 60.0)


def texts(messages: Any) -> list[Any]:
    """Return what some messages say."""
    return [message.data for message in messages]


async def test_messages(autojump_clock: MockClock) -> None:
    """Every session that has subscribed has a message when `publish` returns."""
    broker = MemoryBroker()
    one, two = Recorder(), Recorder()
    async with broker.open(one) as here, broker.open(two) as there:
        assert await here.subscribe("t", None) is None
        await there.subscribe("t", None)
        await there.subscribe("other", None)
        receipt = await here.publish(Message("t", "hi", "id", exclude="x"), None)
        await there.unsubscribe("t")
        await here.publish(Message("t", b""), None)

        assert (None, 2) == (receipt.position, receipt.sessions)
        assert ["hi", b""] == texts(one.messages)
        assert [Message("t", "hi", "id", exclude="x")] == two.messages


async def test_history(autojump_clock: MockClock) -> None:
    """The newest messages are kept, each as long as was said."""
    broker = MemoryBroker()
    async with broker.open(Recorder()) as session:
        start = await session.subscribe("t", KEPT)
        assert start is not None
        for i in range(1, 6):
            receipt = await session.publish(Message("t", str(i)), KEPT)
            assert Position(start.epoch, i) == receipt.position

        for offset, kept, is_complete in [
            (0, "345", False),
            (1, "345", False),
            (2, "345", True),
            (4, "5", True),
            (5, "", True),
            (6, "345", False),
        ]:
            replay = await session.replay("t", Position(start.epoch, offset), KEPT)
            assert (list(kept), is_complete) == (texts(replay.messages), replay.is_complete)
            assert Position(start.epoch, 5) == replay.position
        for since in (None, Position("another", 5)):
            replay = await session.replay("t", since, KEPT)
            assert (list("345"), False) == (texts(replay.messages), replay.is_complete)

        await trio.sleep(60)
        replay = await session.replay("t", Position(start.epoch, 5), KEPT)
        assert ([], True) == (texts(replay.messages), replay.is_complete)
        replay = await session.replay("t", Position(start.epoch, 4), KEPT)
        assert ([], False) == (texts(replay.messages), replay.is_complete)


async def test_from_the_beginning(autojump_clock: MockClock) -> None:
    """Everything is complete, as long as nothing was forgotten."""
    async with MemoryBroker().open(Recorder()) as session:
        await session.publish(Message("t", "1"), KEPT)
        replay = await session.replay("t", None, KEPT)

        assert (["1"], True) == (texts(replay.messages), replay.is_complete)


async def test_publishing_without_knowing(autojump_clock: MockClock) -> None:
    """Who says nothing of the history leaves it as others have named it."""
    async with MemoryBroker().open(Recorder()) as session:
        await session.subscribe("t", KEPT)
        receipt = await session.publish(Message("t", "1"), None)

        assert receipt.position is not None
        assert 1 == receipt.position.offset


async def test_presence(autojump_clock: MockClock) -> None:
    """Members come and go, and are gone when their session is."""
    broker = MemoryBroker()
    listener = Recorder()
    async with broker.open(listener) as here:
        await here.subscribe("t", None)
        async with broker.open(Recorder()) as there:
            await there.enter("t", "a", {"name": "joe"})
            await here.enter("t", "b", None)
            assert {"a": {"name": "joe"}, "b": None} == await here.presence("t")
        assert {"b": None} == await here.presence("t")
        await here.leave("t", "b")
        await here.leave("t", "b")

        assert {} == await here.presence("t")
        events = [(event.kind, event.member) for event in listener.events]
        assert [("join", "a"), ("join", "b"), ("leave", "a"), ("leave", "b")] == events


async def test_topics_are_forgotten(autojump_clock: MockClock) -> None:
    """A topic that nobody uses, and that remembers nothing, leaves no trace."""
    broker = MemoryBroker()
    async with broker.open(Recorder()) as session:
        for i in range(100):
            await session.publish(Message(str(i), ""), None)
            await session.publish(Message("kept", ""), KEPT)
        await trio.sleep(11)
        await session.publish(Message("last", ""), None)
        assert {"kept", "last"} == set(broker._topics)
        await session.subscribe("used", None)
        await trio.sleep(60)
        await session.publish(Message("last", ""), None)
        assert {"used", "last"} == set(broker._topics)
    assert {} == broker._topics


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("subscribe", ("t", None)),
        ("unsubscribe", ("t",)),
        ("publish", (Message("t", ""), None)),
        ("replay", ("t", None, None)),
        ("enter", ("t", "a", None)),
        ("leave", ("t", "a")),
        ("presence", ("t",)),
    ],
)
async def test_cancelled(
    autojump_clock: MockClock, method: str, arguments: tuple[object, ...]
) -> None:
    """Every method looks whether it was cancelled before it does anything."""
    broker = MemoryBroker()
    async with broker.open(Recorder()) as session:
        with trio.CancelScope() as scope:
            scope.cancel()
            await getattr(session, method)(*arguments)

        assert scope.cancelled_caught
        assert {} == broker._topics
