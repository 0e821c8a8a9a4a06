"""The topics of a process, and its line to the broker."""

import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.channels.brokers import ScriptedBroker
from tests.channels.ports import Somebody, Taking
from tests.support import lines
from triows import (
    App,
    BrokerUnavailable,
    NotRunning,
    StateError,
    testing,
    websocket,
)
from triows._broker import Broker, BrokerSession, Listener, Message, PresenceEvent
from triows._channels import PROCESSES, Hub, Memberships
from triows.brokers import MemoryBroker


async def use(app: App, topic: str = "t", *, task_status: trio.TaskStatus[None]) -> None:
    """Subscribe to a topic for ever."""
    async with app.channels.subscribe(topic):
        task_status.started()
        await trio.sleep_forever()


async def test_the_broker_knows_what_is_used(autojump_clock: MockClock) -> None:
    """It is told of the first user of a topic, and of the last one; not of those between."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)
    async with testing.client(app), trio.open_nursery() as nursery:
        await nursery.start(use, app)
        async with app.channels.subscribe("t"):
            nursery.cancel_scope.cancel()
            await wait_all_tasks_blocked()
        with trio.CancelScope(shield=True):
            await wait_all_tasks_blocked()

        assert [("subscribe", "t"), ("unsubscribe", "t")] == broker.calls
        assert 0 == app.channels.statistics().topics


async def test_many_at_once(autojump_clock: MockClock) -> None:
    """The first ones wait for the same answer; a user who comes while the last leaves is in."""
    broker = ScriptedBroker()
    broker.seconds = 1
    app = App(__name__, broker=broker)
    async with testing.client(app):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(nursery.start, use, app)
            await trio.sleep(1.5)
            assert 5 == app.channels.statistics("t").subscriptions
            nursery.cancel_scope.cancel()
        await trio.sleep(0.5)
        async with app.channels.subscribe("t") as messages:
            broker.listener.deliver(Message("t", "in"))
            assert "in" == (await messages.receive()).data
        await trio.sleep(5)

    names = [call[0] for call in broker.calls]
    assert ["subscribe", "unsubscribe", "subscribe", "unsubscribe"] == names


async def test_joining_together(autojump_clock: MockClock) -> None:
    """Who joins while the broker is being told waits for the same answer, and fails with it."""
    broker = ScriptedBroker()
    broker.seconds, broker.is_away = 1, True
    app = App(__name__, broker=broker)
    failed: list[float] = []

    async def join(seconds: float) -> None:
        await trio.sleep(seconds)
        with pytest.raises(BrokerUnavailable, match="the broker is away"):
            await use(app, task_status=trio.TASK_STATUS_IGNORED)
        failed.append(trio.current_time() - began)

    async with testing.client(app):
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for seconds in (0, 0, 0.5, 0.75, 1.5):
                nursery.start_soon(join, seconds)
        broker.is_away = False
        async with app.channels.subscribe("t"):
            pass

    assert [1, 1, 1, 1, 2.5] == failed
    assert ["subscribe"] * 3 == [call[0] for call in broker.calls[:3]]


async def test_who_has_asked_is_cancelled(autojump_clock: MockClock) -> None:
    """The others, who wait for the same answer, get it; who comes when nobody waits asks again."""
    broker = ScriptedBroker()
    broker.seconds = 1
    app = App(__name__, broker=broker)
    async with testing.client(app), trio.open_nursery() as nursery:
        with trio.move_on_after(0.25):
            nursery.start_soon(nursery.start, use, app)
            await use(app, task_status=trio.TASK_STATUS_IGNORED)
        await trio.sleep(1)
        assert 1 == app.channels.statistics("t").subscriptions
        with trio.move_on_after(0.25):
            await use(app, "u", task_status=trio.TASK_STATUS_IGNORED)
        began = trio.current_time()
        await nursery.start(use, app, "u")
        assert 1 == trio.current_time() - began
        nursery.cancel_scope.cancel()

    asked = [call[1] for call in broker.calls if call[0] == "subscribe"]
    assert ["t", "u", "u"] == asked


async def test_joining_when_the_app_ends(autojump_clock: MockClock) -> None:
    """Who waits for a broker that does not answer is told that the app has ended."""
    broker = ScriptedBroker()
    broker.seconds = 1
    app = App(__name__, broker=broker)
    async with trio.open_nursery() as nursery:

        async def join() -> None:
            with pytest.raises(BrokerUnavailable, match="the app is shutting down"):
                await use(app, task_status=trio.TASK_STATUS_IGNORED)

        async with app.running():
            nursery.start_soon(join)
            await wait_all_tasks_blocked()


async def test_a_user_who_comes_before_it_was_tidied_up(autojump_clock: MockClock) -> None:
    """A topic that is used again before the broker was told stays as it is."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)
    async with testing.client(app):
        for _ in range(2):
            async with app.channels.subscribe("t"):
                pass
            async with app.channels.subscribe("t"):
                await wait_all_tasks_blocked()
                assert 1 == app.channels.statistics().topics
        await wait_all_tasks_blocked()
        assert 0 == app.channels.statistics().topics


