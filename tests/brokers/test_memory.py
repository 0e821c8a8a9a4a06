"""A broker within one process: what it does beside what every broker promises."""

import pytest
import trio
from trio.testing import MockClock

from tests.brokers.behaviour import KEPT, Behaviour, texts
from tests.brokers.listeners import Recorder
from triows._broker import Broker, Message
from triows.brokers import MemoryBroker


class TestPromises(Behaviour):
    """Those of every broker."""

    @pytest.fixture
    def broker(self) -> Broker:
        """A new one."""
        return MemoryBroker()


async def test_messages(autojump_clock: MockClock) -> None:
    """They are with every session when `publish` returns."""
    listener = Recorder()
    async with MemoryBroker().open(listener) as session:
        await session.subscribe("t", None)
        await session.publish(Message("t", "hi"), None)

        assert ["hi"] == texts(listener.messages)


async def test_age(autojump_clock: MockClock) -> None:
    """Messages are forgotten when they are too old, and where a topic in use stands is not."""
    async with MemoryBroker().open(Recorder()) as session:
        await session.subscribe("t", KEPT)
        receipt = await session.publish(Message("t", "1"), KEPT)
        await trio.sleep(60)
        replay = await session.replay("t", receipt.position, KEPT)
        assert ([], True) == (texts(replay.messages), replay.is_complete)
        replay = await session.replay("t", None, KEPT)
        assert ([], False) == (texts(replay.messages), replay.is_complete)


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
