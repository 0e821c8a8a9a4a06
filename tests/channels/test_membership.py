"""One connection in one topic: what it gets, and what becomes of it when it is too slow."""

import json
import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.channels.brokers import ScriptedBroker, message
from tests.channels.ports import Somebody, Taking
from tests.support import lines
from triows import App, CloseInfo, ConnectionClosed, Limits, StateError, testing, websocket
from triows._broker import Message, Position
from triows._channels._membership import Joined, Membership, Port
from triows._outbox import OVERHEAD, Lane, Outbox, Overflow, Prepared, Tally
from triows.testing._peer import Peer


def ticker(overflow: Overflow, limits: Limits | None = None) -> App:
    """Return an app whose peers join the topic t, where three messages may wait."""
    app = App(__name__, limits=limits)
    app.channels.configure("t", overflow=overflow, capacity=3)

    @app.websocket()
    async def member() -> None:
        await websocket.join("t")
        await websocket.receive()

    return app


async def all_of(peer: Peer) -> list[Any]:
    """Return everything that has come."""
    seen: list[Any] = []
    while True:
        with trio.move_on_after(0.1) as scope:
            seen.append(await peer.receive())
        if scope.cancelled_caught:
            return seen


@pytest.mark.parametrize(
    ("overflow", "left"),
    [("drop_oldest", ["0", "7", "8", "9"]), ("drop_newest", ["0", "1", "2", "3"])],
)
async def test_a_slow_member_that_misses_some(
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
    overflow: Overflow,
    left: list[str],
) -> None:
    """The others get everything at once; what it misses is told, counted and logged."""
    app = ticker(overflow)
    async with (
        testing.client(app) as client,
        client.websocket("/member") as slow,
        client.websocket("/member") as quick,
    ):
        await wait_all_tasks_blocked()
        slow.stall()
        published = []
        for i in range(10):
            published.append(await app.channels.publish("t", str(i)))
            await wait_all_tasks_blocked()
            assert str(i) == await quick.receive()
        assert [0] * 4 + [1] * 6 == [outcome.dropped for outcome in published]
        assert 6 == app.channels.statistics("t").dropped
        await trio.sleep(1.5)
        slow.resume()
        assert left == await all_of(slow)

    assert [
        "1 messages of topic 't' were dropped: members were too slow",
        "5 messages of topic 't' were dropped: members were too slow",
    ] == lines(caplog, logging.WARNING)


async def test_the_latest_of_each_key(autojump_clock: MockClock) -> None:
    """With "latest" a slow member gets the newest message of each key."""
    app = ticker("latest")
    async with testing.client(app) as client, client.websocket("/member") as slow:
        await wait_all_tasks_blocked()
        slow.stall()
        for i in range(10):
            await app.channels.publish("t", str(i), key="even" if i % 2 == 0 else "odd")
            await wait_all_tasks_blocked()
        slow.resume()

        assert ["0", "9", "8"] == await all_of(slow)


async def test_a_slow_member_that_is_closed(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """With "close" it is closed with 1013, once, and it has left when the others go on."""
    app = ticker("close", Limits(close_timeout=1))
    async with (
        testing.client(app) as client,
        client.websocket("/member") as slow,
        client.websocket("/member") as quick,
    ):
        await wait_all_tasks_blocked()
        slow.stall()
        for i in range(10):
            await app.channels.publish("t", str(i))
            assert str(i) == await quick.receive()
        await wait_all_tasks_blocked()
        assert 1 == app.channels.statistics("t").members
        slow.resume()
        assert 1013 == (await slow.wait_closed()).code

    assert ["too slow for topic 't'"] == [
        line.partition(": ")[2].partition(" (")[0]
        for line in lines(caplog, logging.WARNING)
        if "handler" in line
    ]


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "latest"])
@pytest.mark.parametrize("outbox_bytes", [1 << 20, 700])
async def test_where_it_stands_is_not_dropped(
    autojump_clock: MockClock, overflow: Overflow, outbox_bytes: int
) -> None:
    """Whatever a slow member misses, it is told where it began, and of gaps, each at its place."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker, limits=Limits(outbox_bytes=outbox_bytes))
    app.channels.configure("t", overflow=overflow, capacity=3)

    @app.websocket()
    async def member() -> None:
        await websocket.join("other")
        await websocket.receive()
        await websocket.join("t", envelope=True)
        await websocket.receive()

    async with testing.client(app) as client, client.websocket("/member") as slow:
        await wait_all_tasks_blocked()
        slow.stall()
        broker.listener.deliver(Message("other", "is on the wire"))
        await slow.send("join")
        await wait_all_tasks_blocked()
        for _ in range(3):
            for i in range(10):
                broker.listener.deliver(Message("t", str(i)))
            broker.listener.lapse("t")
        slow.resume()
        assert "is on the wire" == await slow.receive()
        frames = [json.loads(frame) for frame in await all_of(slow)]

    assert frames[0]["joined"]
    assert 4 == sum("joined" in frame for frame in frames)
    assert (overflow == "latest" or outbox_bytes == 700) == (len(frames) < 7)


async def test_too_many_gaps(autojump_clock: MockClock) -> None:
    """A member that is told of one gap after the other, and reads nothing, is closed."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker, limits=Limits(close_timeout=1))
    app.channels.configure("t", overflow="drop_oldest")

    @app.websocket()
    async def member() -> None:
        await websocket.join("t", envelope=True)
        await websocket.receive()

    async with testing.client(app) as client, client.websocket("/member") as slow:
        await wait_all_tasks_blocked()
        slow.stall()
        for _ in range(30):
            broker.listener.lapse("t")
        await wait_all_tasks_blocked()
        assert 0 == app.channels.statistics().members
        slow.resume()
        assert 1013 == (await slow.wait_closed()).code


