"""What a process knows of one topic, and what it does about gaps."""

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.channels.brokers import ScriptedBroker, message
from tests.support import lines
from triows import App, SubscriptionLagged, testing, websocket
from triows._broker import Message, Position, PresenceEvent
from triows.testing._peer import Peer


@asynccontextmanager
async def open_member(
    broker: ScriptedBroker, *, history: int = 100, envelope: bool = True
) -> AsyncGenerator[tuple[App, Peer]]:
    """Give the app of a broker, and a peer that has joined the topic t, around a block."""
    app = App(__name__, broker=broker)
    app.channels.configure("t", history=history, capacity=5)

    @app.websocket()
    async def member() -> None:
        await websocket.join("t", envelope=envelope)
        await websocket.receive()

    async with testing.client(app) as client, client.websocket("/member") as peer:
        await wait_all_tasks_blocked()
        if envelope:
            await peer.receive_json()
        yield app, peer


async def offsets(peer: Peer) -> list[int | tuple[str, int, bool]]:
    """Return what has come: the offset of a message, epoch, offset and `recovered` of a gap."""
    seen: list[int | tuple[str, int, bool]] = []
    await wait_all_tasks_blocked()
    while True:
        with trio.move_on_after(0.1) as scope:
            frame = json.loads(await peer.receive())
        if scope.cancelled_caught:
            return seen
        if "joined" in frame:
            seen.append((frame["epoch"], frame["offset"], frame["recovered"]))
        else:
            assert str(frame["offset"]) == frame["data"]
            seen.append(frame["offset"])


