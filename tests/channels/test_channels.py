"""What an app and its handlers see of topics."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from triows import (
    App,
    Channels,
    Close,
    NotRunning,
    OutsideConnection,
    StateError,
    channels,
    testing,
    websocket,
)
from triows.brokers import Position, PresenceEvent


def chat() -> App:
    """Return an app whose peers join a topic and publish to it what they send."""
    app = App(__name__)
    app.channels.configure("kept:*", history=3)

    @app.websocket("/<str:topic>")
    async def room(topic: str) -> None:
        await channels.join(topic)
        async for message in websocket:
            await channels.publish(topic, message)

    return app


async def test_a_room(autojump_clock: MockClock) -> None:
    """What one peer publishes reaches every peer that has joined, itself too, and no other."""
    async with (
        testing.client(chat()) as client,
        client.websocket("/a") as one,
        client.websocket("/a") as two,
        client.websocket("/b") as other,
    ):
        await trio.testing.wait_all_tasks_blocked()
        await one.send("hi")
        await one.send(b"\xff")

        for peer in (one, two):
            assert "hi" == await peer.receive()
            assert b"\xff" == await peer.receive()
        await other.receive_nothing()


async def test_everybody_but_the_publisher(autojump_clock: MockClock) -> None:
    """`exclude=websocket` leaves its own peer out."""
    app = App(__name__)

    @app.websocket()
    async def room() -> None:
        await websocket.join("t")
        async for message in websocket:
            published = await channels.publish("t", message, exclude=websocket)
            await websocket.send(str(published.queued))

    async with (
        testing.client(app) as client,
        client.websocket("/room") as one,
        client.websocket("/room") as two,
    ):
        await trio.testing.wait_all_tasks_blocked()
        await one.send("hi")
        assert "hi" == await two.receive()
        assert "1" == await one.receive()


async def test_leaving(autojump_clock: MockClock) -> None:
    """After `leave` nothing comes any more; leaving a topic that was not joined does nothing."""
    app = App(__name__)

    @app.websocket()
    async def visitor() -> None:
        await channels.leave("t")
        await channels.join("t")
        await channels.publish("t", "in")
        await channels.leave("t")
        await channels.publish("t", "out")
        await websocket.receive()

    async with testing.client(app) as client, client.websocket("/visitor") as peer:
        assert "in" == await peer.receive()
        await peer.receive_nothing()
        assert 0 == app.channels.statistics().members


async def test_json(autojump_clock: MockClock) -> None:
    """JSON is text for those who joined without an envelope, and data for those with one."""
    app = App(__name__)

    @app.websocket("/<str:kind>")
    async def room(kind: str) -> None:
        await channels.join("t", envelope=kind == "envelope")
        await websocket.receive()

    async with (
        testing.client(app) as client,
        client.websocket("/bare") as bare,
        client.websocket("/envelope") as enveloped,
    ):
        joined = {"topic": "t", "joined": True, "epoch": None, "offset": None, "recovered": False}
        assert joined == await enveloped.receive_json()
        published = await app.channels.publish_json("t", {"a": 1})

        assert (2, 0, 0) == (published.queued, published.dropped, published.remote)
        assert '{"a":1}' == await bare.receive()
        expected = {"topic": "t", "epoch": None, "offset": None, "data": {"a": 1}}
        assert expected == await enveloped.receive_json()


async def test_what_cannot_be_published(autojump_clock: MockClock) -> None:
    """A message is text or bytes; the topic has a name."""
    app = chat()
    async with testing.client(app):
        with pytest.raises(TypeError, match="send_json"):
            await app.channels.publish("t", {"a": 1})  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="objects of type object"):
            await app.channels.publish_json("t", object())
        with pytest.raises(UnicodeEncodeError):
            await app.channels.publish("t", "\ud800")
        with pytest.raises(ValueError, match="a topic is named"):
            await app.channels.publish("", "hi")
        with pytest.raises(TypeError, match="a key is text, not int"):
            await app.channels.publish("t", "hi", key=7)  # type: ignore[arg-type]


async def test_subscriptions(autojump_clock: MockClock) -> None:
    """Code receives what is published, with its position, and what was before if it wants."""
    app = chat()
    async with testing.client(app):
        await app.channels.publish("kept:1", "before")
        async with (
            app.channels.subscribe("kept:1") as new,
            app.channels.subscribe("kept:1", since=0) as everything,
        ):
            await app.channels.publish("kept:1", "after", key="k")
            received = await new.receive()
            assert ("kept:1", "after", "k") == (received.topic, received.data, received.key)
            assert received.position is not None
            assert 2 == received.position.offset
            assert ["before", "after"] == [(await everything.receive()).data for _ in range(2)]
            assert 2 == app.channels.statistics("kept:1").subscriptions


async def test_presence(autojump_clock: MockClock) -> None:
    """Who has joined with `presence=` is there, and others hear of coming and going."""
    app = App(__name__)

    @app.websocket("/<str:name>")
    async def room(name: str) -> None:
        await channels.join("t", envelope=True, presence={"name": name})
        await websocket.receive()

    events: list[tuple[str, Any]] = []

    def hear(event: PresenceEvent) -> None:
        events.append((event.kind, event.data["name"]))

    async def watch(task_status: trio.TaskStatus[None]) -> None:
        async with app.channels.presence_events("t") as changes:
            task_status.started()
            async for event in changes:
                hear(event)

    async with testing.client(app) as client, trio.open_nursery() as nursery:
        await nursery.start(watch)
        async with client.websocket("/joe") as joe:
            await joe.receive_json()
            async with client.websocket("/ann") as ann:
                await ann.receive_json()
                came = await joe.receive_json()
                assert ("join", {"name": "ann"}) == (came["presence"], came["data"])
                there = await app.channels.presence("t")
                assert [{"name": "joe"}, {"name": "ann"}] == list(there.values())
                assert came["member"] in there
            assert "leave" == (await joe.receive_json())["presence"]
        await trio.testing.wait_all_tasks_blocked()
        assert {} == await app.channels.presence("t")
        nursery.cancel_scope.cancel()

    assert [("join", "joe"), ("join", "ann"), ("leave", "ann"), ("leave", "joe")] == events


async def test_configuring_too_late(autojump_clock: MockClock) -> None:
    """Topics are configured before the app runs, so that all processes agree."""
    app = chat()
    async with testing.client(app):
        with pytest.raises(StateError, match="before the app runs"):
            app.channels.configure("late")


def test_settings_that_cannot_be() -> None:
    """What is wrong is said at once."""
    with pytest.raises(ValueError, match="overflow is one of"):
        App(__name__).channels.configure("t", overflow="explode")  # type: ignore[arg-type]


async def test_an_app_that_is_not_running() -> None:
    """Then there is nobody to publish to, and the error says what to do."""
    app = chat()
    with pytest.raises(NotRunning, match="channels were used, and the app's lifespan is not"):
        await app.channels.publish("t", "hi")
    with pytest.raises(NotRunning, match="from a thread"):
        _ = app.channels.from_thread


async def test_where_no_app_is() -> None:
    """The proxy belongs to the app that runs; joining takes a connection."""
    with pytest.raises(OutsideConnection, match=r"use `app\.channels`"):
        await channels.publish("t", "hi")
    with pytest.raises(OutsideConnection):
        await chat().channels.join("t")


async def test_threads() -> None:
    """Another thread publishes, and waits for the answer."""
    app = chat()
    async with testing.client(app), app.channels.subscribe("t") as messages:
        in_thread = app.channels.from_thread
        published = await trio.to_thread.run_sync(partial(in_thread.publish, "t", "hi", key="k"))
        await trio.to_thread.run_sync(in_thread.publish_json, "t", [1])

        assert 1 == published.queued
        assert ["hi", "[1]"] == [(await messages.receive()).data for _ in range(2)]


async def test_from_a_mounted_app(autojump_clock: MockClock) -> None:
    """The HTTP routes of an app that is mounted publish through the same proxy."""

    async def notify(scope: Any, receive: Any, send: Any) -> None:
        await channels.publish("t", "from HTTP")
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app = chat()
    app.mount("/http", notify)
    async with testing.client(app) as client, client.websocket("/t") as peer:
        await trio.testing.wait_all_tasks_blocked()
        assert 204 == (await client.request("GET", "/http/notify")).status
        assert "from HTTP" == await peer.receive()


async def test_from_the_lifespan_and_tasks(autojump_clock: MockClock) -> None:
    """The lifespan may publish and subscribe, and so may the app's tasks."""
    app = App(__name__)
    seen: list[object] = []

    @app.lifespan
    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None]:
        async with channels.subscribe("t") as messages:
            await channels.publish("t", "from the lifespan")
            app.start_soon(channels.publish, "t", "from a task")
            yield
            seen.extend([(await messages.receive()).data for _ in range(2)])

    async with testing.client(app):
        await trio.testing.wait_all_tasks_blocked()

    assert ["from the lifespan", "from a task"] == seen