async def test_joining_with_a_full_outbox(autojump_clock: MockClock) -> None:
    """Where there is no room to be told where it begins it waits for some, and misses nothing."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker, limits=Limits(outbox_bytes=300))
    app.channels.configure("other", overflow="drop_oldest")
    app.channels.configure("t", overflow="drop_oldest")

    @app.websocket()
    async def member() -> None:
        await websocket.join("other")
        await websocket.receive()
        await websocket.join("t", envelope=True)
        await websocket.receive()

    async with testing.client(app) as client, client.websocket("/member") as slow:
        await wait_all_tasks_blocked()
        slow.stall()
        for i in range(9):
            broker.listener.deliver(Message("other", str(i)))
        await slow.send("join")
        await wait_all_tasks_blocked()
        broker.listener.deliver(Message("t", "new"))
        slow.resume()
        seen = [frame for frame in await all_of(slow) if "{" in frame]

    assert [True, None] == [json.loads(frame).get("joined") for frame in seen]


async def test_bytes_are_bounded_too(autojump_clock: MockClock) -> None:
    """However many messages may wait, they take no more than `outbox_bytes`."""
    app = ticker("drop_newest", Limits(outbox_bytes=2 * (OVERHEAD + 1)))
    async with testing.client(app) as client, client.websocket("/member") as slow:
        await wait_all_tasks_blocked()
        slow.stall()
        for i in range(10):
            await app.channels.publish("t", str(i))
            await wait_all_tasks_blocked()
        slow.resume()

        assert ["0", "1", "2"] == await all_of(slow)


@pytest.mark.parametrize("envelope", [True, False])
async def test_new_messages_wait_for_the_old_ones(
    autojump_clock: MockClock, *, envelope: bool
) -> None:
    """While a member is sent what it has missed, new messages wait; none comes twice."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)
    app.channels.configure("t", history=100)

    @app.websocket()
    async def member() -> None:
        await websocket.join("t", since=("e", 1), envelope=envelope)
        await websocket.receive()

    async with testing.client(app) as client, app.channels.subscribe("t"):
        broker.keep(1, 2, 3)
        broker.deliver(1, 2)
        broker.seconds = 1
        async with client.websocket("/member") as peer:
            await wait_all_tasks_blocked()
            broker.deliver(3, 4)
            await trio.sleep(1.5)
            broker.deliver(5)
            if not envelope:
                assert ["2", "3", "4", "5"] == await all_of(peer)
            else:
                joined = await peer.receive_json()
                assert (1, True) == (joined["offset"], joined["recovered"])
                frames = [await peer.receive_json() for _ in range(4)]
                assert [2, 3, 4, 5] == [frame["offset"] for frame in frames]
                await peer.receive_nothing()


async def test_too_many_new_messages(autojump_clock: MockClock) -> None:
    """What waits for the old ones is bounded as the topic says, too."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)
    app.channels.configure("t", history=100, capacity=2)

    @app.websocket()
    async def member() -> None:
        await websocket.join("t", since=0)
        await websocket.receive()

    async with testing.client(app) as client, app.channels.subscribe("t", overflow="drop_oldest"):
        broker.seconds = 1
        async with client.websocket("/member") as peer:
            await wait_all_tasks_blocked()
            broker.deliver(*range(1, 6))

            assert 1013 == (await peer.wait_closed()).code


async def test_a_gap_while_joining(autojump_clock: MockClock) -> None:
    """A gap that is found meanwhile is told when it has the old ones."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)
    app.channels.configure("t", history=100)

    @app.websocket()
    async def member() -> None:
        await websocket.join("t", since=0, envelope=True)
        await websocket.receive()

    async with testing.client(app) as client, app.channels.subscribe("t"):
        broker.keep(1)
        broker.deliver(1)
        broker.seconds = 1
        async with client.websocket("/member") as peer:
            await wait_all_tasks_blocked()
            await trio.sleep(0.5)
            broker.deliver(5)
            await trio.sleep(0.7)
            broker.keep(4, 5)
            frames = [await peer.receive_json() for _ in range(2)]
            await trio.sleep(1)
            frames += [await peer.receive_json() for _ in range(3)]

        assert [0, 1, 3, 4, 5] == [frame["offset"] for frame in frames]