async def test_what_one_member_has_already(autojump_clock: MockClock) -> None:
    """A member that had messages from the history gets the next ones only; the others get all."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)
    app.channels.configure("t", history=100)

    @app.websocket()
    async def early() -> None:
        await websocket.join("t")
        await websocket.receive()

    @app.websocket()
    async def late() -> None:
        await websocket.join("t", since=0)
        await websocket.receive()

    async with testing.client(app) as client, client.websocket("/early") as early_peer:
        await wait_all_tasks_blocked()
        broker.keep(1, 2)  # They are still on their way to this process.
        async with client.websocket("/late") as late_peer:
            assert ["1", "2"] == [await late_peer.receive() for _ in range(2)]
            broker.deliver(1, 2, 3)

            assert "3" == await late_peer.receive()
            assert ["1", "2", "3"] == [await early_peer.receive() for _ in range(3)]


async def test_what_comes_before_the_history_and_behind_it(autojump_clock: MockClock) -> None:
    """A member that is sent older messages gets none twice, whenever the newer ones came."""
    broker = ScriptedBroker()
    broker.seconds = 1
    app = App(__name__, broker=broker)
    app.channels.configure("t", history=100)

    @app.websocket()
    async def late() -> None:
        await websocket.join("t", since=0)
        await websocket.receive()

    async with testing.client(app) as client, client.websocket("/late") as peer:
        await trio.sleep(1.5)  # The history is being asked.
        broker.keep(1, 2, 3)
        broker.deliver(1, 2, 3)
        peer.stall()
        await trio.sleep(1)  # It has answered, and the first is being sent.
        broker.deliver(4)
        peer.resume()

        with trio.move_on_after(5):
            seen: list[str | bytes] = []
            while True:
                seen.append(await peer.receive())
    assert ["1", "2", "3", "4"] == seen


async def test_in_order(autojump_clock: MockClock) -> None:
    """Messages that follow each other are handed on; one that was there before is not."""
    broker = ScriptedBroker()
    async with open_member(broker) as (_, peer):
        broker.deliver(1, 2, 2, 1, 3)

        assert [1, 2, 3] == await offsets(peer)


async def test_a_gap_that_the_history_fills(autojump_clock: MockClock) -> None:
    """What was missed comes from the history, then what came meanwhile; nobody notices."""
    broker = ScriptedBroker()
    async with open_member(broker) as (app, peer):
        broker.deliver(1)
        broker.keep(1, 2, 3, 4)
        broker.deliver(4, 5)

        assert [1, 2, 3, 4, 5] == await offsets(peer)
        assert ("replay", Position("e", 1)) == broker.calls[-1]
        assert 0 == app.channels.statistics().gaps


async def test_a_gap_that_the_history_does_not_fill(autojump_clock: MockClock) -> None:
    """Everybody is told where it goes on."""
    broker = ScriptedBroker()
    async with open_member(broker) as (app, peer), app.channels.subscribe("t") as messages:
        broker.deliver(1)
        broker.keep(7, 8)
        broker.deliver(8)

        assert [1, ("e", 6, False), 7, 8] == await offsets(peer)
        assert "1" == (await messages.receive()).data
        assert 1 == app.channels.statistics("t").gaps


async def test_a_message_without_a_position(autojump_clock: MockClock) -> None:
    """Who knows of no history may have published it; a gap behind it is seen all the same."""
    broker = ScriptedBroker()
    async with open_member(broker) as (_, peer):
        broker.deliver(1)
        broker.listener.deliver(Message("t", "from elsewhere"))
        broker.keep(1, 2, 3)
        broker.deliver(3)

        assert "from elsewhere" == [await peer.receive_json() for _ in range(2)][1]["data"]
        assert [2, 3] == await offsets(peer)


async def test_another_epoch(autojump_clock: MockClock) -> None:
    """A broker that has lost its memory begins again, and everybody is told."""
    broker = ScriptedBroker()
    async with open_member(broker) as (_, peer):
        broker.deliver(1, 2)
        broker.keep(1, 2, 3, epoch="new")
        broker.deliver(3, epoch="new")

        assert [1, 2, ("new", 0, False), 1, 2, 3] == await offsets(peer)


async def test_messages_of_an_epoch_that_has_passed(autojump_clock: MockClock) -> None:
    """What came before the broker lost its memory, and had to wait, does not come behind it."""
    broker = ScriptedBroker()
    async with open_member(broker) as (_, peer):
        broker.deliver(1)
        broker.seconds = 1
        broker.listener.lapse("t")
        broker.deliver(2, 3)
        broker.keep(1, epoch="new")
        await trio.sleep(5)
        broker.deliver(2, epoch="new")
        broker.keep(1, 2, epoch="new")
        broker.deliver(4)
        await trio.sleep(5)
        broker.deliver(3, epoch="new")

        assert [1, ("new", 0, False), 1, 2, 3] == await offsets(peer)
        assert 2 == len([call for call in broker.calls if call[0] == "replay"])


async def test_another_epoch_under_load(autojump_clock: MockClock) -> None:
    """However much comes while the history is asked, members go on."""
    broker = ScriptedBroker()
    async with open_member(broker, history=1000) as (_, peer):
        broker.deliver(1)
        broker.seconds = 0.2
        for i in range(1, 20):
            broker.keep(*range(1, i + 1), epoch="new")
            broker.deliver(i, epoch="new")
            await trio.sleep(0.1)

        assert [1, ("new", 0, False), *range(1, 20)] == await offsets(peer)
    assert 2 == len([call for call in broker.calls if call[0] == "replay"])


async def test_a_lapse_while_a_gap_is_filled(autojump_clock: MockClock) -> None:
    """The history is asked again: what it has said may be too old."""
    broker = ScriptedBroker()
    async with open_member(broker) as (_, peer):
        broker.deliver(1)
        broker.seconds = 2
        broker.keep(1)
        broker.listener.lapse("t")
        await trio.sleep(1)
        broker.listener.lapse("t")
        await trio.sleep(2)
        broker.keep(1, 2)
        await trio.sleep(2)

        assert [1, 2] == await offsets(peer)


async def test_the_broker_was_away(autojump_clock: MockClock) -> None:
    """After a lapse the history is asked, again and again while the broker is away."""
    broker = ScriptedBroker()
    async with open_member(broker) as (_, peer):
        broker.deliver(1)
        broker.is_away = True
        broker.listener.lapse("t")
        broker.listener.lapse("t")
        await trio.sleep(3.5)
        broker.listener.lapse("t")
        asked = [call for call in broker.calls if call[0] == "replay"]
        assert 4 == len(asked)
        broker.is_away = False
        broker.keep(1, 2)

        assert [1] == await offsets(peer)
        await trio.sleep(1)
        assert [2] == await offsets(peer)


async def test_a_broker_that_fails(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises is logged; everybody is told of the gap, and goes on behind it."""
    broker = ScriptedBroker()
    async with open_member(broker) as (app, peer):
        broker.deliver(1)
        broker.failure = ValueError("on purpose")
        broker.listener.lapse("t")
        assert [1, ("e", 1, False)] == await offsets(peer)
        broker.deliver(2, 4, 5)
        assert [2, ("e", 3, False), 4, 5] == await offsets(peer)
        broker.deliver(1, 2, epoch="new")
        await wait_all_tasks_blocked()
        broker.deliver(3, epoch="new")
        assert [("new", 2, False), 3] == await offsets(peer)
        broker.failure = None
        broker.keep(3, 4, 5, epoch="new")
        broker.listener.lapse("t")

        assert [4, 5] == await offsets(peer)
        assert 3 == app.channels.statistics().gaps

    messages = [record.getMessage() for record in caplog.records]
    assert 3 * ["the history of topic 't' could not be asked"] == messages
    assert all(record.exc_info for record in caplog.records)