def test_reprs() -> None:
    """The proxy says whose it is."""
    assert "<channels: None>" == repr(channels)
    assert not hasattr(channels, "__wrapped__")
    assert isinstance(chat().channels, Channels)


async def test_recovery(autojump_clock: MockClock) -> None:
    """Who comes back says what it had last, gets what it has missed, and then the new ones."""
    app = App(__name__)
    app.channels.configure("t", history=3)

    @app.websocket()
    async def room() -> None:
        epoch, offset = websocket.query_params.epoch, websocket.query_params.offset
        since = None if epoch is None else (str(epoch), int(str(offset)))
        joined = await channels.join("t", envelope=True, since=since)
        assert isinstance(joined.position, Position)
        await websocket.receive()

    async with testing.client(app) as client:
        for i in range(5):
            await app.channels.publish("t", str(i + 1))
        async with client.websocket("/room") as peer:
            joined = await peer.receive_json()
            epoch = joined["epoch"]
        for offset in range(8):
            async with client.websocket(f"/room?epoch={epoch}&offset={offset}") as peer:
                joined = await peer.receive_json()
                is_known = offset <= 5
                first = max(offset, 2) if is_known else 2
                assert (first, is_known and offset >= 2) == (joined["offset"], joined["recovered"])
                for expected in range(first + 1, 6):
                    message = await peer.receive_json()
                    assert (expected, str(expected)) == (message["offset"], message["data"])
                await peer.receive_nothing()


