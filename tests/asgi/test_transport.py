"""The transport of one ASGI connection: what a peer sees of it, and how it ends.

The server is `Wire`, which behaves as hypercorn does; where another server matters, it is
written beside the test.
"""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triows._asgi import ASGITransport, ClientDisconnected, open_asgi_transport
from triows._close import CloseInfo
from triows._errors import ConnectionClosed, MessageTooBig
from triows._guard import STUCK
from triows._limits import Limits
from triows._outbox import Prepared
from triows._timer import open_timer
from triows._transport import Transport
from triows._types import Data, Event, Receive, Scope, Send
from triows.testing._peer import Peer
from triows.testing._wire import Wire

CONNECT: Event = {"type": "websocket.connect"}

ACCEPT: Event = {"type": "websocket.accept", "subprotocol": None, "headers": []}

REJECTIONS: Scope = {"extensions": {"websocket.http.response": {}}}


@asynccontextmanager
async def open_transport(
    receive: Receive,
    send: Send,
    *,
    limits: Limits | None = None,
    discard: bool = False,
) -> AsyncGenerator[ASGITransport]:
    """Run a transport around a block, and the timer that it needs."""
    limits = limits or Limits()
    async with (
        open_timer() as timer,
        open_asgi_transport(
            REJECTIONS, receive, send, limits=limits, timer=timer, discard=discard
        ) as transport,
    ):
        yield transport


@asynccontextmanager
async def open_connection(
    *, limits: Limits | None = None, discard: bool = False
) -> AsyncGenerator[tuple[ASGITransport, Peer]]:
    """Run an accepted connection around a block, and give both of its ends."""
    wire = Wire()
    peer = Peer(wire, 60, lambda: "")
    async with open_transport(wire.receive, wire.send, limits=limits, discard=discard) as transport:
        await transport.accept(None, [])
        yield transport, peer


class Quiet:
    """A server of which nothing is heard after the handshake, not even the peer's answer."""

    def __init__(self, *events: Event) -> None:
        self.sent: list[Event] = []
        self._events = [CONNECT, *events]

    async def receive(self) -> Event:
        """Be the app's `receive`."""
        await trio.lowlevel.checkpoint()
        if not self._events:
            await trio.sleep_forever()
        return self._events.pop(0)

    async def send(self, event: Event) -> None:
        """Be the app's `send`."""
        await trio.lowlevel.checkpoint()
        self.sent.append(event)


class Record:
    """What a transport tells its connection."""

    def __init__(self, transport: ASGITransport) -> None:
        self.gone: list[tuple[float, CloseInfo]] = []
        self.overruns: list[tuple[float, int, str]] = []
        self.delivered = 0
        transport.observe(self, self._note_gone, self._note_overrun, self._note_delivery)

    def _note_gone(self, info: CloseInfo) -> None:
        self.gone.append((trio.current_time(), info))

    def _note_overrun(self, code: int, reason: str) -> None:
        self.overruns.append((trio.current_time(), code, reason))

    def _note_delivery(self) -> None:
        self.delivered += 1


async def check_ended(transport: ASGITransport, info: CloseInfo) -> None:
    """Check that nothing can be received or sent any more, and that the error says why."""
    with pytest.raises(ConnectionClosed) as caught:
        await transport.receive()
    assert info == caught.value.info
    with pytest.raises(ConnectionClosed) as caught:
        await transport.send("too late")
    assert info == caught.value.info
    with pytest.raises(ConnectionClosed) as caught:
        transport.send_nowait(Prepared("too late"))
    assert info == caught.value.info