async def test_the_excluded_is_excluded_from_history_too(autojump_clock: MockClock) -> None:
    """A message that a connection was not to get it does not get later either."""
    app = App(__name__)
    app.channels.configure("t", history=100)

    @app.websocket()
    async def member() -> None:
        await websocket.accept()
        await app.channels.publish("t", "not for me", exclude=websocket)
        await app.channels.publish("t", "for all")
        await websocket.join("t", since=0)
        await websocket.receive()

    async with testing.client(app) as client, client.websocket("/member") as peer:
        assert ["for all"] == await all_of(peer)


async def test_a_member_whose_connection_is_ending(autojump_clock: MockClock) -> None:
    """What is published while it ends is for the others; nobody fails."""
    port = Port(Somebody(), Ended(), lambda *_: None)  # type: ignore[arg-type]
    membership = Membership(port, "t", Lane("close", 1, Tally()), is_enveloped=True)

    assert membership.begin(None)
    assert not membership.offer(Prepared("hi"))
    port.lag("t")
    port.lag("t")
    assert not membership.offer(Prepared("hi"))
    assert 1 == membership._lane.tally.dropped
    assert isinstance(port.refusal("t"), StateError)
    port.is_closed = True
    assert isinstance(port.refusal("t"), ConnectionClosed)


async def test_what_waits_while_it_is_sent_the_old_ones(autojump_clock: MockClock) -> None:
    """What was among the old ones is not sent again; the rest follows."""
    wire = Taking()
    port = Port(Somebody(), wire, lambda *_: None)  # type: ignore[arg-type]
    membership = Membership(port, "t", Lane("close", 2, Tally()), is_enveloped=True)
    membership.hold()
    assert [True, True, False] == [membership.keep(message(i)) for i in (5, 6, 7)]
    membership.floor = Position("e", 5)
    assert port.is_lagging
    port.is_lagging = False
    await membership.send(Message("t", "own", exclude="somebody"))
    membership.release()

    assert [6] == told(wire)


def told(wire: Taking) -> list[object]:
    """Return what a member has read: offsets of messages, and of gaps with `recovered`."""
    frames = [json.loads(frame) for frame in wire.taken]
    return [
        (frame["offset"], frame["recovered"]) if "joined" in frame else frame["offset"]
        for frame in frames
    ]


def held(wire: object, floor: int | None) -> Membership:
    """Return a member that is being sent old messages up to the floor."""
    port = Port(Somebody(), wire, lambda *_: None)  # type: ignore[arg-type]
    membership = Membership(port, "t", Lane("close", 100, Tally()), is_enveloped=True)
    membership.hold()
    membership.floor = None if floor is None else Position("e", floor)
    return membership


async def test_gaps_among_what_waits() -> None:
    """Each is told at its place; of several at one place the last one is."""
    wire = Taking()
    membership = held(wire, 9)
    for offset in (10, 11):
        membership.keep(message(offset))
    for offset in (15, 20):
        membership.tell_gap(Position("e", offset))
    membership.keep(message(21))
    membership.tell_gap(Position("e", 30))
    membership.release()

    assert [10, 11, (20, False), 21, (30, False)] == told(wire)


async def test_too_many_gaps_among_what_waits() -> None:
    """A member for which more of them wait than may is too slow."""
    wire = Taking()
    membership = held(wire, None)
    for offset in range(0, 34, 2):
        assert not membership.port.is_lagging
        membership.tell_gap(Position("e", offset))
        membership.keep(message(offset + 1))

    assert membership.port.is_lagging


@pytest.mark.parametrize("is_held", [True, False])
@pytest.mark.parametrize(
    ("gap", "seen"), [(17, []), (20, []), (22, [(22, False)]), (None, [(None, False)])]
)
async def test_gaps_before_what_it_has(
    gap: int | None, seen: list[object], *, is_held: bool
) -> None:
    """A member that came from the history with more than was missed has missed nothing."""
    wire = Taking()
    membership = held(wire, 20)
    if not is_held:
        membership.release()
    membership.tell_gap(None if gap is None else Position("e", gap))
    if is_held:
        for offset in (18, 19, 20):
            membership.keep(message(offset))
        membership.release()

    assert seen == told(wire)


