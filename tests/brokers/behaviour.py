"""What every broker promises; the tests of each have it as a base, with a `broker` fixture."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import assert_checkpoints

from tests.brokers.listeners import Recorder
from triows._broker import Broker, Message, Position, Retention
from triows._errors import BrokerUnavailable

KEPT = Retention(3, 60.0)
ALL = Retention(1000, 60.0)


def texts(messages: Any) -> list[Any]:
    """Return what some messages say."""
    return [message.data for message in messages]


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is true; a broker may take its time to deliver."""
    with trio.fail_after(10):
        while not is_so():
            await trio.sleep(0.001)


class Behaviour:
    """The promises of `Broker`, one by one."""

    async def test_messages(self, broker: Broker) -> None:
        """Every session that has subscribed has all of a message, the publisher's own too."""
        sent = [
            Message("t", "text ü", "1", exclude="x", key="k"),
            Message("t", b"\x00\xff", "2"),
            Message("t", b"", "3"),
            Message("t", "", "4"),
            Message("t", '{"a":1}', "5", is_json=True),
        ]
        one, two, three = Recorder(), Recorder(), Recorder()
        async with broker.open(one) as here, broker.open(two) as there, broker.open(three) as far:
            assert await here.subscribe("t", None) is None
            await there.subscribe("t", None)
            await far.subscribe("other", None)
            for message in sent:
                receipt = await here.publish(message, None)
                assert (None, 2) == (receipt.position, receipt.sessions)
            await until(lambda: len(one.messages) == len(two.messages) == len(sent))

        assert sent == one.messages == two.messages
        assert [] == three.messages

    async def test_unsubscribing(self, broker: Broker) -> None:
        """A topic that was given up, once or twice, is heard no more, and can be had again."""
        listener = Recorder()
        async with broker.open(listener) as session:
            await session.subscribe("t", None)
            await session.subscribe("last", None)
            await session.unsubscribe("t")
            await session.unsubscribe("t")
            await session.publish(Message("t", "unheard"), None)
            await session.subscribe("t", None)
            await session.publish(Message("t", "heard"), None)
            await session.publish(Message("last", "last"), None)
            await until(lambda: len(listener.messages) == 2)

        assert ["heard", "last"] == texts(listener.messages)

    async def test_order(self, broker: Broker) -> None:
        """Each publisher's messages come in its order, and those of a history in one for all."""
        one, two = Recorder(), Recorder()
        async with broker.open(one) as here, broker.open(two) as there:
            start = await here.subscribe("t", ALL)
            await there.subscribe("t", ALL)
            assert start is not None

            async def publish(session: Any, name: str) -> None:
                for i in range(100):
                    await session.publish(Message("t", f"{name} {i}"), ALL)

            async with trio.open_nursery() as nursery:
                for number, session in enumerate((here, here, there)):
                    nursery.start_soon(publish, session, str(number))
            await until(lambda: len(one.messages) == len(two.messages) == 300)

        assert one.messages == two.messages
        assert [Position(start.epoch, i + 1) for i in range(300)] == [
            message.position for message in one.messages
        ]
        for name in "012":
            said = [text for text in texts(one.messages) if text.startswith(name)]
            assert [f"{name} {i}" for i in range(100)] == said

    @pytest.mark.parametrize(
        ("offset", "kept", "is_complete"),
        [
            (0, "345", False),
            (1, "345", False),
            (2, "345", True),
            (3, "45", True),
            (4, "5", True),
            (5, "", True),
            (6, "345", False),
        ],
    )
    async def test_replay(self, broker: Broker, offset: int, kept: str, is_complete: bool) -> None:
        """Complete is what begins within the history, at its edge at most."""
        async with broker.open(Recorder()) as session:
            start = await session.subscribe("t", KEPT)
            assert start is not None
            for i in range(1, 6):
                await session.publish(Message("t", str(i)), KEPT)
            replay = await session.replay("t", Position(start.epoch, offset), KEPT)

        assert (list(kept), is_complete) == (texts(replay.messages), replay.is_complete)
        assert Position(start.epoch, 5) == replay.position
        assert Position(start.epoch, 5 - len(kept)) == replay.start
        assert [5 - len(kept) + i + 1 for i in range(len(kept))] == [
            message.position.offset for message in replay.messages if message.position
        ]

    async def test_replay_from_elsewhere(self, broker: Broker) -> None:
        """Of another epoch nothing is known; without a position all means since the first."""
        async with broker.open(Recorder()) as session:
            await session.publish(Message("t", "1"), KEPT)
            everything = await session.replay("t", None, KEPT)
            unknown = await session.replay("t", Position("another", 1), KEPT)
            for i in range(2, 6):
                await session.publish(Message("t", str(i)), KEPT)
            newest = await session.replay("t", None, KEPT)

        assert (["1"], True) == (texts(everything.messages), everything.is_complete)
        assert (["1"], False) == (texts(unknown.messages), unknown.is_complete)
        assert (["3", "4", "5"], False) == (texts(newest.messages), newest.is_complete)

    async def test_replay_of_what_never_was(self, broker: Broker) -> None:
        """A topic without history has nothing."""
        async with broker.open(Recorder()) as session:
            replay = await session.replay("t", None, None)

        assert ([], 0) == (texts(replay.messages), replay.position.offset)

    async def test_publishing_without_knowing(self, broker: Broker) -> None:
        """Who says nothing of the history leaves it as others have named it."""
        async with broker.open(Recorder()) as session:
            await session.subscribe("t", KEPT)
            receipt = await session.publish(Message("t", "1"), None)
            position = await session.subscribe("t", None)

        assert receipt.position is not None
        assert 1 == receipt.position.offset
        assert position == receipt.position

    async def test_presence(self, broker: Broker) -> None:
        """Members come and go, and are gone when their session is."""
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
            await here.leave("never", "b")
            assert {} == await here.presence("t")
            await until(lambda: len(listener.events) == 4)

        events = [(event.kind, event.member, event.data) for event in listener.events]
        joe = {"name": "joe"}
        assert [("join", "a", joe), ("join", "b", None)] == events[:2]
        assert [("leave", "a", joe), ("leave", "b", None)] == events[2:]

    async def test_what_members_tell(self, broker: Broker) -> None:
        """It is what JSON makes of it, at that time, for everybody a copy of their own."""
        told = {1: ("a", {"b": None})}
        there = {"1": ["a", {"b": None}]}
        listener, other = Recorder(), Recorder()
        async with broker.open(listener) as session, broker.open(other) as another:
            await session.subscribe("t", None)
            await another.subscribe("t", None)
            await session.enter("t", "a", told)
            told.clear()
            (await session.presence("t"))["a"].clear()
            assert {"a": there} == await session.presence("t")
            await until(lambda: len(listener.events) == len(other.events) == 1)
            listener.events[0].data.clear()
            await session.leave("t", "a")
            await until(lambda: len(listener.events) == len(other.events) == 2)
            with pytest.raises(TypeError, match="no JSON form"):
                await session.enter("t", "a", "\udcff")
            assert {} == await session.presence("t")

        assert [{}, there] == [event.data for event in listener.events]
        assert [there, there] == [event.data for event in other.events]

    async def test_presence_at_random(self, broker: Broker) -> None:
        """It is exact after 500 random joins and leaves of two sessions, and so are the events."""
        rng = random.Random(5)
        listener = Recorder()
        model: dict[str, int] = {}
        async with broker.open(listener) as here, broker.open(Recorder()) as there:
            await here.subscribe("t", None)
            for number in range(500):
                member = f"m{rng.randrange(40)}"
                session = here if int(member[1:]) % 2 else there
                if member in model:
                    del model[member]
                    await session.leave("t", member)
                else:
                    model[member] = number
                    await session.enter("t", member, number)
            await until(lambda: len(listener.events) == 500)
            assert model == await there.presence("t")

        told: dict[str, Any] = {}
        for event in listener.events[:500]:
            if event.kind == "join":
                told[event.member] = event.data
            else:
                del told[event.member]
        assert model == told

    async def test_entering_cancelled(self, broker: Broker) -> None:
        """Who was on its way, and leaves, is not there, from that moment on."""
        async with broker.open(Recorder()) as session:
            await session.enter("t", "b", None)
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(session.enter, "t", "a", None)
                    await trio.lowlevel.checkpoint()
                    scope.cancel()
            await session.leave("t", "a")
            assert {"b": None} == await session.presence("t")

    async def test_after_the_end(self, broker: Broker) -> None:
        """Nobody becomes present by a session that has ended, and nothing is heard by it."""
        listener = Recorder()
        async with broker.open(Recorder()) as other:
            async with broker.open(listener) as session:
                pass
            with pytest.raises(BrokerUnavailable, match="the session has ended"):
                await session.enter("t", "a", None)
            with pytest.raises(BrokerUnavailable, match="the session has ended"):
                await session.subscribe("t", None)
            await session.leave("t", "a")
            await session.unsubscribe("t")
            await other.publish(Message("t", "hi"), None)
            assert {} == await other.presence("t")
        assert [] == listener.messages

    async def test_checkpoints(self, broker: Broker) -> None:
        """Every method is one."""
        async with broker.open(Recorder()) as session:
            with assert_checkpoints():
                await session.subscribe("t", KEPT)
            with assert_checkpoints():
                await session.publish(Message("t", ""), KEPT)
            with assert_checkpoints():
                await session.replay("t", None, KEPT)
            with assert_checkpoints():
                await session.enter("t", "a", None)
            with assert_checkpoints():
                await session.presence("t")
            with assert_checkpoints():
                await session.leave("t", "a")
            with assert_checkpoints():
                await session.leave("t", "a")
            with assert_checkpoints():
                await session.unsubscribe("t")