class TestOpen:
    """The transport's tasks live as long as the block."""

    async def test_is_a_transport(self, autojump_clock: MockClock) -> None:
        """It has what a connection needs of the wire."""
        async with open_connection() as (transport, _):
            as_a_connection_sees_it: Transport = transport
            assert (None, None) == (as_a_connection_sees_it.closed, transport.latency)

    @pytest.mark.parametrize("wait", [0, 1])
    async def test_nothing_is_left(self, autojump_clock: MockClock, wait: float) -> None:
        """After the block no task is left, whatever was started, and whoever is still there."""
        before = trio.lowlevel.current_statistics().tasks_living
        async with open_connection() as (transport, peer):
            transport.send_nowait(Prepared("starts the writer task"))
            await peer.receive()
            await trio.sleep(wait)

        assert before == trio.lowlevel.current_statistics().tasks_living

    async def test_nothing_is_left_of_a_failed_block(self, autojump_clock: MockClock) -> None:
        """Also when the block raises, which comes out in groups, as from nurseries."""
        before = trio.lowlevel.current_statistics().tasks_living
        with pytest.RaisesGroup(ValueError, flatten_subgroups=True):
            async with open_connection():
                raise ValueError

        assert before == trio.lowlevel.current_statistics().tasks_living

    async def test_nothing_is_left_of_a_cancelled_block(self, autojump_clock: MockClock) -> None:
        """Also when the server cancels the app, with a message on its way to nobody."""
        before = trio.lowlevel.current_statistics().tasks_living
        with trio.move_on_after(1):
            async with open_connection() as (transport, peer):
                peer.stall()
                Record(transport)
                transport.send_nowait(Prepared("stuck"))
                try:
                    await trio.sleep_forever()
                finally:
                    transport.abort()

        assert before == trio.lowlevel.current_statistics().tasks_living
        assert 1 == trio.current_time()


class TestHandshake:
    """The handshake is taken from the server, and answered once."""

    async def test_accept(self, autojump_clock: MockClock) -> None:
        """The peer sees the subprotocol and the headers of the answer."""
        wire = Wire()
        peer = Peer(wire, 60, lambda: "")
        async with open_transport(wire.receive, wire.send) as transport:
            await transport.accept("v2", [(b"x-served-by", b"triows")])
            await peer.wait_answer()

            assert "v2" == peer.subprotocol
            assert "triows" == peer.headers["x-served-by"]
            assert transport.closed is None

    async def test_accept_is_not_cancelled(self, autojump_clock: MockClock) -> None:
        """An answer that the server has begun to write goes out."""
        server = Quiet()

        async def send(event: Event) -> None:
            await trio.sleep(5)
            await server.send(event)

        async with open_transport(server.receive, send) as transport:
            with trio.move_on_after(1):
                await transport.accept(None, [])

        assert [ACCEPT] == server.sent

    async def test_the_peer_left_before_the_app_was_called(self, autojump_clock: MockClock) -> None:
        """A connection that is over before it began is closed from the start."""

        async def receive() -> Event:
            return {"type": "websocket.disconnect", "code": 1001}

        server = Quiet()
        async with open_transport(receive, server.send) as transport:
            ending = CloseInfo(1001, "", by_peer=True)
            assert ending == transport.closed
            with pytest.raises(ConnectionClosed):
                await transport.accept(None, [])
            with pytest.raises(ConnectionClosed):
                await transport.reject(403, [], b"")
            await check_ended(transport, ending)
            await transport.finish()

        assert [] == server.sent

    async def test_a_server_that_fails_at_once(self, autojump_clock: MockClock) -> None:
        """A network error instead of the handshake is a peer that has left."""

        async def receive() -> Event:
            raise ConnectionResetError

        async with open_transport(receive, Quiet().send) as transport:
            assert CloseInfo(1006, "", by_peer=True) == transport.closed

    async def test_the_peer_leaves_before_the_answer(self, autojump_clock: MockClock) -> None:
        """A handler that thinks long about its answer hears that nobody waits for it."""
        wire = Wire()
        async with open_transport(wire.receive, wire.send) as transport:
            record = Record(transport)
            Peer(wire, 60, lambda: "").drop()
            await trio.sleep(10)

            assert [(0.25, CloseInfo(1006, "", by_peer=True))] == record.gone
            with pytest.raises(ConnectionClosed):
                await transport.accept(None, [])

    async def test_reject(self, autojump_clock: MockClock) -> None:
        """The peer sees status, headers and body; for this side the connection is over."""
        wire = Wire()
        async with open_transport(wire.receive, wire.send) as transport:
            record = Record(transport)
            await transport.reject(401, [(b"www-authenticate", b"Bearer")], b"who?")

            assert wire.rejection is not None
            assert 401 == wire.rejection.status
            assert ("www-authenticate", "Bearer") in wire.rejection.headers
            assert b"who?" == wire.rejection.body
            ending = CloseInfo(1006, "answered with HTTP 401", by_peer=False)
            assert ending == transport.closed
            await check_ended(transport, ending)
            await transport.finish()
            await transport.close(1000, "")
            with pytest.raises(ConnectionClosed):
                await transport.reject(403, [], b"")
            assert [] == record.gone

    async def test_reject_is_not_cut_in_two(self, autojump_clock: MockClock) -> None:
        """A rejection is cancelled before it begins or not at all."""
        server = Quiet()

        async def send(event: Event) -> None:
            await trio.sleep(5)
            await server.send(event)

        async with open_transport(server.receive, send) as transport:
            with trio.CancelScope() as scope:
                scope.cancel()
                await transport.reject(403, [], b"")
            assert transport.closed is None
            assert [] == server.sent

            with trio.move_on_after(1):
                await transport.reject(404, [], b"no")

        assert [b"no"] == [event["body"] for event in server.sent[1:]]

    async def test_reject_somebody_who_left(self, autojump_clock: MockClock) -> None:
        """A rejection that reaches nobody raises, as any other message would."""

        async def send(_: Event) -> None:
            raise OSError

        async with open_transport(Quiet().receive, send) as transport:
            with pytest.raises(ConnectionClosed):
                await transport.reject(403, [], b"")
            await transport.finish()


