"""How a WebSocket that hypercorn serves is let go, and what its app sees of that."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import h2.events
import pytest
import trio
import trio.testing
from hypercorn.config import Config
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream
from websockets.frames import Frame, Opcode

from tests.server.bridges import H2Client, served
from tests.server.serving import handshake, read_head
from tests.support import tracebacks
from triows import App, CloseInfo, Drain, Limits, websocket
from triows._asgi import ClientDisconnected
from triows._types import ASGIApp, Event, Receive, Scope, Send
from triows.server._bridge import Bridge
from triows.server._bridged import CLOSE_TIMEOUT, FAREWELL, Bridged
from triows.server._roster import Roster

Script: TypeAlias = Callable[[Receive, Send], Awaitable[object]]

DRAIN = Drain(code=4001, reason="moving")

GONE = CloseInfo(4001, "moving", by_peer=False)

DISCONNECT = {
    "type": "websocket.disconnect",
    "code": 4001,
    "reason": "moving",
    "triows.by_peer": False,
}


class Hypercorn:
    """What is below: a peer that says what it is told to, and answers a close if it is polite."""

    def __init__(self, *, is_polite: bool = True) -> None:
        self.sent: list[Event] = []
        self.is_polite = is_polite
        self.is_stuck = False
        self.tell, self._events = trio.open_memory_channel[Event](10)
        self.failure: Exception | None = None
        self.tell.send_nowait({"type": "websocket.connect"})

    async def receive(self) -> Event:
        """Return what the peer does next."""
        return await self._events.receive()

    async def send(self, event: Event) -> None:
        """Take what the app does."""
        await trio.lowlevel.checkpoint()
        if self.is_stuck:
            await trio.sleep_forever()
        if self.failure is not None:
            raise self.failure
        self.sent.append(event)
        if event["type"] == "websocket.close" and self.is_polite:
            await self.tell.send({"type": "websocket.disconnect", "code": 1000})


SCOPE: Scope = {
    "type": "websocket",
    "http_version": "1.1",
    "extensions": {"websocket.http.response": {}},
}


@asynccontextmanager
async def running(script: Script, hypercorn: Hypercorn) -> AsyncGenerator[Bridged]:
    """Run an app until it waits, around a block; then to its end."""

    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await script(receive, send)

    connection = Bridged(SCOPE, hypercorn.receive, hypercorn.send, Roster())
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run, app)
            await trio.testing.wait_all_tasks_blocked()
            yield connection


async def accept(receive: Receive, send: Send) -> None:
    """Accept a handshake."""
    assert {"type": "websocket.connect"} == await receive()
    await send({"type": "websocket.accept"})


async def test_what_happens_meanwhile(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing is changed on its way, either way, and how it ends is seen."""
    hypercorn = Hypercorn()
    message = {"type": "websocket.receive", "text": "hello", "bytes": None}
    goodbye = {"type": "websocket.disconnect", "code": 4002}

    async def script(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        assert message == await receive()
        await send({"type": "websocket.send", "text": "hello"})
        assert goodbye == await receive()

    async with running(script, hypercorn) as connection:
        assert connection.closed is None
        await hypercorn.tell.send(message)
        await hypercorn.tell.send(goodbye)

    assert ["websocket.accept", "websocket.send"] == [event["type"] for event in hypercorn.sent]
    assert CloseInfo(4002, "", by_peer=True) == connection.closed


class TestDismissal:
    """A connection that is open is closed, and its app hears of it."""

    async def test_while_the_app_receives(self, autojump_clock: trio.testing.MockClock) -> None:
        """It is called out of the server's `receive`, and told the same as often as it asks."""
        hypercorn = Hypercorn()
        events: list[Event] = []

        async def script(receive: Receive, send: Send) -> None:
            await accept(receive, send)
            events.extend([await receive(), await receive()])

        async with running(script, hypercorn) as connection:
            connection.dismiss(4001, "moving")

        assert [DISCONNECT, DISCONNECT] == events
        assert {"type": "websocket.close", "code": 4001, "reason": "moving"} == hypercorn.sent[-1]
        assert CloseInfo(4001, "moving", by_peer=False) == connection.closed

    async def test_while_the_app_does_something_else(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """The peer is told at once; the app hears of it when it receives."""
        hypercorn = Hypercorn()
        events: list[Event] = []

        async def script(receive: Receive, send: Send) -> None:
            await accept(receive, send)
            await trio.sleep(3)
            events.append(await receive())

        async with running(script, hypercorn) as connection:
            connection.dismiss(4001, "moving")
            await trio.sleep(1)
            assert "websocket.close" == hypercorn.sent[-1]["type"]
            assert [] == events

        assert [DISCONNECT] == events

    async def test_what_the_app_sends_then(self, autojump_clock: trio.testing.MockClock) -> None:
        """A message raises, as of a peer that has gone; a close of its own says nothing."""
        hypercorn = Hypercorn()

        async def script(receive: Receive, send: Send) -> None:
            await accept(receive, send)
            await receive()
            await send({"type": "websocket.close", "code": 1000})
            with pytest.raises(OSError, match="closed 4001 'moving'"):
                await send({"type": "websocket.send", "text": "still there?"})

        async with running(script, hypercorn) as connection:
            connection.dismiss(4001, "moving")

        assert ["websocket.accept", "websocket.close"] == [e["type"] for e in hypercorn.sent]

    async def test_an_app_that_only_sends(self, autojump_clock: trio.testing.MockClock) -> None:
        """It ends of that, alone or in a group, and nobody calls it a failure."""
        hypercorn = Hypercorn()

        async def push(receive: Receive, send: Send) -> None:
            await accept(receive, send)
            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(send_for_ever, send)

        async def send_for_ever(send: Send) -> None:
            while True:
                await send({"type": "websocket.send", "text": "tick"})
                await trio.sleep(1)

        async with running(push, hypercorn) as connection:
            connection.dismiss(4001, "moving")

    async def test_before_the_accept(self, autojump_clock: trio.testing.MockClock) -> None:
        """The handshake is refused with 503, and the app's answer comes too late."""
        hypercorn = Hypercorn()

        async def script(receive: Receive, send: Send) -> None:
            await trio.sleep(1)
            with pytest.raises(ClientDisconnected, match="HTTP 503"):
                await send({"type": "websocket.accept"})
            # Apps rely on it that this comes first, also after the end.
            assert {"type": "websocket.connect"} == await receive()
            event = await receive()
            assert (1006, "answered with HTTP 503") == (event["code"], event["reason"])

        async with running(script, hypercorn) as connection:
            connection.dismiss(4001, "moving")

        start, body = hypercorn.sent
        assert 503 == start["status"]
        assert not body["more_body"]

    async def test_too_late_for_the_drain(self, autojump_clock: trio.testing.MockClock) -> None:
        """A handshake that comes when all have been let go is refused; the app is told so."""
        hypercorn = Hypercorn()
        roster = Roster()
        await roster.close_all(DRAIN)
        events: list[Event] = []

        async def app(_: Scope, receive: Receive, send: Send) -> None:
            events.extend([await receive(), await receive()])

        await Bridged(SCOPE, hypercorn.receive, hypercorn.send, roster).run(app)

        assert ["websocket.connect", "websocket.disconnect"] == [e["type"] for e in events]
        assert 503 == hypercorn.sent[0]["status"]
        assert not roster

    async def test_what_has_ended_already(self, autojump_clock: trio.testing.MockClock) -> None:
        """Its own ending stands: the app's close, its refusal, the peer's, or its return."""

        async def closes(receive: Receive, send: Send) -> None:
            await accept(receive, send)
            await send({"type": "websocket.close", "code": 4000, "reason": "mine"})
            await trio.sleep(1)

        async def refuses(receive: Receive, send: Send) -> None:
            await send({"type": "websocket.http.response.start", "status": 404, "headers": []})
            await trio.sleep(1)
            await send({"type": "websocket.http.response.body", "body": b"gone"})

        async def returns(receive: Receive, send: Send) -> None:
            await accept(receive, send)

        endings = []
        for script in (closes, refuses, returns):
            hypercorn = Hypercorn()
            async with running(script, hypercorn) as connection:
                connection.dismiss(4001, "moving")
            assert 2 >= len(hypercorn.sent)
            endings.append(str(connection.closed))

        assert ["closed 4000 'mine'", "closed 1006 'answered with HTTP 404'"] == endings[:2]
        assert "closed 1000 ''" == endings[2]


class TestGoodbye:
    """The peer is given time to answer: going back at once would reset it."""

    async def test_an_answer(self, autojump_clock: trio.testing.MockClock) -> None:
        """What else the peer sends before it is nobody's any more."""
        hypercorn = Hypercorn(is_polite=False)

        async def script(receive: Receive, send: Send) -> None:
            await accept(receive, send)
            await receive()

        async with running(script, hypercorn) as connection:
            connection.dismiss(4001, "moving")
            await trio.sleep(1)
            await hypercorn.tell.send({"type": "websocket.receive", "text": "late"})
            await hypercorn.tell.send({"type": "websocket.disconnect", "code": 1000})
        assert 1 == trio.current_time()

    async def test_no_answer(self, autojump_clock: trio.testing.MockClock) -> None:
        """It is given `close_timeout`."""
        hypercorn = Hypercorn(is_polite=False)

        async def script(receive: Receive, send: Send) -> None:
            await accept(receive, send)
            await receive()

        async with running(script, hypercorn) as connection:
            connection.dismiss(4001, "moving")

        assert CLOSE_TIMEOUT == trio.current_time()

    async def test_cancelled(self, autojump_clock: trio.testing.MockClock) -> None:
        """Nobody is waited for."""
        hypercorn = Hypercorn(is_polite=False)

        async def app(_: Scope, receive: Receive, send: Send) -> None:
            await accept(receive, send)
            await receive()

        connection = Bridged(SCOPE, hypercorn.receive, hypercorn.send, Roster())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run, app)
            await trio.testing.wait_all_tasks_blocked()
            connection.dismiss(4001, "moving")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

        assert 0 == trio.current_time()

    async def test_a_server_that_fails(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged, and hurts nobody else."""
        hypercorn = Hypercorn()

        async def script(receive: Receive, send: Send) -> None:
            await accept(receive, send)
            await receive()

        async with running(script, hypercorn) as connection:
            hypercorn.failure = LookupError("no such stream")
            connection.dismiss(4001, "moving")

        assert ["LookupError"] == tracebacks(caplog)


class TestCancellation:
    """The server cancels the app, which is no failure of it."""

    async def run_cancelled(self, hypercorn: Hypercorn, app: ASGIApp) -> Bridged:
        """Run an app until it waits, and cancel it."""
        connection = Bridged(SCOPE, hypercorn.receive, hypercorn.send, Roster())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run, app)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return connection

    async def test_an_open_connection(self, autojump_clock: trio.testing.MockClock) -> None:
        """The peer is told 1001, not 1011."""
        hypercorn = Hypercorn()

        async def app(_: Scope, receive: Receive, send: Send) -> None:
            await accept(receive, send)
            await receive()

        connection = await self.run_cancelled(hypercorn, app)

        assert {"type": "websocket.close", "code": 1001, "reason": ""} == hypercorn.sent[-1]
        assert CloseInfo(1001, "", by_peer=False) == connection.closed

    async def test_whoever_says_it_itself(self, autojump_clock: trio.testing.MockClock) -> None:
        """The close of an app that sends one then is the only one."""
        hypercorn = Hypercorn()

        async def app(_: Scope, receive: Receive, send: Send) -> None:
            await accept(receive, send)
            try:
                await receive()
            finally:
                with trio.CancelScope(shield=True):
                    await send({"type": "websocket.close", "code": 4000, "reason": "mine"})

        await self.run_cancelled(hypercorn, app)

        closes = [event for event in hypercorn.sent if event["type"] == "websocket.close"]
        assert [4000] == [event["code"] for event in closes]

    async def test_before_the_accept(self, autojump_clock: trio.testing.MockClock) -> None:
        """Nothing is sent: the answer is hypercorn's."""
        hypercorn = Hypercorn()

        async def app(_: Scope, receive: Receive, __: Send) -> None:
            await receive()
            await receive()

        await self.run_cancelled(hypercorn, app)

        assert [] == hypercorn.sent

    async def test_a_peer_that_does_not_read(self, autojump_clock: trio.testing.MockClock) -> None:
        """It is not waited for long."""
        hypercorn = Hypercorn()

        async def app(_: Scope, receive: Receive, send: Send) -> None:
            await accept(receive, send)
            hypercorn.is_stuck = True
            await receive()

        await self.run_cancelled(hypercorn, app)

        assert FAREWELL == trio.current_time()


@pytest.mark.parametrize("beside", [[], [ClientDisconnected(GONE)]])
async def test_an_app_that_fails(beside: list[Exception]) -> None:
    """What it raises comes out as it is, for hypercorn to log; also beside a departure."""
    failure = ExceptionGroup("the app's", [LookupError("oh"), *beside])

    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        raise failure

    hypercorn = Hypercorn()
    with pytest.raises(ExceptionGroup) as raised:
        await Bridged(SCOPE, hypercorn.receive, hypercorn.send, Roster()).run(app)

    assert failure is raised.value


async def test_an_app_that_fails_when_nobody_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What it raised is not lost when the goodbye is cancelled."""
    hypercorn = Hypercorn(is_polite=False)

    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await receive()
        raise LookupError("oh")

    connection = Bridged(SCOPE, hypercorn.receive, hypercorn.send, Roster())
    with pytest.RaisesGroup(LookupError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run, app)
            await trio.testing.wait_all_tasks_blocked()
            connection.dismiss(4001, "moving")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


class TestDrain:
    """The same with hypercorn, and a client that others wrote."""

    @pytest.mark.parametrize("is_ours", [True, False])
    async def test_clients_and_handlers(
        self, is_ours: bool, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A client sees the drain's code and reason, and so does the handler."""
        seen: list[CloseInfo] = []
        ours = App(__name__)

        @ours.websocket("/chat")
        async def handler() -> None:
            async for message in websocket:
                await websocket.send(message)
            assert websocket.closed is not None
            seen.append(websocket.closed)

        async def plain(_: Scope, receive: Receive, send: Send) -> None:
            await accept(receive, send)
            while (event := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": event["text"]})
            seen.append(CloseInfo(event["code"], event["reason"], by_peer=event["triows.by_peer"]))

        roster = Roster()
        bridge = Bridge(ours if is_ours else plain, Config(), {}, roster)
        async with connected(bridge) as peer:
            await peer.send_message("hello")
            assert "hello" == await peer.get_message()
            assert 1 == len(roster)
            await bridge.close_idle()
            await roster.close_all(DRAIN)
            with pytest.raises(ConnectionClosed) as ended:
                await peer.get_message()

        assert 0 == len(roster)
        assert ended.value.reason is not None
        assert (4001, "moving") == (ended.value.reason.code, ended.value.reason.reason)
        assert [CloseInfo(4001, "moving", by_peer=False)] == seen
        assert 0 == trio.current_time()

    async def test_a_handler_that_works_on(self, autojump_clock: trio.testing.MockClock) -> None:
        """Its client is told at once; what it has opened is closed when it has ended."""
        app = App(__name__, limits=Limits(disconnect_grace=1000))
        ended: list[float] = []

        @app.websocket("/chat")
        async def handler() -> None:
            await websocket.accept()
            await trio.sleep(3)
            ended.append(trio.current_time())

        roster = Roster()
        async with connected(Bridge(app, Config(), {}, roster)) as peer:
            await roster.close_all(DRAIN)
            with pytest.raises(ConnectionClosed):
                await peer.get_message()
            assert [] == ended

        assert [3] == ended

    async def test_over_http_2(self, autojump_clock: trio.testing.MockClock) -> None:
        """A stream ends behind the close frame, and then the connection, which had no other."""
        app = App(__name__)

        @app.websocket("/chat")
        async def handler() -> None:
            await websocket.send("hello")
            async for _ in websocket:
                pass

        roster = Roster()
        bridge = Bridge(app, Config(), {}, roster)
        async with served(bridge) as stream:
            client = H2Client(stream)
            await client.open(1, ends=False, method="CONNECT", protocol="websocket")
            assert b"\x81\x05hello" == (await client.wait_for(h2.events.DataReceived)).data
            await bridge.close_idle()
            await roster.close_all(DRAIN)
            closing = Frame(Opcode.CLOSE, b"\x0f\xa1moving")
            last = await client.wait_for(h2.events.DataReceived)
            assert closing.serialize(mask=False) == last.data
            await client.wait_for(h2.events.StreamEnded)
            client.h2.send_data(1, closing.serialize(mask=True), end_stream=True)
            await client.flush()
            await client.wait_for(h2.events.ConnectionTerminated)

        assert 0 == len(roster)
        assert 0 == trio.current_time()

    async def test_a_client_that_reads_nothing(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """It holds nobody up but the write to it, which has `send_timeout`."""
        roster = Roster()

        async def flood(_: Scope, receive: Receive, send: Send) -> None:
            await accept(receive, send)
            await send({"type": "websocket.send", "bytes": bytes(50_000_000)})

        async with served(Bridge(flood, Config(), {}, roster, send_timeout=8)) as stream:
            await stream.send_all(handshake("/chat"))
            await read_head(stream)
            await roster.close_all(DRAIN)
            assert trio.current_time() < 1
            while len(roster):
                await trio.sleep(1)

        assert 11 == trio.current_time()


@asynccontextmanager
async def connected(bridge: Bridge) -> AsyncGenerator[WebSocketConnection]:
    """Connect a client of trio-websocket around a block, and have the connection end after it."""
    async with served(bridge) as stream, trio.open_nursery() as nursery:
        peer: WebSocketConnection
        peer = await wrap_client_stream(nursery, stream, "example.org", "/chat")
        async with peer:
            yield peer