async def test_a_broker_that_cannot_be_asked(autojump_clock: MockClock) -> None:
    """Who joins or publishes is told, and nothing of it is left."""
    broker = ScriptedBroker()
    broker.is_away = True
    app = App(__name__, broker=broker)

    @app.websocket()
    async def member() -> None:
        with pytest.raises(BrokerUnavailable):
            await websocket.join("t")
        await websocket.send("not joined")

    async with testing.client(app) as client, client.websocket("/member") as peer:
        assert "not joined" == await peer.receive()
        with pytest.raises(BrokerUnavailable):
            await app.channels.publish("t", "hi")
        with pytest.raises(BrokerUnavailable):
            await app.channels.presence("t")
        await wait_all_tasks_blocked()
        assert 0 == app.channels.statistics().topics


async def test_a_publication_comes_back(autojump_clock: MockClock) -> None:
    """`publish` returns when this process has its own message, if it is interested in it."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)
    async with testing.client(app), trio.open_nursery() as nursery:
        assert 0 == (await app.channels.publish("t", "to others")).queued
        await nursery.start(use, app)
        began = trio.current_time()

        async def send_back() -> None:
            await trio.sleep(1)
            _, message = broker.calls[-1]
            assert isinstance(message, Message)
            broker.listener.deliver(message)

        nursery.start_soon(send_back)
        published = await app.channels.publish("t", "hi")
        assert (1, 1, None) == (trio.current_time() - began, published.queued, published.remote)

        published = await app.channels.publish("t", "lost on its way back")
        assert (6, 0) == (trio.current_time() - began, published.queued)
        nursery.cancel_scope.cancel()


async def test_publishing_while_the_first_one_joins(autojump_clock: MockClock) -> None:
    """Before the broker has said that it delivers here nobody waits for that."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)
    async with testing.client(app), trio.open_nursery() as nursery:
        broker.seconds = 1
        nursery.start_soon(nursery.start, use, app)
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await app.channels.publish("t", "too early")
        assert 1 == trio.current_time() - began
        await wait_all_tasks_blocked()
        assert 1 == app.channels.statistics().subscriptions
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("seconds", "sessions"), [(0.0, 1), (0.5, 2)])
async def test_who_is_meant_by_remote(
    autojump_clock: MockClock, seconds: float, sessions: int
) -> None:
    """Of this process, which is joining, the broker knows if the message has come here."""
    broker = ScriptedBroker()
    broker.seconds, broker.sessions = 1, sessions
    app = App(__name__, broker=broker)
    async with testing.client(app), trio.open_nursery() as nursery:
        nursery.start_soon(nursery.start, use, app)
        await trio.sleep(seconds)

        async def send_back() -> None:
            await trio.sleep(0.75)
            _, message = broker.calls[-1]
            assert isinstance(message, Message)
            broker.listener.deliver(message)

        if seconds:
            nursery.start_soon(send_back)
        published = await app.channels.publish("t", "hi")
        assert (sessions - 1, 1) == (published.queued, published.remote)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_lost", [True, False])