async def test_another_epoch_than_what_it_has() -> None:
    """Nobody knows which of the two is newer: it is told."""
    wire = Taking()
    membership = held(wire, 20)
    membership.tell_gap(Position("new", 3))
    membership.release()

    assert [(3, False)] == told(wire)


async def test_presence_before_what_it_has() -> None:
    """Who has missed no message may have missed who came and went."""
    wire = Taking()
    membership = held(wire, 20)
    membership.release()
    membership.is_present = True
    membership.tell_gap(Position("e", 17))

    assert [(20, True)] == told(wire)


@pytest.mark.parametrize("overflow", ["drop_oldest", "latest"])
async def test_what_has_waited_for_one_that_does_not_read(overflow: Overflow) -> None:
    """Room is made in its outbox, which stays bounded, by what is oldest there."""
    wire = Full()
    port = Port(Somebody(), wire, lambda *_: None)  # type: ignore[arg-type]
    tally = Tally()
    membership = Membership(port, "t", Lane(overflow, 100, tally), is_enveloped=False)
    membership.hold()
    for i in range(10):
        assert membership.keep(Message("t", str(i), key=str(i), position=Position("e", i + 1)))
    membership.release()

    assert (3, 7) == (wire.outbox.count, tally.dropped)
    left = []
    while wire.outbox.holds(wire.outbox.number):
        left.append(wire.outbox.take().message)
    assert ["7", "8", "9"] == left


class Full:
    """A transport whose peer does not read."""

    closed = None

    def __init__(self) -> None:
        self.outbox: Outbox[Prepared] = Outbox(3 * (OVERHEAD + 1))

    def send_nowait(self, prepared: Prepared, lane: Lane | None = None) -> bool:
        """Let it wait."""
        return self.outbox.put(prepared, lane)


@pytest.mark.parametrize(("start", "told"), [(3, 4), (4, 4), (5, 5)])
async def test_where_it_stands_when_presence_was_missed(start: int, told: int) -> None:
    """It is told so, unless messages up to another place are none of its own."""
    wire = Taking()
    port = Port(Somebody(), wire, lambda *_: None)  # type: ignore[arg-type]
    membership = Membership(port, "t", Lane("close", 2, Tally()), is_enveloped=True)
    membership.tell_presence_gap(Position("e", start))
    membership.is_present = True
    membership.floor = Position("e", 4)
    membership.tell_presence_gap(Position("e", start))

    [frame] = map(json.loads, wire.taken)
    assert (told, True) == (frame["offset"], frame["recovered"])


async def test_too_many_gaps_of_presence() -> None:
    """A member that cannot be told any more is too slow."""
    wire = Full()
    lagging: list[int] = []
    port = Port(Somebody(), wire, lambda code, _: lagging.append(code))  # type: ignore[arg-type]
    membership = Membership(port, "t", Lane("close", 2, Tally()), is_enveloped=True)
    membership.is_present = True
    for offset in range(3):
        membership.tell_presence_gap(Position("e", offset))

    assert [1013] == lagging


async def test_one_that_has_left_meanwhile() -> None:
    """What has waited for it, or would tell it where it begins, does not go out any more."""
    wire = Taking()
    port = Port(Somebody(), wire, lambda *_: None)  # type: ignore[arg-type]
    membership = Membership(port, "t", Lane("close", 2, Tally()), is_enveloped=True)
    membership.hold()
    assert membership.keep(message(1))
    membership.has_left = True
    await membership.send_position(Joined("t", None, recovered=False))
    membership.release()

    assert [] == wire.taken


class Ended:
    """A transport that has ended."""

    closed = CloseInfo(1006, "", by_peer=True)

    def send_nowait(self, prepared: Prepared, lane: Lane | None = None) -> bool:
        """Refuse."""
        raise ConnectionClosed(self.closed)


async def test_positions_only_grow(autojump_clock: MockClock) -> None:
    """With `"latest"` too: whoever comes back behind the last one has had all that is newest."""
    app = App(__name__)
    app.channels.configure("t", history=100, overflow="latest")

    @app.websocket()
    async def member() -> None:
        await websocket.join("t", envelope=True)
        await websocket.receive()

    async with testing.client(app) as client, client.websocket("/member") as slow:
        await wait_all_tasks_blocked()
        slow.stall()
        for text in ("x1", "a1", "b1", "c1", "a2", "b2"):
            await app.channels.publish("t", text, key=text[0])
            await wait_all_tasks_blocked()
        slow.resume()
        seen = [json.loads(frame) for frame in await all_of(slow)][1:]

    assert ["x1", "c1", "a2", "b2"] == [frame["data"] for frame in seen]
    assert [1, 4, 5, 6] == [frame["offset"] for frame in seen]