async def test_a_message_that_was_never_published(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What is ahead of all that the broker knows is asked for once, logged and left out."""
    broker = ScriptedBroker()
    async with open_member(broker) as (app, peer):
        broker.keep(1, 2)
        broker.deliver(1, 2, 9000)

        assert [1, 2] == await offsets(peer)
        assert 1 == len([call for call in broker.calls if call[0] == "replay"])
        broker.deliver(3)
        assert [3] == await offsets(peer)
        assert 0 == app.channels.statistics().gaps

    assert ["1 messages of topic 't' were ahead of its history: ignored"] == lines(
        caplog, logging.WARNING
    )


async def test_a_message_that_is_newer_than_the_answer(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What comes while the broker answers may be ahead of that, and is not lost."""
    broker = ScriptedBroker()
    async with open_member(broker) as (_, peer):
        broker.seconds = 1
        broker.keep(1, 2, 3)
        broker.deliver(1, 3)
        await trio.sleep(0.5)
        broker.deliver(4, 6)
        await trio.sleep(0.75)
        broker.keep(5, 6)
        await trio.sleep(1)

        assert [1, 2, 3, 4, 5, 6] == await offsets(peer)
    assert [] == caplog.records


async def test_what_cannot_be_sent(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A message that has no form on the wire is logged and left out; nothing else is."""
    broker = ScriptedBroker()
    async with open_member(broker) as (_, peer):
        broker.deliver(1)
        broker.listener.deliver(Message("t", "\ud800", "id", position=Position("e", 2)))
        broker.deliver(3)
        broker.keep(3, 4)
        broker.kept[0] = Message("t", "\ud800", "id", position=Position("e", 4))
        broker.listener.lapse("t")

        assert [1, 3] == (await offsets(peer))[:2]
        broker.deliver(5)
        assert [5] == await offsets(peer)

    messages = [record.getMessage() for record in caplog.records]
    assert 2 * ["message 'id' of topic 't' is left out"] == messages


async def test_presence_that_cannot_be_sent(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Presence that has no JSON form is logged, and those who watch in code get it all the same."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)

    @app.websocket()
    async def member() -> None:
        await websocket.join("t", envelope=True, presence={})
        await websocket.receive()

    async with (
        testing.client(app) as client,
        app.channels.presence_events("t") as events,
        client.websocket("/member") as peer,
    ):
        assert (await peer.receive_json())["joined"]
        for told in (object(), "fine"):
            broker.listener.presence_changed(PresenceEvent("t", "join", "joe", told))

        assert "fine" == (await peer.receive_json())["data"]
        assert [object, str] == [type((await events.receive()).data) for _ in range(2)]
    [record] = caplog.records
    assert "the presence of 'joe' in topic 't' is left out" == record.getMessage()


async def test_much_that_comes_meanwhile(autojump_clock: MockClock) -> None:
    """What waits is bounded; what had to go is missed, and fetched like any other gap."""
    broker = ScriptedBroker()
    async with open_member(broker) as (_, peer):
        broker.seconds = 1
        broker.deliver(1)
        broker.listener.lapse("t")
        await wait_all_tasks_blocked()
        broker.deliver(*range(2, 9))
        broker.keep(*range(1, 4))
        await trio.sleep(1.5)
        broker.keep(*range(1, 9))
        await trio.sleep(2)

        assert list(range(1, 9)) == await offsets(peer)


async def test_without_history(autojump_clock: MockClock) -> None:
    """There is nothing to fetch: members with an envelope, and subscriptions, are told."""
    broker = ScriptedBroker()
    async with open_member(broker, history=0) as (app, peer):
        broker.listener.deliver(Message("t", "1"))
        broker.listener.lapse("t")
        broker.listener.deliver(Message("t", "2"))

        frames = [await peer.receive_json() for _ in range(3)]
        assert ["1", None, "2"] == [frame.get("data") for frame in frames]
        assert frames[1]["joined"]
        assert not frames[1]["recovered"]
        assert [] == [call for call in broker.calls if call[0] == "replay"]
        assert 1 == app.channels.statistics().gaps


async def test_a_history_that_only_others_have(autojump_clock: MockClock) -> None:
    """A process that is configured without one hears positions; a gap is told, and all goes on."""
    broker = ScriptedBroker()
    async with open_member(broker, history=0) as (app, peer):
        gap = (None, None, False)
        broker.deliver(1, 2, 4, 5)
        assert [1, 2, gap, 4, 5] == await offsets(peer)
        broker.deliver(1, 2, epoch="f")
        assert [gap, 1, 2] == await offsets(peer)
        assert 2 == app.channels.statistics().gaps


async def test_bare_members_cannot_be_told(autojump_clock: MockClock) -> None:
    """A member without an envelope gets messages and nothing else; the statistics know."""
    broker = ScriptedBroker()
    async with (
        open_member(broker, history=0, envelope=False) as (app, peer),
        app.channels.presence_events("t") as events,
    ):
        broker.listener.lapse("t")
        broker.listener.deliver(Message("t", "2"))

        assert "2" == await peer.receive()
        assert 1 == app.channels.statistics().gaps
        with pytest.raises(SubscriptionLagged):
            await events.receive()


async def test_a_lapse_before_anybody_has_joined(autojump_clock: MockClock) -> None:
    """While the first member is joining there is nothing that could have been missed."""
    broker = ScriptedBroker()
    broker.seconds = 1
    app = App(__name__, broker=broker)
    app.channels.configure("t", history=100)
    async with testing.client(app), trio.open_nursery() as nursery:

        async def use() -> None:
            async with app.channels.subscribe("t") as messages:
                assert message(1) == await messages.receive()

        nursery.start_soon(use)
        await wait_all_tasks_blocked()
        broker.listener.lapse("t")
        broker.listener.lapse("unknown")
        await trio.sleep(2)
        broker.deliver(1)

    assert [] == [call for call in broker.calls if call[0] == "replay"]


async def test_a_lapse_before_anything_is_known(autojump_clock: MockClock) -> None:
    """Of a topic whose broker has not said where it stands there is nothing to ask for."""
    broker = ScriptedBroker()
    broker.position = None
    async with open_member(broker) as (_, peer):
        broker.listener.lapse("t")
        broker.deliver(7)

        assert [7] == await offsets(peer)
    assert [] == [call for call in broker.calls if call[0] == "replay"]


async def test_presence_that_may_have_been_missed(autojump_clock: MockClock) -> None:
    """No history has it: who hears of it is told, though no message is missing."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)
    app.channels.configure("t", history=100)

    @app.websocket("/<str:name>")
    async def member(name: str) -> None:
        await websocket.join("t", envelope=True, presence={} if name == "one" else None)
        await websocket.receive()

    async with (
        testing.client(app) as client,
        app.channels.presence_events("t") as events,
        client.websocket("/one") as one,
        client.websocket("/onlooker") as onlooker,
    ):
        await wait_all_tasks_blocked()
        broker.deliver(1)
        broker.keep(1, 2)
        broker.listener.lapse("t")

        with pytest.raises(SubscriptionLagged):
            await events.receive()
        assert [("e", 0, False), 1, ("e", 1, True), 2] == await offsets(one)
        assert [("e", 0, False), 1, 2] == await offsets(onlooker)
        assert 0 == app.channels.statistics().gaps


async def test_presence_is_told_to_those_who_are_present(autojump_clock: MockClock) -> None:
    """Others with an envelope, that are present themselves, hear of it; nobody of itself."""
    app = App(__name__)

    @app.websocket("/<str:name>")
    async def member(name: str) -> None:
        is_present = name != "onlooker"
        await websocket.join("t", envelope=name != "bare", presence={} if is_present else None)
        await app.channels.publish("t", name)
        await websocket.receive()

    async with (
        testing.client(app) as client,
        app.channels.presence_events("t") as events,
        AsyncExitStack() as stack,
    ):
        peers = []
        for name in ("onlooker", "one", "bare"):
            peers.append(await stack.enter_async_context(client.websocket(f"/{name}")))
            await wait_all_tasks_blocked()
        onlooker, one, bare = peers
        assert ["join", "join"] == [(await events.receive()).kind for _ in range(2)]
        frames = [await onlooker.receive_json() for _ in range(4)]
        assert 0 == sum("presence" in frame for frame in frames)
        frames = [await one.receive_json() for _ in range(4)]
        assert 1 == sum("presence" in frame for frame in frames)
        assert "bare" == await bare.receive()


async def test_new_messages_while_joining(autojump_clock: MockClock) -> None:
    """What comes while a member is sent the old ones follows them."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)
    app.channels.configure("t", history=9)

    @app.websocket()
    async def member() -> None:
        await websocket.join("t", since=0)
        await websocket.receive()

    async with testing.client(app) as client, app.channels.subscribe("t"):
        broker.seconds = 1
        async with client.websocket("/member") as peer:
            await wait_all_tasks_blocked()
            broker.deliver(1)
            await trio.sleep(1.5)
            assert "1" == await peer.receive()


async def test_the_excluded(autojump_clock: MockClock) -> None:
    """The connection that a message is not for does not get it, whoever has published it."""
    app = App(__name__)
    app.channels.configure("t", capacity=5)

    @app.websocket()
    async def member() -> None:
        await websocket.join("t")
        await app.channels.publish("t", "not for me", exclude=websocket)
        await app.channels.publish("t", "for all")
        await websocket.receive()

    async with testing.client(app) as client, client.websocket("/member") as peer:
        assert "for all" == await peer.receive()