class TestMessages:
    """Messages go both ways, whole and in order."""

    async def test_exchange(self, autojump_clock: MockClock) -> None:
        """What is sent arrives as it was, empty messages too, and is counted."""
        async with open_connection() as (transport, peer):
            for message in ("text", b"bytes", "", b""):
                await peer.send(message)
                assert message == await transport.receive()
                await transport.send(message)
                assert message == await peer.receive()

            assert 4 == transport.received
            assert 4 == transport.sent

    async def test_queued_and_sent(self, autojump_clock: MockClock) -> None:
        """Messages that were queued and messages that were sent keep their order."""
        async with open_connection() as (transport, peer):
            assert transport.send_nowait(Prepared("one"))
            await transport.send("two")
            assert transport.send_nowait(Prepared("three"))

            assert ["one", "two", "three"] == [await peer.receive() for _ in range(3)]

    async def test_received_before_it_is_asked_for(self, autojump_clock: MockClock) -> None:
        """Messages that came while the handler was busy are received in order."""
        async with open_connection() as (transport, peer):
            await peer.send("one")
            await peer.send("two")
            await trio.sleep(1)
            await peer.send("three")

            assert ["one", "two", "three"] == [await transport.receive() for _ in range(3)]

    async def test_discarded(self, autojump_clock: MockClock) -> None:
        """A route that discards hears nothing of messages, but counts them as signs of life."""
        limits = Limits(idle_timeout=60)
        async with open_connection(limits=limits, discard=True) as (transport, peer):
            for _ in range(1000):
                await peer.send("heartbeat")
            await trio.sleep(3)
            await peer.send("heartbeat")
            await wait_all_tasks_blocked()

            assert 1001 == transport.received
            assert 3 == transport.last_received

    async def test_last_received_begins_with_the_accept(self, autojump_clock: MockClock) -> None:
        """A peer that has said nothing yet is idle since it was accepted."""
        wire = Wire()
        async with open_transport(wire.receive, wire.send) as transport:
            await trio.sleep(7)
            await transport.accept(None, [])

            assert 7 == transport.last_received

    async def test_reading_can_be_stopped(self, autojump_clock: MockClock) -> None:
        """Messages that nobody waits for stay with the server while reading is stopped."""
        async with open_connection() as (transport, peer):
            transport.set_reading(False)
            await peer.send("later")
            await trio.sleep(60)
            assert 0 == transport.received

            transport.set_reading(True)
            await trio.sleep(1)
            assert 1 == transport.received

    @pytest.mark.parametrize("seed", range(3))
    async def test_random_cancellation_both_ways(
        self, autojump_clock: MockClock, seed: int
    ) -> None:
        """An echo that is cancelled at random, again and again, loses nothing it received."""
        rng = random.Random(seed)
        count = 1000
        pauses = [0, 0, 0, 0.001, 0.3]
        echoed: list[Data] = []
        async with open_connection() as (transport, peer), trio.open_nursery() as nursery:

            async def talk() -> None:
                for i in range(count):
                    await peer.send(str(i))
                    await trio.sleep(rng.choice(pauses))

            async def listen() -> None:
                while len(echoed) < count:
                    echoed.append(await peer.receive())

            nursery.start_soon(talk)
            nursery.start_soon(listen)
            while len(echoed) < count:
                message: Data | None = None
                with trio.move_on_after(rng.choice(pauses)):
                    message = await transport.receive()
                sent = transport.sent
                while message is not None and sent == transport.sent:
                    with trio.move_on_after(rng.choice(pauses)):
                        await transport.send(message)

        assert list(map(str, range(count))) == echoed

    async def test_accept_does_not_call_the_watcher(self, autojump_clock: MockClock) -> None:
        """After an explicit accept the handler may still come in time to read by itself."""
        wire = Wire()
        async with open_transport(wire.receive, wire.send) as transport:
            await trio.sleep(0.1)
            await transport.accept(None, [])
            await wire.put("for the receiver")
            await wait_all_tasks_blocked()
            assert 0 == transport.received

            assert "for the receiver" == await transport.receive()