async def test_what_can_come_no_more(autojump_clock: MockClock, *, is_lost: bool) -> None:
    """Nobody waits for a message that was lost, or whose topic was left meanwhile."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)
    began = trio.current_time()
    async with (
        testing.client(app),
        trio.open_nursery() as publishers,
        trio.open_nursery() as users,
    ):
        await users.start(use, app)
        publishers.start_soon(app.channels.publish, "t", "hi")
        await trio.sleep(1)
        if is_lost:
            broker.listener.lapse("t")
            await wait_all_tasks_blocked()
            assert not publishers.child_tasks
        users.cancel_scope.cancel()

    assert 1 == trio.current_time() - began


async def test_leaving_before_it_was_published(autojump_clock: MockClock) -> None:
    """Where nobody is left when the broker answers, nobody waits."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)
    async with testing.client(app):
        began = trio.current_time()
        async with trio.open_nursery() as nursery, app.channels.subscribe("t"):
            broker.seconds = 1
            nursery.start_soon(app.channels.publish, "t", "hi")
            await wait_all_tasks_blocked()
        assert 1 == trio.current_time() - began


async def test_what_comes_from_the_history(autojump_clock: MockClock) -> None:
    """A publication that was lost on its way back, and is recovered, has come back."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)
    app.channels.configure("t", history=9)
    async with testing.client(app), trio.open_nursery() as nursery:
        await nursery.start(use, app)
        began = trio.current_time()

        async def recover() -> None:
            await trio.sleep(1)
            _, message = broker.calls[-1]
            assert isinstance(message, Message)
            broker.keep(1)
            broker.kept = [replace(message, position=broker.position)]
            broker.listener.lapse("t")

        nursery.start_soon(recover)
        published = await app.channels.publish("t", "hi")
        assert (1, 1) == (trio.current_time() - began, published.queued)
        nursery.cancel_scope.cancel()


async def test_what_nobody_uses(autojump_clock: MockClock) -> None:
    """What the broker says of a topic that was left is of no interest."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)
    async with testing.client(app):
        broker.listener.deliver(Message("t", "hi"))
        broker.listener.presence_changed(PresenceEvent("t", "join", "id", None))
        assert 0 == app.channels.statistics("t").delivered


async def test_history_that_was_asked_for_in_vain(autojump_clock: MockClock) -> None:
    """A subscription to a topic without history cannot begin in the past, and is told."""
    app = App(__name__)
    async with testing.client(app), app.channels.subscribe("t", since=0) as messages:
        with pytest.raises(Exception, match="may have been lost"):
            await messages.receive()


async def test_statistics_go_on(autojump_clock: MockClock) -> None:
    """What was counted in topics that are no more still counts."""
    app = App(__name__)
    async with testing.client(app):
        for _ in range(3):
            async with app.channels.subscribe("t"):
                await app.channels.publish("t", "hi")
            await wait_all_tasks_blocked()
        assert (0, 3) == (app.channels.statistics().topics, app.channels.statistics().delivered)


async def test_the_app_can_run_again(autojump_clock: MockClock) -> None:
    """Nothing is left of a run: the next one begins with an empty memory."""
    app = App(__name__)
    app.channels.configure("t", history=100)
    for _ in range(2):
        async with testing.client(app), app.channels.subscribe("t", since=0) as messages:
            await app.channels.publish("t", "first")
            received = await messages.receive()
            assert received.position is not None
            assert 1 == received.position.offset
        assert 0 == app.channels.statistics().subscriptions


async def test_one_broker_of_two_apps(autojump_clock: MockClock) -> None:
    """Apps that were given the same broker hear each other."""
    broker = MemoryBroker()
    one, two = (App(__name__, broker=broker) for _ in range(2))
    async with (
        testing.client(one),
        testing.client(two),
        one.channels.subscribe("t") as here,
        two.channels.subscribe("t") as there,
    ):
        published = await one.channels.publish("t", "hi")

        assert (1, 1) == (published.queued, published.remote)
        assert "hi" == (await here.receive()).data == (await there.receive()).data