def guests() -> App:
    """Return an app whose peers are present, until they say how that is to end."""
    app = App(__name__)

    @app.websocket("/<str:name>")
    async def guest(name: str) -> None:
        await websocket.join("room", presence=name)
        async for message in websocket:
            if message == "leave":
                await websocket.leave("room")
            elif message == "cancel":
                websocket.nursery.cancel_scope.cancel()
            elif message == "close":
                raise Close(4000)
            else:
                return

    return app


async def test_presence_is_exact(autojump_clock: MockClock) -> None:
    """After 500 joins, leaves, and connections that ended in all ways, it names who is there."""
    app = guests()
    rng = random.Random(5)
    living: dict[str, trio.MemorySendChannel[str]] = {}

    async def visit(name: str, *, task_status: trio.TaskStatus[None]) -> None:
        living[name], ends = trio.open_memory_channel[str](1)
        async with client.websocket(f"/{name}") as peer:
            await wait_all_tasks_blocked()
            task_status.started()
            how = await ends.receive()
            if how == "lost":
                peer.drop()
            else:
                await peer.send(how)
            await wait_all_tasks_blocked()

    async with testing.client(app) as client, trio.open_nursery() as nursery:
        for step in range(500):
            if rng.random() < 0.55 or not living:
                await nursery.start(visit, f"{step}")
            else:
                ends = living.pop(rng.choice(list(living)))
                ends.send_nowait(rng.choice(["leave", "cancel", "close", "return", "lost"]))
            await wait_all_tasks_blocked()
            assert living.keys() == set((await app.channels.presence("room")).values())
        for ends in living.values():
            ends.send_nowait("return")
    assert len(living) > 10