class TestPeerLeaves:
    """The end is told once, and what arrived before it is still received."""

    async def test_close(self, autojump_clock: MockClock) -> None:
        """The peer's code and reason are told; nothing can be sent any more."""
        async with open_connection() as (transport, peer):
            record = Record(transport)
            await peer.send("last words")
            await peer.close(4001, "bye")
            await trio.sleep(1)

            ending = CloseInfo(4001, "bye", by_peer=True)
            assert [(0.25, ending)] == record.gone
            with pytest.raises(ConnectionClosed):
                await transport.send("too late")
            assert "last words" == await transport.receive()
            assert 1 == record.delivered
            await check_ended(transport, ending)

    async def test_whose_it_was(self, autojump_clock: MockClock) -> None:
        """What is raised after the end says of which connection it speaks."""
        async with open_connection() as (transport, peer):
            record = Record(transport)
            peer.drop()
            with pytest.raises(ConnectionClosed) as caught:
                await transport.receive()
            assert record is caught.value.websocket

    async def test_seen_at_once_by_a_receiver(self, autojump_clock: MockClock) -> None:
        """A handler that is receiving hears of it without delay."""
        async with open_connection() as (transport, peer):
            record = Record(transport)
            peer.drop()
            await check_ended(transport, CloseInfo(1006, "", by_peer=True))

            assert [(0, CloseInfo(1006, "", by_peer=True))] == record.gone

    async def test_seen_at_once_where_messages_are_discarded(
        self, autojump_clock: MockClock
    ) -> None:
        """A handler that only pushes, and has said so, hears of it without delay."""
        async with open_connection(discard=True) as (transport, peer):
            record = Record(transport)
            peer.drop()
            await wait_all_tasks_blocked()

            assert [(0, CloseInfo(1006, "", by_peer=True))] == record.gone

    async def test_a_push_loop_notices(self, autojump_clock: MockClock) -> None:
        """A handler that only sends is not alone for ever, though the server's send succeeds."""
        async with open_connection() as (transport, peer):
            peer.drop()

            async def push() -> None:
                while True:
                    await transport.send("tick")
                    await trio.sleep(0.01)

            with trio.fail_after(1), pytest.raises(ConnectionClosed):
                await push()

    async def test_a_push_loop_without_a_pause(self, autojump_clock: MockClock) -> None:
        """Even one that never sleeps: after the departure the server's send is no checkpoint."""
        with trio.fail_after(1) as scope:
            async with open_connection() as (transport, peer), trio.open_nursery() as nursery:
                peer.drop()

                async def push() -> None:
                    while True:
                        await transport.send("tick")

                nursery.start_soon(push)
                for _ in range(100):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        assert not scope.cancelled_caught