class BrokenBroker(Broker):
    """A broker that breaks, in `open` or later."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    @asynccontextmanager
    async def open(self, listener: Listener) -> AsyncGenerator[BrokerSession]:
        """Open a session that lasts so many seconds."""
        if not self._seconds:
            raise BrokerUnavailable("there is no broker")
        async with MemoryBroker().open(listener) as session, trio.open_nursery() as nursery:
            nursery.start_soon(self._break)
            yield session
            nursery.cancel_scope.cancel()

    async def _break(self) -> None:
        await trio.sleep(self._seconds)
        raise RuntimeError("on purpose")


async def test_a_broker_that_cannot_be_opened(autojump_clock: MockClock) -> None:
    """The app does not start without its broker, and says why."""
    app = App(__name__, broker=BrokenBroker(0))

    with pytest.RaisesGroup(BrokerUnavailable, flatten_subgroups=True, allow_unwrapped=True):
        async with app.running():
            pass


async def test_a_broker_that_breaks(autojump_clock: MockClock) -> None:
    """An app whose broker has a fault ends, and says why: never a half-dead server."""
    app = App(__name__, broker=BrokenBroker(1))

    with pytest.RaisesGroup(RuntimeError, flatten_subgroups=True):
        async with app.running():
            await trio.sleep_forever()


async def test_a_broker_that_cannot_be_told(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What fails behind those who have left is logged, and the app goes on."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)

    @app.websocket()
    async def member() -> None:
        await websocket.join("t", presence={})
        await websocket.receive()

    async with testing.client(app) as client:
        async with client.websocket("/member"):
            await wait_all_tasks_blocked()
            broker.failure = ValueError("on purpose")
        await wait_all_tasks_blocked()
        broker.failure = None
        async with app.channels.subscribe("t"):
            assert 1 == app.channels.statistics().topics
        await wait_all_tasks_blocked()
        assert 0 == app.channels.statistics().topics

    assert 2 * ["the broker could not be told of who has left"] == [
        record.getMessage() for record in caplog.records
    ]
    names = [call[0] for call in broker.calls]
    assert ["subscribe", "enter", "leave", "unsubscribe", "subscribe", "unsubscribe"] == names


async def test_outside_of_a_run() -> None:
    """Without a session nothing can be asked, and nothing is there."""
    hub = Hub(MemoryBroker)

    assert not hub.is_running
    assert isinstance(NotRunning("it was used"), StateError)
    with pytest.raises(NotRunning):
        _ = hub.session
    with pytest.raises(NotRunning):
        _ = hub.nursery
    assert 0 == hub.statistics("t").members


async def test_presence(autojump_clock: MockClock) -> None:
    """Watchers hear of members, and members that end leave at once."""
    app = App(__name__)

    @app.websocket()
    async def member() -> None:
        await websocket.join("t", presence={"name": "joe"})
        if await websocket.receive() == "leave":
            await websocket.leave("t")
            await websocket.receive()

    async with testing.client(app) as client, app.channels.presence_events("t") as events:
        for farewell in ("leave", "return"):
            async with client.websocket("/member") as peer:
                assert "join" == (await events.receive()).kind
                await peer.send(farewell)
                assert "leave" == (await events.receive()).kind
        assert 1 == app.channels.statistics("t").subscriptions


async def test_drops_are_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """One line a second at most says how many messages of a topic were dropped."""
    app = App(__name__)
    app.channels.configure("t", overflow="drop_oldest", capacity=1)
    async with testing.client(app), app.channels.subscribe("t"), app.channels.subscribe("u"):
        for _ in range(30):
            await app.channels.publish("t", "hi")
            await trio.sleep(0.1)
        await trio.sleep(2)

    counts = [int(line.split()[0]) for line in lines(caplog, logging.WARNING)]
    assert (4, 29) == (len(counts), sum(counts))


async def test_drops_of_many_topics(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """They share the line, which names the worst; the last one comes when the app ends."""
    app = App(__name__)
    app.channels.configure("*", overflow="drop_oldest", capacity=1)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(testing.client(app))
        for topic in ("t", "u", "v"):
            await stack.enter_async_context(app.channels.subscribe(topic))
        for topics in ("tt", "tuvuuv", "ttv"):
            for topic in topics:
                await app.channels.publish(topic, "hi")
            await trio.sleep(0.9)

    dropped = "%s were dropped%s: members were too slow"
    assert [
        dropped % ("1 messages of topic 't'", ""),
        dropped % ("4 messages of 3 topics", ", 2 of them of 'u'"),
        dropped % ("3 messages of 2 topics", ", 2 of them of 't'"),
    ] == lines(caplog, logging.WARNING)


async def test_all_drops_are_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Those of a gap that is filled, of presence, and of a topic that is used no more, too."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)
    app.channels.configure("t", history=9, overflow="drop_oldest", capacity=1)
    counts = []
    async with testing.client(app):
        async with app.channels.subscribe("t"), app.channels.presence_events("t"):
            broker.keep(1, 2, 3)
            broker.listener.lapse("t")
            await trio.sleep(3)
            counts.append(len(caplog.records))
            for kind in ("join", "leave"):
                broker.listener.presence_changed(PresenceEvent("t", kind, "a", None))
            await trio.sleep(0.5)
            counts.append(len(caplog.records))
            broker.deliver(4, 5)
        await trio.sleep(3)
        counts.append(len(caplog.records))

    assert [1, 2, 3] == counts
    assert [2, 1, 2] == [int(line.split()[0]) for line in lines(caplog, logging.WARNING)]


async def test_threads_find_the_way() -> None:
    """The token of the run is there while the app runs."""
    hub = Hub(MemoryBroker)
    with pytest.raises(NotRunning):
        _ = hub.trio_token
    async with hub.running():
        assert trio.lowlevel.current_trio_token() is hub.trio_token


async def test_gaps_are_filled(autojump_clock: MockClock) -> None:
    """A lapse has the topic ask the history; one of a topic that nobody uses does nothing."""
    broker = ScriptedBroker()
    app = App(__name__, broker=broker)
    app.channels.configure("t", history=9)
    async with testing.client(app), app.channels.subscribe("t") as messages:
        broker.keep(1)
        broker.listener.lapse("t")
        broker.listener.lapse("another")
        assert "1" == (await messages.receive()).data


async def test_an_app_that_ends_with_members(autojump_clock: MockClock) -> None:
    """Connections that outlast the broker's session leave without it."""
    hub = Hub(MemoryBroker)
    memberships = Memberships(hub, Somebody(), Taking(), lambda *_: None)  # type: ignore[arg-type]
    async with hub.running():
        for topic in ("t", "u"):
            await memberships.join(topic, envelope=False, since=None, presence=1, overflow=None)
    await memberships.leave("u")
    memberships.end()

    assert not hub.is_running


async def test_a_program_that_fails_around_it(autojump_clock: MockClock) -> None:
    """What fails while the app runs comes out as it was, in no group of ours."""
    with pytest.raises(ValueError, match="on purpose"):
        async with Hub(MemoryBroker).running():
            raise ValueError("on purpose")


async def test_several_workers(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rooms of one worker each would be half a room: the app does not start, or fails at once."""
    monkeypatch.setenv(PROCESSES, "2")
    app = App(__name__)
    async with testing.client(app):
        with pytest.raises(StateError, match=r"run one worker, or give the app a broker"):
            await app.channels.publish("t", "hi")
    app.channels.configure("t")
    with pytest.raises(StateError, match="runs in several workers"):
        async with app.running():
            pass
    async with testing.client(App(__name__, broker=MemoryBroker())):
        pass
