"""Topics for code: subscriptions around a block."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.channels.brokers import ScriptedBroker
from triows import App, SubscriptionLagged, testing


def news() -> App:
    """Return an app with a topic that remembers."""
    app = App(__name__)
    app.channels.configure("news", history=2)
    return app


async def test_new_messages(autojump_clock: MockClock) -> None:
    """What is published within the block is received, and nothing of before."""
    app = news()
    async with testing.client(app):
        await app.channels.publish("news", "before")
        async with app.channels.subscribe("news") as messages:
            await app.channels.publish("news", "within")
            assert "within" == (await messages.receive()).data
            assert 1 == app.channels.statistics("news").subscriptions
        assert 0 == app.channels.statistics("news").subscriptions


async def test_older_messages(autojump_clock: MockClock) -> None:
    """With `since` the history comes first; if it is not complete that is said before."""
    app = news()
    async with testing.client(app):
        for text in ("1", "2", "3"):
            await app.channels.publish("news", text)
        async with app.channels.subscribe("news", since=0) as messages:
            with pytest.raises(SubscriptionLagged):
                await messages.receive()
            received = [await messages.receive() for _ in range(2)]
            assert ["2", "3"] == [message.data for message in received]
        async with app.channels.subscribe("news", since=received[0].position) as messages:
            assert "3" == (await messages.receive()).data


async def test_without_history(autojump_clock: MockClock) -> None:
    """A topic that remembers nothing has missed something."""
    app = news()
    async with testing.client(app), app.channels.subscribe("other", since=0) as messages:
        with pytest.raises(SubscriptionLagged):
            await messages.receive()


async def test_presence_events(autojump_clock: MockClock) -> None:
    """Watching ends with its block."""
    app = news()
    async with testing.client(app):
        async with app.channels.presence_events("news") as events:
            assert 1 == app.channels.statistics("news").subscriptions
        with pytest.raises(trio.ClosedResourceError):
            await events.receive()


async def test_cancelled(autojump_clock: MockClock) -> None:
    """Cancelled while it begins, nothing is left of it."""
    broker = ScriptedBroker()
    broker.seconds = 1
    app = App(__name__, broker=broker)
    app.channels.configure("t", history=2)
    async with testing.client(app):
        for seconds in (0.5, 1.5):
            with trio.move_on_after(seconds):
                async with app.channels.subscribe("t", since=0):
                    raise AssertionError("it has not begun")
            await trio.sleep(5)
            await wait_all_tasks_blocked()
            assert 0 == app.channels.statistics().topics
