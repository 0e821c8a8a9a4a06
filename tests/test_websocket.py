"""The object a handler holds: the handshake's facts, accept, messages, the nursery."""

import math
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from tests.support import BareServer, serving, websocket_of
from triows import (
    App,
    CloseInfo,
    ConnectionClosed,
    InvalidMessage,
    Pipe,
    StateError,
    WebSocket,
    testing,
    websocket,
)


class TestObject:
    """What the object is, apart from what it does."""

    async def test_state_is_the_lifespans_and_the_connections_own(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """It starts as a copy of what the lifespan yielded; additions stay in the connection."""
        seen: list[object] = []

        async def handler() -> None:
            seen.append((websocket.state.pool, websocket.state.user))
            websocket.state.user = "joe"
            await websocket.accept()

        app = serving(handler)

        @app.lifespan
        async def lifespan() -> AsyncIterator[dict[str, str]]:
            yield {"pool": "the pool"}

        async with testing.client(app) as client:
            for _ in range(2):
                async with client.websocket("/"):
                    pass

        assert [("the pool", None), ("the pool", None)] == seen

    async def test_repr_says_which_and_how_it_is(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """The repr of a connection has its path, its peer, and its state."""
        seen: list[str] = []

        async def handler() -> None:
            seen.append(repr(websocket.unwrap()))
            await websocket.close(4000, "bye")
            seen.append(repr(websocket.unwrap()))

        async with testing.client(serving(handler)) as client, client.websocket("/"):
            pass

        assert [
            "<WebSocket / ('127.0.0.1', 50000) pending, open>",
            "<WebSocket / ('127.0.0.1', 50000) accepted, closed 4000 'bye'>",
        ] == seen


class TestMessages:
    """Receiving and sending."""

    @pytest.mark.parametrize("message", ["text", b"bytes", "", b"", "é" * 100, b"\xff"])
    async def test_messages_of_either_kind(
        self, autojump_clock: trio.testing.MockClock, message: str | bytes
    ) -> None:
        """Text is a str, binary is bytes, and an empty message is a message."""

        async def echo() -> None:
            while True:
                await websocket.send(await websocket.receive())

        async with testing.client(serving(echo)) as client, client.websocket("/") as peer:
            await peer.send(message)
            assert message == await peer.receive()

    @pytest.mark.parametrize(
        ("message", "sent"),
        [(bytearray(b"a"), b"a"), (memoryview(b"b"), b"b"), (type("S", (str,), {})("s"), "s")],
    )
    async def test_what_else_can_be_sent(
        self, autojump_clock: trio.testing.MockClock, message: bytearray, sent: str | bytes
    ) -> None:
        """Anything like bytes, and a str of any class."""

        async def handler() -> None:
            await websocket.send(message)

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            assert sent == await peer.receive()

    async def test_what_cannot_be_sent(self, autojump_clock: trio.testing.MockClock) -> None:
        """A dict is a TypeError that names the way out, and nothing was accepted for it."""

        async def handler() -> None:
            with pytest.raises(TypeError, match=r"cannot send a dict.*send_json"):
                await websocket.send({})  # type: ignore[arg-type]
            assert not websocket.is_accepted
            await websocket.accept()

        async with testing.client(serving(handler)) as client, client.websocket("/"):
            pass

    async def test_json(self, autojump_clock: trio.testing.MockClock) -> None:
        """JSON goes out as text, and is read from either kind of message."""

        async def handler() -> None:
            for _ in range(2):
                await websocket.send_json([await websocket.receive_json()])

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            await peer.send_json({"a": 1})
            assert '[{"a":1}]' == await peer.receive()
            await peer.send(b'{"a":2}')
            assert [{"a": 2}] == await peer.receive_json()

    async def test_a_kind_that_was_not_expected(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """`receive_text` and `receive_bytes` hold a message of the other kind against the peer."""
        codes: list[int] = []

        async def handler() -> None:
            assert "text" == await websocket.receive_text()
            assert b"bytes" == await websocket.receive_bytes()
            for call in (websocket.receive_text, websocket.receive_bytes):
                with pytest.raises(InvalidMessage) as fault:
                    await call()
                codes.append(fault.value.code)

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            for message in ("text", b"bytes", b"bytes", "text"):
                await peer.send(message)
            await peer.wait_closed()

        assert [1003, 1003] == codes

    async def test_iteration_ends_with_the_connection(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """`async for` goes over the messages and just ends."""
        received: list[object] = []

        async def handler() -> None:
            received.extend([message async for message in websocket])
            received.append(websocket.closed)

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            await peer.send("one")
            await peer.send("two")
            await peer.close(4000, "bye")

        assert ["one", "two", CloseInfo(4000, "bye", by_peer=True)] == received

    async def test_messages_sent_before_leaving_are_delivered(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A slow handler gets what its peer sent before it left, then the end."""
        received: list[object] = []

        async def handler() -> None:
            await websocket.accept()
            await trio.sleep(1)
            received.extend([message async for message in websocket.unwrap().unwrap()])

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            for message in ("one", "two"):
                await peer.send(message)
            peer.drop()

        assert ["one", "two"] == received

    async def test_sends_before_accept_keep_the_order_of_the_calls(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """All of them wait for one accept, and a later one overtakes none of them."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            async with trio.open_nursery() as nursery:
                for letter in "abcdefgh":
                    nursery.start_soon(websocket.send, letter)
                    await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(websocket.accept)
                await trio.sleep(0.01)
                await websocket.send("last")

        server = BareServer("websocket.connect", seconds=0.01, answers=True)
        await server.serve(app)

        messages = [event["text"] for event in server.sent if event["type"] == "websocket.send"]
        assert [*"abcdefgh", "last"] == messages

    async def test_messages_of_which_a_pipe_makes_something_else(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """`receive` gives what the pipe made; methods that want text or bytes refuse it."""
        app = App(__name__)
        complaints: list[str] = []

        class Counting(Pipe):
            def on_receive(self, data: str) -> int:
                return len(data)

        @app.websocket("/", pipeline=[Counting()])
        async def handler() -> None:
            ws = websocket.unwrap()
            for method in (ws.receive_text, ws.receive_bytes, ws.receive_json):
                with pytest.raises(TypeError) as complaint:
                    await method()
                complaints.append(str(complaint.value))
            await ws.send(str(await ws.receive()))

        async with testing.client(app) as client, client.websocket("/") as peer:
            for _ in range(4):
                await peer.send("four")
            assert "4" == await peer.receive()

        assert ["a pipe made a int of the message: use receive()"] * 3 == complaints

    async def test_iteration_ends_with_its_own_connection_only(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What a pipe lets through of another connection's end is a failure, not the end."""
        app = App(__name__)

        class Forwarding(Pipe):
            def on_receive(self, data: str) -> str:
                raise ConnectionClosed(CloseInfo(1000, "", by_peer=True), "another")

        @app.websocket("/", pipeline=[Forwarding()])
        async def handler() -> None:
            async for _ in websocket:
                pass

        with pytest.raises(ConnectionClosed):
            async with testing.client(app) as client, client.websocket("/") as peer:
                await peer.send("x")
                assert 1011 == (await peer.wait_closed()).code

    async def test_two_tasks_receive_at_once(self, autojump_clock: trio.testing.MockClock) -> None:
        """The second is told so; the slot is held until the first has returned."""
        received: list[object] = []

        async def first() -> None:
            received.append(await websocket.receive())

        async def handler() -> None:
            websocket.nursery.start_soon(first)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError, match="already receiving"):
                await websocket.receive()
            await trio.testing.wait_all_tasks_blocked(0.5)
            await websocket.send("ready")
            await trio.sleep(1)
            received.append(await websocket.receive())

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            await peer.receive()
            await peer.send("one")
            await peer.send("two")
            await peer.wait_closed()

        assert ["one", "two"] == received

    async def test_receive_cancelled_every_millisecond_loses_nothing(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """Cancelling a receive is safe, however often and whenever it happens."""
        received: list[object] = []

        async def handler() -> None:
            while len(received) < 500:
                with trio.move_on_after(0.001):
                    received.append(await websocket.receive())

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            for number in range(500):
                await peer.send(str(number))
                if number % 7 == 0:
                    await trio.sleep(0.0015)
            await peer.wait_closed()

        assert [str(number) for number in range(500)] == received

    async def test_ten_tasks_send_at_once(self, autojump_clock: trio.testing.MockClock) -> None:
        """Messages are whole, and in the order of the calls."""

        async def handler() -> None:
            await websocket.accept()
            for number in range(10):
                websocket.nursery.start_soon(websocket.unwrap().send, str(number))
                await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(1)

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            peer.stall()
            await trio.sleep(0.5)
            peer.resume()
            received = [await peer.receive() for _ in range(10)]

        assert [str(number) for number in range(10)] == received

    async def test_discarding_what_comes_in(self, autojump_clock: trio.testing.MockClock) -> None:
        """With `incoming="discard"` a chatty client fills no inbox, and cannot be received from."""
        app = App(__name__)

        @app.websocket("/", incoming="discard")
        async def ticker() -> None:
            with pytest.raises(StateError, match='incoming="discard"'):
                await websocket.receive()
            while True:
                await websocket.send("tick")
                await trio.sleep(100)

        async with testing.client(app, timeout=1000) as client, client.websocket("/") as peer:
            for _ in range(500):
                await peer.send("heartbeat")
            for _ in range(5):
                assert "tick" == await peer.receive()


class TestClose:
    """Ending a connection from this side."""

    async def test_the_first_close_wins(self, autojump_clock: trio.testing.MockClock) -> None:
        """`close` is idempotent, and after it nothing can be sent or received."""
        outcomes: list[CloseInfo] = []

        async def handler() -> None:
            await websocket.close(4001, "first")
            await websocket.close(4002, "second")
            for call in (websocket.receive, lambda: websocket.send("x")):
                with pytest.raises(ConnectionClosed) as closing:
                    await call()
                outcomes.append(closing.value.info)
            outcomes.append(websocket.closed or CloseInfo(0, "", by_peer=False))

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            info = await peer.wait_closed()

        assert (4001, "first") == (info.code, info.reason)
        assert [CloseInfo(4001, "first", by_peer=False)] * 3 == outcomes

    @pytest.mark.parametrize("code", [1004, 1005, 1006, 1010, 1015, 999, 2999, 5000, 0])
    async def test_codes_that_may_not_be_sent(
        self, autojump_clock: trio.testing.MockClock, code: int
    ) -> None:
        """They are the caller's error, and the connection is as before."""

        async def handler() -> None:
            with pytest.raises(ValueError, match="cannot be sent"):
                await websocket.close(code)
            await websocket.send("still open")

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            assert "still open" == await peer.receive()

    async def test_a_long_reason_is_cut(self, autojump_clock: trio.testing.MockClock) -> None:
        """A close frame takes 123 bytes of reason, and no half characters."""

        async def handler() -> None:
            await websocket.close(4000, "é" * 100)

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            assert "é" * 61 == (await peer.wait_closed()).reason

    async def test_closing_from_another_task_releases_a_receiver(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A handler that waits in `receive` gets `ConnectionClosed` with this side's code."""
        outcomes: list[CloseInfo] = []

        async def handler() -> None:
            websocket.start_soon(websocket.unwrap().close, 4000, "admin")
            with pytest.raises(ConnectionClosed) as closing:
                await websocket.receive()
            outcomes.append(closing.value.info)

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            assert 4000 == (await peer.wait_closed()).code

        assert [CloseInfo(4000, "admin", by_peer=False)] == outcomes

    async def test_closing_a_connection_that_the_peer_has_left(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """It does nothing, accepted or not."""
        server = BareServer("websocket.connect", fails={"websocket.accept": BrokenPipeError})

        async def handler() -> None:
            await websocket.close(4000)
            await websocket.close(4000)
            assert websocket.closed == CloseInfo(1006, "", by_peer=True)

        await server.serve(serving(handler))

        assert [] == server.sent_types

    async def test_a_close_that_was_cancelled_is_made_good(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """Cancelled behind a slow send, the close frame goes out when the handler ends."""
        server = BareServer("websocket.connect", seconds=1, answers=True)

        async def handler() -> None:
            await websocket.accept()
            websocket.nursery.start_soon(websocket.unwrap().send, "slow")
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0.1):
                await websocket.close(4000)
            await trio.sleep(1)

        await server.serve(serving(handler))

        assert ["websocket.accept", "websocket.send", "websocket.close"] == server.sent_types
        assert 4000 == server.sent[-1]["code"]


class TestSession:
    """The session is a pipe's."""

    async def test_without_a_pipe(self, autojump_clock: trio.testing.MockClock) -> None:
        """Where there is none, the error says what to do."""
        with pytest.raises(StateError, match="put a SessionPipe before what uses it"):
            _ = websocket_of().session

    async def test_with_a_pipe(self, autojump_clock: trio.testing.MockClock) -> None:
        """It is whatever the pipe has set."""
        ws = websocket_of()
        ws._session = session = {"user": "joe"}

        assert session is ws.session
        ws.session = session
        with pytest.raises(StateError, match="cannot be replaced"):
            ws.session = {}


class TestNursery:
    """The connection's own tasks."""

    async def test_a_task_that_sends_when_the_peer_has_left(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """One of `websocket.start_soon` just ends: the handler reads what is left."""
        read: list[object] = []

        async def push() -> None:
            while True:
                await websocket.send("tick")
                await trio.sleep(0.1)

        async def handler() -> None:
            websocket.start_soon(push)
            async for message in websocket:
                await trio.sleep(2)
                read.append(message)

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            for i in range(4):
                await peer.send(str(i))

        assert ["0", "1", "2", "3"] == read

    async def test_a_task_that_meets_the_end_of_another(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Another connection's `ConnectionClosed` is a failure like any other."""

        async def fail() -> None:
            raise ConnectionClosed(CloseInfo(1000, "", by_peer=True), "another")

        async def handler() -> None:
            websocket.start_soon(fail)
            await websocket.receive()

        with pytest.raises(ConnectionClosed):
            async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
                assert 1011 == (await peer.wait_closed()).code

    async def test_its_tasks_see_the_connection(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A task started by a handler has the handler's `websocket`."""

        async def child(text: str) -> None:
            await websocket.send(text)

        async def handler() -> None:
            websocket.nursery.start_soon(child, websocket.path_params.get("x", "hello"))
            await websocket.receive()

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            assert "hello" == await peer.receive()

    async def test_start_soon_from_elsewhere(self, autojump_clock: trio.testing.MockClock) -> None:
        """`start_soon` gives the task this connection, whoever calls it."""
        connections: list[WebSocket] = []

        async def greet(text: str) -> None:
            await websocket.send(text)

        async def handler() -> None:
            await websocket.accept()
            connections.append(websocket.unwrap())
            await websocket.receive()

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            await peer.receive_nothing()
            connections[0].start_soon(greet, "from outside")
            assert "from outside" == await peer.receive()

    async def test_before_and_after_the_handler(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """There is no nursery yet, or none any more, and each is said."""
        connections: list[WebSocket] = []

        async def handler() -> None:
            connections.append(websocket.unwrap())
            await websocket.accept()

        async with testing.client(serving(handler)) as client, client.websocket("/"):
            pass

        with pytest.raises(StateError, match="before the handler started"):
            websocket_of().nursery  # noqa: B018
        with pytest.raises(ConnectionClosed) as closing:
            connections[0].start_soon(trio.sleep, 1)
        assert 1000 == closing.value.info.code

    @pytest.mark.parametrize("seconds", [-1, math.nan])
    async def test_expire_after_takes_seconds_from_now(self, seconds: float) -> None:
        """A negative time is the caller's error."""
        with pytest.raises(ValueError, match="seconds from now"):
            websocket_of().expire_after(seconds)


class TestAroundTheAccept:
    """Calls that cross the accept."""

    async def test_a_send_that_was_prepared_before(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A coroutine of `send` made before the accept, and awaited after it, sends."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            late = websocket.send("late")
            await websocket.accept()
            await late

        async with testing.client(app) as client, client.websocket("/") as peer:
            assert "late" == await peer.receive()

    async def test_latency(self, autojump_clock: trio.testing.MockClock) -> None:
        """Over ASGI the server keeps its pings to itself."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            await websocket.send(repr(websocket.latency))

        async with testing.client(app) as client, client.websocket("/") as peer:
            assert "None" == await peer.receive()


async def test_topics(autojump_clock: trio.testing.MockClock) -> None:
    """What is published to a topic comes to the peer from `join`, which accepts, to `leave`."""
    app = App(__name__)

    @app.websocket("/")
    async def handler() -> None:
        joined = await websocket.join("t")
        assert "t" == joined.topic
        await app.channels.publish("t", "in")
        await websocket.leave("t")
        await app.channels.publish("t", "out")
        await websocket.receive()

    async with testing.client(app) as client, client.websocket("/") as peer:
        assert "in" == await peer.receive()
        await peer.receive_nothing()


async def test_expiry(autojump_clock: trio.testing.MockClock) -> None:
    """`expire_after` ends the connection with 4401 when the time has come."""

    async def handler() -> None:
        await websocket.accept()
        websocket.expire_after(5)
        await websocket.receive()

    async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
        assert 4401 == (await peer.wait_closed()).code
        assert 5 == trio.current_time()