class TestPeerMisbehaves:
    """A message that is too big ends the connection."""

    async def test_too_big(self, autojump_clock: MockClock) -> None:
        """The peer is told 1009, the connection why; and the fault is remembered."""
        async with open_connection(limits=Limits(max_message_size=10)) as (transport, peer):
            record = Record(transport)
            await peer.send("x" * 11)
            ending = CloseInfo(1009, "a message is larger than 10 bytes", by_peer=False)
            await check_ended(transport, ending)

            assert isinstance(transport.fault, MessageTooBig)
            assert [(0, ending)] == record.gone
            assert 1009 == (await peer.wait_closed()).code
            await transport.finish()

    async def test_what_came_before_is_received(self, autojump_clock: MockClock) -> None:
        """Messages in the inbox are delivered, though the connection is over."""
        async with open_connection(limits=Limits(max_message_size=10)) as (transport, peer):
            await peer.send("fine")
            await peer.send("x" * 11)
            await trio.sleep(1)
            assert transport.closed is not None

            assert "fine" == await transport.receive()
            with pytest.raises(ConnectionClosed):
                await transport.receive()

    async def test_told_when_the_way_is_free(self, autojump_clock: MockClock) -> None:
        """The receiver need not wait until the peer, which does not read either, is told."""
        async with (
            open_connection(limits=Limits(max_message_size=10)) as (transport, peer),
            trio.open_nursery() as nursery,
        ):
            peer.stall()
            nursery.start_soon(transport.send, "stuck")
            await peer.send("x" * 11)
            with pytest.raises(ConnectionClosed):
                await transport.receive()
            await wait_all_tasks_blocked()
            assert peer.closed is None

            peer.resume()
            assert 1009 == (await peer.wait_closed()).code


class Left(Quiet):
    """Our own server behind middleware, which a peer has left with 4001: a send is told so."""

    async def send(self, event: Event) -> None:
        """Be the app's `send`."""
        await super().send(event)
        if event["type"] == "websocket.send":
            raise ClientDisconnected(LEFT)


LEFT = CloseInfo(4001, "bye", by_peer=True, clean=True)


def after(*messages: str) -> Left:
    """Return a server that has these messages, and the disconnect behind them."""
    events = [{"type": "websocket.receive", "text": message} for message in messages]
    return Left(*events, {"type": "websocket.disconnect", "code": 4001, "reason": "bye"})


class TestEndHeardOfByWriting:
    """A send is the first to hear that the peer has left; what it sent before is not lost."""

    async def test_what_came_before_is_received(self, autojump_clock: MockClock) -> None:
        """It is announced at once; a close of ours that comes too late changes nothing."""
        server = after("one", "two")
        async with open_transport(server.receive, server.send) as transport:
            record = Record(transport)
            await transport.accept(None, [])
            with pytest.raises(ConnectionClosed):
                await transport.send("x")
            assert [(0, LEFT)] == record.gone
            await transport.close(1000, "")

            assert ["one", "two"] == [await transport.receive() for _ in range(2)]
            await check_ended(transport, LEFT)

        assert ["websocket.accept", "websocket.send"] == [event["type"] for event in server.sent]

    async def test_finish(self, autojump_clock: MockClock) -> None:
        """Whoever receives no more waits only until the server has said all of it."""
        server = after("one", "two", "three")
        limits = Limits(inbox_messages=2)
        async with open_transport(server.receive, server.send, limits=limits) as transport:
            await transport.accept(None, [])
            with pytest.raises(ConnectionClosed):
                await transport.send("x")
            await trio.sleep(1)
            await transport.finish()

        assert 1 == trio.current_time()

    async def test_abort(self, autojump_clock: MockClock) -> None:
        """Nothing is received of a connection that was given up."""
        server = after("one")
        async with open_transport(server.receive, server.send) as transport:
            await transport.accept(None, [])
            with pytest.raises(ConnectionClosed):
                await transport.send("x")
            transport.abort()

            await check_ended(transport, LEFT)


