"""Members that leave, end, come back or are cancelled while they join, at every step of it."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.channels.brokers import ScriptedBroker
from tests.channels.steps import AtStep, FarBroker
from triows import App, WebSocket, testing, websocket
from triows._channels import Hub, Joined, Memberships
from triows._channels._settings import TopicSettings
from triows._channels._subscribing import subscribe
from triows._close import CloseInfo
from triows._errors import ConnectionClosed, StateError
from triows._outbox import Lane, Prepared
from triows.brokers import MemoryBroker

MOST = 80
"""Steps that nothing here takes."""


class Peer:
    """A connection whose peer reads: its transport, and its owner.

    Attributes:
        got: What it has read.
    """

    closed: CloseInfo | None = None
    is_full = False

    def __init__(self, hub: Hub, name: str = "me") -> None:
        self.id = name
        self.got: list[Any] = []
        self.memberships = Memberships(hub, self, self, lambda *_: None)  # type: ignore[arg-type]

    async def send(self, message: str) -> None:
        """Take a step for it."""
        await trio.lowlevel.checkpoint()
        self.is_full = False
        assert self.send_nowait(Prepared(message))

    def send_nowait(self, prepared: Prepared, lane: Lane | None = None) -> bool:
        """Read a message, if it is still there."""
        if self.closed is not None:
            raise ConnectionClosed(self.closed, self)
        if self.is_full:
            return False
        self.got.append(json.loads(prepared.message))
        return True

    async def join(self, presence: Any = 1) -> Joined:
        """Join the topic, and be sent what was there before."""
        return await self.memberships.join(
            "t", envelope=True, since=0, presence=presence, overflow=None
        )

    async def leave(self) -> None:
        """Leave the topic."""
        await self.memberships.leave("t")

    def end(self) -> None:
        """Be gone."""
        self.closed = CloseInfo(1006, "", by_peer=True)
        self.memberships.end()

    @property
    def offsets(self) -> list[int]:
        """Those of the messages that it has read."""
        return [frame["offset"] for frame in self.got if "data" in frame and "offset" in frame]


async def publish(hub: Hub) -> None:
    """Publish one more message to the topic."""
    await hub.publish("t", "hi", is_json=False, exclude=None, key=None)


@asynccontextmanager
async def open_hub() -> AsyncGenerator[tuple[Hub, trio.Nursery]]:
    """Run a hub with a topic that remembers three messages; afterwards nothing is left of it."""
    hub = Hub(lambda: FarBroker(MemoryBroker()))
    hub.settings.add("t", TopicSettings(history=9))
    async with hub.running(), trio.open_nursery() as nursery:
        for _ in range(3):
            await publish(hub)
        yield hub, nursery
        await wait_all_tasks_blocked()
        now = hub.statistics()
        assert (0, 0, 0) == (now.topics, now.members, now.subscriptions)
        assert {} == await hub.session.presence("t")


async def check_present(hub: Hub, peer: Peer, data: Any) -> None:
    """See that it is a member, and present with this, or neither, and in either case exactly so."""
    await wait_all_tasks_blocked()
    assert (data is not None) == hub.statistics("t").members
    assert ({} if data is None else {peer.id: data}) == await hub.session.presence("t")
    await publish(hub)
    assert (data is not None) == (4 in peer.offsets)


Scenario = Callable[[int], Awaitable[bool]]


async def at_every_step(scenario: Scenario) -> None:
    """Have a scenario happen at every step of what it disturbs."""
    number = 1
    while await scenario(number):
        number += 1
        assert number < MOST
    assert number > 3


async def test_leaving_while_joining() -> None:
    """Who leaves meanwhile has left, and is present no more; what comes late is not sent."""

    async def scenario(number: int) -> bool:
        async with open_hub() as (hub, nursery):
            peer = Peer(hub)
            step = AtStep(number, lambda: nursery.start_soon(peer.leave))
            await step.drive(peer.join)
            await wait_all_tasks_blocked()
            has_joined = "t" in peer.memberships._port.memberships
            # It may have been on its way to join when it left nothing.
            await check_present(hub, peer, 1 if has_joined else None)
            assert step.has_acted or has_joined
            peer.end()
        return step.has_acted

    await at_every_step(scenario)


async def test_ending_while_joining() -> None:
    """A connection that ends meanwhile is a member of nothing, whoever asked for it."""

    async def scenario(number: int) -> bool:
        async with open_hub() as (hub, _):
            peer = Peer(hub)
            step = AtStep(number, peer.end)
            await step.drive(peer.join)
            await check_present(hub, peer, None if step.has_acted else 1)
            peer.end()
        return step.has_acted

    await at_every_step(scenario)


async def test_joining_cancelled() -> None:
    """Cancelled it has not joined, and may do so at once."""

    async def scenario(number: int) -> bool:
        async with open_hub() as (hub, _):
            peer = Peer(hub)
            with trio.CancelScope() as scope:
                step = AtStep(number, scope.cancel)
                await step.drive(peer.join)
            if scope.cancelled_caught:
                joined = await peer.join(2)
                assert joined.recovered
                assert [1, 2, 3] == peer.offsets[-3:]
            await check_present(hub, peer, 2 if scope.cancelled_caught else 1)
            peer.end()
        return step.has_acted

    await at_every_step(scenario)


async def test_joining_together_and_cancelled() -> None:
    """Who joins the same topic meanwhile is in it, whatever becomes of the first; none waits."""

    async def scenario(number: int) -> bool:
        async with open_hub() as (hub, nursery):
            first, second = Peer(hub, "first"), Peer(hub, "second")
            nursery.start_soon(partial(second.join, None))
            with trio.CancelScope() as scope:
                step = AtStep(number, scope.cancel)
                await step.drive(first.join)
            await wait_all_tasks_blocked()
            assert 2 - scope.cancelled_caught == hub.statistics("t").members
            await publish(hub)
            assert [1, 2, 3, 4] == second.offsets
            first.end()
            second.end()
        return step.has_acted

    await at_every_step(scenario)


async def test_coming_when_an_attempt_is_given_up() -> None:
    """Who joins while the broker is no longer told, for all had left, has it told again."""

    async def scenario(number: int) -> bool:
        async with open_hub() as (hub, nursery):
            first, second = Peer(hub, "first"), Peer(hub, "second")

            def act() -> None:
                scope.cancel()
                nursery.start_soon(partial(second.join, None))

            with trio.CancelScope() as scope:
                step = AtStep(number, act)
                await step.drive(first.join)
            await wait_all_tasks_blocked()
            joined = step.has_acted + (not scope.cancelled_caught)
            assert joined == hub.statistics("t").members
            await publish(hub)
            assert ([1, 2, 3, 4] if step.has_acted else []) == second.offsets
            first.end()
            second.end()
        return step.has_acted

    await at_every_step(scenario)


async def test_leaving_and_then_cancelled() -> None:
    """Who leaves while it joins, and is cancelled in that, is in nothing."""

    async def scenario(number: int) -> bool:
        async with open_hub() as (hub, nursery):
            peer = Peer(hub)

            async def leave() -> None:
                await peer.leave()
                scope.cancel()

            with trio.CancelScope() as scope:
                step = AtStep(number, lambda: nursery.start_soon(leave))
                await step.drive(peer.join)
            await wait_all_tasks_blocked()
            has_joined = "t" in peer.memberships._port.memberships
            await check_present(hub, peer, 1 if has_joined else None)
            peer.end()
        return step.has_acted

    await at_every_step(scenario)


async def test_coming_back_while_joining() -> None:
    """Who leaves and joins again meanwhile has joined once, and is present as it said last."""

    async def scenario(number: int) -> bool:
        async with open_hub() as (hub, nursery):
            peer = Peer(hub)
            refused: list[int] = []

            async def join(presence: int) -> None:
                try:
                    await peer.join(presence)
                except StateError:
                    refused.append(presence)

            async def come_back() -> None:
                await peer.leave()
                await join(2)

            step = AtStep(number, lambda: nursery.start_soon(come_back))
            await step.drive(partial(join, 1))
            await wait_all_tasks_blocked()
            assert refused in ([], [1], [2])
            # While the first had not begun there was nothing to leave.
            last = 2 if step.has_acted and refused != [2] else 1
            await check_present(hub, peer, last)
            peer.end()
        return step.has_acted

    await at_every_step(scenario)


async def test_leaving_cancelled() -> None:
    """It has left all the same, and who comes back at once is present again."""

    async def scenario(number: int) -> bool:
        async with open_hub() as (hub, _):
            peer = Peer(hub)
            await peer.join()
            with trio.CancelScope() as scope:
                step = AtStep(number, scope.cancel)
                await step.drive(peer.leave)
            assert 0 == hub.statistics("t").members
            if number % 2:
                await peer.join(2)
            await check_present(hub, peer, 2 if number % 2 else None)
            peer.end()
        return step.has_acted

    await at_every_step(scenario)


async def test_publishing_while_joining() -> None:
    """Each message comes once, in order, whenever it was published."""

    async def scenario(number: int) -> bool:
        async with open_hub() as (hub, nursery):
            peer = Peer(hub)
            step = AtStep(number, lambda: nursery.start_soon(publish, hub))
            await step.drive(peer.join)
            await wait_all_tasks_blocked()
            assert ([1, 2, 3, 4] if step.has_acted else [1, 2, 3]) == peer.offsets
            peer.end()
        return step.has_acted

    await at_every_step(scenario)


async def test_no_room_for_the_beginning() -> None:
    """Then it waits for some, and so do new messages."""
    seen: list[list[int]] = []

    async def scenario(number: int) -> bool:
        async with open_hub() as (hub, nursery):
            peer = Peer(hub)
            peer.is_full = True
            step = AtStep(number, lambda: nursery.start_soon(publish, hub))
            await step.drive(
                lambda: peer.memberships.join(
                    "t", envelope=True, since=None, presence=None, overflow="drop_newest"
                )
            )
            await wait_all_tasks_blocked()
            seen.append([frame["offset"] for frame in peer.got])
            peer.end()
        return step.has_acted

    await at_every_step(scenario)
    assert [3] == seen.pop()
    assert [3, 4] in seen
    assert all(offsets in ([3, 4], [4]) for offsets in seen)


async def test_subscribing_cancelled() -> None:
    """A subscription that was not opened to the end is none."""

    async def scenario(number: int) -> bool:
        async with open_hub() as (hub, _):
            opened: list[bool] = []

            async def use() -> None:
                async with subscribe(hub, "t", 0, None) as messages:
                    opened.append(True)
                    assert "hi" == (await messages.receive()).data

            with trio.CancelScope() as scope:
                step = AtStep(number, scope.cancel)
                await step.drive(use)
        return step.has_acted

    await at_every_step(scenario)


@pytest.mark.parametrize("is_again", [True, False])
async def test_what_outlasts_a_run(*, is_again: bool) -> None:
    """What was used in a run that has ended is given back to nobody, least of all to the next."""
    hub = Hub(lambda: FarBroker(MemoryBroker()))
    peer = Peer(hub)
    async with hub.running():
        await peer.join()
    async with hub.running():
        subscription = subscribe(hub, "t", None, None)
        await subscription.__aenter__()
    if is_again:
        async with hub.running(), subscribe(hub, "t", None, None) as messages:
            await subscription.__aexit__(None, None, None)
            peer.end()
            await wait_all_tasks_blocked()
            await publish(hub)
            assert "hi" == (await messages.receive()).data
    else:
        await subscription.__aexit__(None, None, None)
        peer.end()
    assert 0 == hub.statistics().topics


# In an app


def nested(levels: int) -> Any:
    """Return an empty list in so many others."""
    return [] if levels == 0 else {"a": nested(levels - 1)} if levels % 2 else [nested(levels - 1)]


@pytest.mark.parametrize(
    ("presence", "complaint"),
    [
        (object(), "objects of type object"),
        ("\ud800", "no JSON form"),
        (nested(33), "at most 32 levels"),
        (nested(500), "at most 32 levels"),
        (msgspec.Raw(b"{"), "cannot be read again"),
    ],
    ids=["object", "surrogate", "33", "500", "raw"],
)
async def test_presence_that_cannot_be(presence: Any, complaint: str) -> None:
    """It is the mistake of who joins, and not of whoever is told later."""
    async with open_hub() as (hub, _):
        peer = Peer(hub)
        with pytest.raises((TypeError, ValueError), match=complaint):
            await peer.join(presence)
        await check_present(hub, peer, None)


async def test_presence_is_what_it_was() -> None:
    """What a handler does to it afterwards nobody else sees."""
    told = {"name": ["joe"], "deep": nested(31)}
    async with open_hub() as (hub, _):
        peer = Peer(hub)
        await peer.join(told)
        told["name"] = object()
        await check_present(hub, peer, {"name": ["joe"], "deep": nested(31)})
        peer.end()


async def test_joining_twice(autojump_clock: MockClock) -> None:
    """A connection is in a topic once; it may leave and come back."""
    app = App(__name__)

    @app.websocket()
    async def member() -> None:
        await websocket.join("t", presence={})
        with pytest.raises(StateError, match="has joined 't' already: leave it first"):
            await websocket.join("t")
        await websocket.leave("t")
        await websocket.join("t", presence={})
        await app.channels.publish("t", "once")
        assert websocket.id in await app.channels.presence("t")
        await websocket.receive()

    async with testing.client(app) as client, client.websocket("/member") as peer:
        assert "once" == await peer.receive()
        await peer.receive_nothing()


async def test_joining_after_the_end(autojump_clock: MockClock) -> None:
    """A connection that has ended joins nothing any more, whoever asks."""
    app = App(__name__)
    kept: list[WebSocket] = []

    @app.websocket()
    async def member() -> None:
        await websocket.accept()
        kept.append(websocket.unwrap())

    @app.websocket()
    async def early() -> None:
        await websocket.join("other")
        kept.append(websocket.unwrap())

    async with testing.client(app) as client:
        for path in ("/member", "/early"):
            async with client.websocket(path) as peer:
                await peer.wait_closed()
            with pytest.raises(ConnectionClosed):
                await kept[-1].join("t")
        assert 0 == app.channels.statistics().members


@pytest.mark.parametrize("seconds", [0.5, 1.5, 2.5])
async def test_what_the_broker_is_told(autojump_clock: MockClock, seconds: float) -> None:
    """It is told of all that had begun before `join` was cancelled, and that it is no more."""
    broker = ScriptedBroker()
    broker.seconds = 1
    app = App(__name__, broker=broker)
    app.channels.configure("t", history=100)

    @app.websocket()
    async def member() -> None:
        with trio.move_on_after(seconds):
            await websocket.join("t", since=0, presence={})
        assert 0 == app.channels.statistics().members
        await websocket.receive()

    async with testing.client(app) as client, client.websocket("/member"):
        await trio.sleep(10)
        assert 0 == app.channels.statistics().topics

    names = [call[0] for call in broker.calls]
    assert ["subscribe", "replay", "enter"][: int(seconds + 0.5)] == names[: int(seconds + 0.5)]
    assert ("enter" in names) == ("leave" in names)
    assert (seconds > 1) == ("unsubscribe" in names)


async def test_recovering(autojump_clock: MockClock) -> None:
    """Who joins with `since` is sent what was missed before anything else."""
    app = App(__name__)
    app.channels.configure("t", history=2)

    @app.websocket()
    async def member() -> None:
        await websocket.accept()
        for text in ("1", "2", "3"):
            await app.channels.publish("t", text)
        joined = await websocket.join("t", since=0)
        assert not joined.recovered
        await websocket.leave("t")
        joined = await websocket.join("t", since=joined.position)
        assert joined.recovered
        await websocket.receive()

    async with (
        testing.client(app) as client,
        app.channels.subscribe("t"),
        client.websocket("/member") as peer,
    ):
        assert list("2323") == [await peer.receive() for _ in range(4)]


async def test_leaving_once_more(autojump_clock: MockClock) -> None:
    """Who was cancelled, and leaves again, waits for the broker to be told."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)

    @app.websocket()
    async def member() -> None:
        await websocket.join("t", presence={})
        broker.seconds = 2
        with trio.move_on_after(1):
            await websocket.leave("t")
        await websocket.leave("t")
        await websocket.send("left")
        await websocket.receive()

    async with testing.client(app) as client, client.websocket("/member") as peer:
        assert "left" == await peer.receive()
        await trio.sleep(10)

    assert ["leave", "leave", "unsubscribe"] == [call[0] for call in broker.calls[2:]]