class TestGuardedServer:
    """A server that sees for itself that a peer does not read."""

    async def test_is_heard(self, autojump_clock: MockClock) -> None:
        """It tells those that have put themselves into the scope's set, while they live."""
        wire = Wire()
        stuck: set[Callable[[], None]] = set()
        scope: Scope = {"extensions": {STUCK: stuck}}
        overruns: list[tuple[int, str]] = []
        async with (
            open_timer() as timer,
            open_asgi_transport(
                scope, wire.receive, wire.send, limits=Limits(), timer=timer, discard=False
            ) as transport,
        ):
            transport.observe(
                None, lambda _: None, lambda *overrun: overruns.append(overrun), lambda: None
            )
            for tell in stuck:
                tell()
            transport.abort()

        assert [(1006, "peer has not read for 20 s")] == overruns
        assert set() == stuck


class TestClose:
    """This side closes: the frame goes out once, and the peer's answer is awaited."""

    async def test_close(self, autojump_clock: MockClock) -> None:
        """The peer sees code and reason; for this side they are how it ended."""
        async with open_connection() as (transport, peer):
            record = Record(transport)
            await transport.close(4000, "enough")
            await transport.finish()

            assert CloseInfo(4000, "enough", by_peer=True, clean=True) == await peer.wait_closed()
            await check_ended(transport, CloseInfo(4000, "enough", by_peer=False))
            assert [] == record.gone

    async def test_the_first_code_wins(self, autojump_clock: MockClock) -> None:
        """A second close changes nothing, nor does one after the peer's."""
        async with open_connection() as (transport, peer):
            await transport.close(4000, "first")
            await transport.close(4001, "second")
            assert 4000 == (await peer.wait_closed()).code
            assert CloseInfo(4000, "first", by_peer=False) == transport.closed

        async with open_connection() as (transport, peer):
            await peer.close(4002)
            await trio.sleep(1)
            await transport.close(4000, "too late")
            assert CloseInfo(4002, "", by_peer=True) == transport.closed

    async def test_releases_a_receiver(self, autojump_clock: MockClock) -> None:
        """A receive that waits in another task raises."""
        async with open_connection() as (transport, _), trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(ConnectionClosed) as caught:
                    await transport.receive()
                assert CloseInfo(1000, "", by_peer=False) == caught.value.info

            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            await transport.close(1000, "")

    async def test_releases_a_receiver_behind_the_watcher(self, autojump_clock: MockClock) -> None:
        """Also one that waits for the watcher, and without waiting for the peer."""
        server = Quiet()
        async with open_transport(server.receive, server.send) as transport:
            await transport.accept(None, [])
            await trio.sleep(1)
            async with trio.open_nursery() as nursery:

                async def receive() -> None:
                    with pytest.raises(ConnectionClosed):
                        await transport.receive()

                nursery.start_soon(receive)
                await wait_all_tasks_blocked()
                await transport.close(1000, "")
            assert 1 == trio.current_time()

    async def test_unread_messages_are_dropped(self, autojump_clock: MockClock) -> None:
        """Whoever closes is not interested any more: `receive` raises at once."""
        async with open_connection() as (transport, peer):
            await peer.send("unread")
            await trio.sleep(1)
            await transport.close(1000, "")

            await check_ended(transport, CloseInfo(1000, "", by_peer=False))

    async def test_what_was_queued_goes_out_first(self, autojump_clock: MockClock) -> None:
        """The peer gets everything that was sent without waiting, then the close."""
        async with open_connection() as (transport, peer):
            transport.send_nowait(Prepared("one"))
            transport.send_nowait(Prepared("two"))
            await transport.close(1000, "")

            assert ["one", "two"] == [message async for message in peer]

    async def test_without_an_answer(self, autojump_clock: MockClock) -> None:
        """A peer that does not answer is waited for `close_timeout`, and then given up."""
        server = Quiet()
        limits = Limits(close_timeout=5)
        async with open_transport(server.receive, server.send, limits=limits) as transport:
            record = Record(transport)
            await transport.accept(None, [])
            await trio.sleep(1)
            await transport.close(1000, "")
            assert 1 == trio.current_time()
            await transport.finish()

            assert 6 == trio.current_time()
            assert CloseInfo(1000, "", by_peer=False) == transport.closed
            assert [] == record.overruns

    async def test_without_an_answer_and_with_a_receiver(self, autojump_clock: MockClock) -> None:
        """A receiver inside the server's receive cannot be called out: the connection is told."""
        server = Quiet()
        limits = Limits(close_timeout=5)
        async with (
            open_transport(server.receive, server.send, limits=limits) as transport,
            trio.open_nursery() as nursery,
        ):
            record = Record(transport)
            await transport.accept(None, [])
            nursery.start_soon(transport.receive)
            await wait_all_tasks_blocked()
            await transport.close(1000, "")
            await transport.finish()

            assert [(5, 1006, "peer has not answered the close")] == record.overruns
            nursery.cancel_scope.cancel()

    async def test_messages_before_the_answer(self, autojump_clock: MockClock) -> None:
        """A peer that goes on talking is read, to find its answer among the messages."""
        messages: list[Event] = [{"type": "websocket.receive", "text": "x"}] * 100
        server = Quiet(*messages, {"type": "websocket.disconnect", "code": 1000})
        async with open_transport(server.receive, server.send) as transport:
            await transport.accept(None, [])
            await transport.close(1000, "")
            await transport.finish()

            assert 0 == transport.received
        assert 0 == trio.current_time()

    async def test_the_answer_behind_a_full_inbox(self, autojump_clock: MockClock) -> None:
        """A close finds the peer's answer also if the inbox was full before."""
        async with open_connection(limits=Limits(inbox_messages=2)) as (transport, peer):
            record = Record(transport)
            for _ in range(10):
                await peer.send("unread")
            await trio.sleep(1)
            assert 2 == transport.received
            await transport.close(1000, "")
            await transport.finish()
            await trio.sleep(1000)

            assert [] == record.overruns

    async def test_checks_cancellation(self, autojump_clock: MockClock) -> None:
        """A cancelled task closes nothing."""
        async with open_connection() as (transport, peer):
            with trio.CancelScope() as scope:
                scope.cancel()
                await transport.close(1000, "")

            assert transport.closed is None
            assert peer.closed is None

    async def test_cancelled_behind_a_stuck_send(self, autojump_clock: MockClock) -> None:
        """A close cancelled before its frame was with the server is finished by the next."""
        async with open_connection() as (transport, peer), trio.open_nursery() as nursery:
            peer.stall()
            nursery.start_soon(transport.send, "stuck")
            await wait_all_tasks_blocked()
            with trio.move_on_after(1) as scope:
                await transport.close(4000, "enough")
            assert scope.cancelled_caught
            assert peer.closed is None

            peer.resume()
            await transport.close(1001, "too late to say so")
            assert 4000 == (await peer.wait_closed()).code
            assert "stuck" == await peer.receive()

    async def test_behind_a_send_that_stays_stuck(self, autojump_clock: MockClock) -> None:
        """A close that cannot go out gives up after `close_timeout`; the send is its task's."""
        async with (
            open_connection(limits=Limits(close_timeout=5)) as (transport, peer),
            trio.open_nursery() as nursery,
        ):
            peer.stall()
            nursery.start_soon(transport.send, "stuck")
            await wait_all_tasks_blocked()
            await transport.close(1000, "")
            await transport.finish()

            assert 5 == trio.current_time()
            nursery.cancel_scope.cancel()

    async def test_behind_a_queue_that_stays_stuck(self, autojump_clock: MockClock) -> None:
        """What was queued holds a close up for `close_timeout`, not for `send_timeout`."""
        async with open_connection(limits=Limits(close_timeout=5)) as (transport, peer):
            Record(transport)
            peer.stall()
            transport.send_nowait(Prepared("one"))
            transport.send_nowait(Prepared("two"))
            await transport.close(1000, "")

            assert 5 == trio.current_time()
            assert peer.closed is None

    async def test_server_that_raises(self, autojump_clock: MockClock) -> None:
        """If the peer turns out to be gone when it is told, there is no answer to wait for."""
        server = Quiet()

        async def send(event: Event) -> None:
            await server.send(event)
            if event["type"] == "websocket.close":
                raise trio.BrokenResourceError

        async with open_transport(server.receive, send) as transport:
            await transport.accept(None, [])
            await transport.close(1000, "")
            await transport.finish()

            assert CloseInfo(1000, "", by_peer=False) == transport.closed
        assert 0 == trio.current_time()


class TestAbort:
    """The peer is given up without a word."""

    async def test_abort(self, autojump_clock: MockClock) -> None:
        """The connection has ended, and nothing is waited for."""
        async with open_connection() as (transport, _):
            record = Record(transport)
            transport.abort()
            transport.abort()

            await check_ended(transport, CloseInfo(1006, "", by_peer=False))
            await transport.close(1000, "")
            await transport.finish()
            assert [] == record.gone

    async def test_after_a_close(self, autojump_clock: MockClock) -> None:
        """Aborted while the answer is awaited, it ended as it was closed."""
        server = Quiet()
        async with open_transport(server.receive, server.send) as transport:
            await transport.accept(None, [])
            await transport.close(4000, "")
            transport.abort()
            await transport.finish()

            assert CloseInfo(4000, "", by_peer=False) == transport.closed
        assert 0 == trio.current_time()

    async def test_waiting_calls(self, autojump_clock: MockClock) -> None:
        """A receive behind the watcher raises, and sends in line when it is their turn."""
        async with open_connection() as (transport, peer):
            peer.stall()
            await trio.sleep(1)
            async with trio.open_nursery() as nursery:
                stuck = trio.CancelScope()

                async def send_first() -> None:
                    with stuck:
                        await transport.send("stuck")

                async def send() -> None:
                    with pytest.raises(ConnectionClosed):
                        await transport.send("in line")

                async def receive() -> None:
                    with pytest.raises(ConnectionClosed):
                        await transport.receive()

                nursery.start_soon(send_first)
                await wait_all_tasks_blocked()
                nursery.start_soon(send)
                nursery.start_soon(receive)
                await wait_all_tasks_blocked()
                transport.abort()
                stuck.cancel()

        assert 1 == trio.current_time()

    async def test_a_queue_that_is_stuck(self, autojump_clock: MockClock) -> None:
        """What is written by nobody's task but the transport's own is given up with it."""
        async with open_connection() as (transport, peer):
            peer.stall()
            transport.send_nowait(Prepared("stuck"))
            await wait_all_tasks_blocked()
            transport.abort()

        assert 0 == trio.current_time()

    @pytest.mark.parametrize(
        "answer",
        [
            lambda transport: transport.accept(None, []),
            lambda transport: transport.reject(403, [], b""),
        ],
    )
    async def test_during_the_handshake(
        self, autojump_clock: MockClock, answer: Callable[[ASGITransport], Awaitable[None]]
    ) -> None:
        """An answer that the server does not get rid of is given up."""

        async def send(_: Event) -> None:
            await trio.sleep_forever()

        async with (
            open_transport(Quiet().receive, send) as transport,
            trio.open_nursery() as nursery,
        ):

            async def answer_handshake() -> None:
                with pytest.raises(ConnectionClosed):
                    await answer(transport)

            nursery.start_soon(answer_handshake)
            await wait_all_tasks_blocked()
            transport.abort()


class TestBounds:
    """What the transport finds out about a peer or a handler that does not read."""

    async def test_a_handler_that_does_not_read(self, autojump_clock: MockClock) -> None:
        """An inbox that stays full is reported after `stall_timeout`, with 1013."""
        limits = Limits(inbox_messages=2, stall_timeout=30)
        async with open_connection(limits=limits) as (transport, peer):
            record = Record(transport)
            for _ in range(10):
                await peer.send("unread")
            await trio.sleep(100)

            assert [(30.25, 1013, "inbox unread for 30 s")] == record.overruns

    async def test_a_peer_that_does_not_read(self, autojump_clock: MockClock) -> None:
        """A send that makes no progress is reported after `send_timeout`, with 1006."""
        async with (
            open_connection(limits=Limits(send_timeout=20)) as (transport, peer),
            trio.open_nursery() as nursery,
        ):
            record = Record(transport)
            peer.stall()
            nursery.start_soon(transport.send, "stuck")
            await trio.sleep(100)
            peer.resume()

            ((when, *overrun),) = record.overruns
            assert [1006, "peer has not read for 20 s"] == overrun
            assert 20 <= when <= 25
