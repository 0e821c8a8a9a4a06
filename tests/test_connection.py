"""The life of a connection: each row of the endings table, each policy, each limit.

What the peer sees is asserted through the test client, what the operator sees through the log.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import pytest
import trio
import trio.testing
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.trio.client import connect

from tests.support import BareServer, lines, our_server, serving, tracebacks
from triows import (
    AlreadyAccepted,
    App,
    Close,
    CloseInfo,
    ConnectionClosed,
    HandshakeRejected,
    InvalidMessage,
    Limits,
    Pipe,
    Reject,
    StateError,
    WebSocket,
    testing,
    websocket,
)
from triows._types import Receive, Scope, Send


async def ending_of(handler: Callable[[], Awaitable[object]]) -> CloseInfo | int:
    """Return the close that a peer of the handler sees, or the status of its rejection."""
    async with testing.client(serving(handler)) as client:
        try:
            async with client.websocket("/") as peer:
                return await peer.wait_closed()
        except HandshakeRejected as exc:
            return exc.status


async def failure_of(handler: Callable[[], Awaitable[object]]) -> tuple[Exception, int]:
    """Return what the handler failed with, and the close code or status that the peer saw."""
    seen = 0
    async with testing.client(serving(handler)) as client:
        try:
            async with client.websocket("/") as peer:
                seen = (await peer.wait_closed()).code
        except Exception as exc:
            rejection = exc.__cause__
            if isinstance(rejection, HandshakeRejected):
                seen = rejection.status
            return exc, seen
    raise AssertionError("the handler did not fail")


class TestEndings:
    """The table "How a connection ends", row by row."""

    async def test_a_handler_that_returns_closes_with_1000(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Returning is the ordinary way to end, and leaves an access line."""
        caplog.set_level(logging.INFO)

        async def handler() -> None:
            await websocket.send("done")

        assert CloseInfo(1000, "", by_peer=True, clean=True) == await ending_of(handler)
        assert '"WS /" 101 1000' in caplog.text
        assert [] == tracebacks(caplog)

    async def test_returning_without_accept_is_403(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A handler that never answered has refused."""
        caplog.set_level(logging.INFO)

        async def handler() -> None:
            pass

        assert 403 == await ending_of(handler)
        assert '"WS /" 403 -' in caplog.text

    @pytest.mark.parametrize("is_accepted", [True, False])
    async def test_raising_close_closes_so(
        self, autojump_clock: trio.testing.MockClock, is_accepted: bool
    ) -> None:
        """`Close` ends with its code and reason; before accept it accepts first."""

        async def handler() -> None:
            if is_accepted:
                await websocket.accept()
            raise Close(4404, "no such room")

        ending = await ending_of(handler)

        assert CloseInfo(4404, "no such room", by_peer=True, clean=True) == ending

    async def test_raising_reject_answers_with_http(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """`Reject` before accept is an HTTP response, with its body and headers."""

        async def handler() -> None:
            raise Reject(401, "who?", headers={"WWW-Authenticate": "Basic"})

        async with testing.client(serving(handler)) as client:
            with pytest.raises(HandshakeRejected) as rejection:
                async with client.websocket("/"):
                    pass

        assert 401 == rejection.value.status
        assert b"who?" == rejection.value.body
        assert ("www-authenticate", "Basic") in rejection.value.headers

    async def test_reject_after_accept_is_a_bug(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is too late for HTTP then: 1011, and the log says what went wrong."""

        async def handler() -> None:
            await websocket.accept()
            raise Reject(401)

        failure, code = await failure_of(handler)

        assert isinstance(failure, AlreadyAccepted)
        assert 1011 == code
        assert ["AlreadyAccepted"] == tracebacks(caplog)

    @pytest.mark.parametrize(("is_accepted", "seen"), [(False, 500), (True, 1011)])
    async def test_any_other_exception_is_an_internal_error(
        self,
        autojump_clock: trio.testing.MockClock,
        caplog: pytest.LogCaptureFixture,
        is_accepted: bool,
        seen: int,
    ) -> None:
        """The peer learns nothing of it but the number; the log has the traceback, once."""

        async def handler() -> None:
            if is_accepted:
                await websocket.accept()
            raise ValueError("secret")

        failure, code = await failure_of(handler)

        assert isinstance(failure, ValueError)
        assert seen == code
        assert ["ValueError"] == tracebacks(caplog)
        assert "handler handler failed" in caplog.text

    async def test_internal_errors_leak_no_text(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """The close reason of a crash is empty."""

        async def handler() -> None:
            await websocket.accept()
            raise ValueError("secret")

        with pytest.raises(ValueError, match="secret"):
            async with (
                testing.client(serving(handler)) as client,
                client.websocket("/") as peer,
            ):
                info = await peer.wait_closed()

        assert (1011, "") == (info.code, info.reason)

    async def test_the_end_of_its_own_connection_is_no_error(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """`ConnectionClosed` may leave the handler whose connection ended."""

        async def handler() -> None:
            while True:
                await websocket.receive()

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            await peer.close(4000, "bye")

        assert [] == tracebacks(caplog)
        assert [] == lines(caplog, logging.WARNING)

    async def test_the_end_of_another_connection_is_one(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A handler that lets another peer's end pass has a bug, and its own peer sees 1011."""
        others: list[WebSocket] = []

        async def handler() -> None:
            await websocket.accept()
            if not others:
                others.append(websocket.unwrap())
                await websocket.receive()
            else:
                await others[0].send("hello")

        async with testing.client(serving(handler)) as client:
            async with client.websocket("/") as first:
                await first.receive_nothing()
            with pytest.raises(ConnectionClosed) as failure:
                async with client.websocket("/") as second:
                    code = (await second.wait_closed()).code

        assert others[0] is failure.value.websocket
        assert 1011 == code
        assert ["ConnectionClosed"] == tracebacks(caplog)

    async def test_what_a_peer_must_not_send_is_its_fault(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A `PeerError` closes with its code, and is one warning line without a traceback."""

        async def handler() -> None:
            await websocket.receive_json()

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            await peer.send("{")
            info = await peer.wait_closed()

        assert 1007 == info.code
        assert [] == tracebacks(caplog)
        assert 1 == len(lines(caplog, logging.WARNING))

    async def test_a_peer_error_before_accept_is_400(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A handler may find the handshake itself wrong."""

        async def handler() -> None:
            raise InvalidMessage("the token is malformed")

        assert 400 == await ending_of(handler)

    async def test_too_big_a_message_is_1009(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The connection is failed at once; what came before is still delivered."""
        received: list[object] = []

        async def handler() -> None:
            await trio.sleep(1)
            received.extend([message async for message in websocket])

        app = serving(handler, Limits(max_message_size=10))
        async with testing.client(app) as client, client.websocket("/") as peer:
            await peer.send("0123456789")
            await peer.send("0123456789x")
            info = await peer.wait_closed()

        assert 1009 == info.code
        assert ["0123456789"] == received
        assert 1 == len(lines(caplog, logging.WARNING))

    async def test_a_peer_that_leaves_before_accept_gets_nothing(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The access line has status 499, and nothing is an error."""
        caplog.set_level(logging.INFO)

        async def handler() -> None:
            await trio.sleep(1)
            await websocket.send("too late")

        await leave_before_accept(serving(handler))

        assert '"WS /" 499 -' in caplog.text
        assert [] == tracebacks(caplog)

    async def test_a_handler_that_rejects_a_peer_that_left(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An answer that nobody waits for is dropped without a word."""
        caplog.set_level(logging.INFO)

        async def handler() -> None:
            await trio.sleep(1)
            raise Reject(401)

        await leave_before_accept(serving(handler))

        assert '"WS /" 499 -' in caplog.text
        assert [] == tracebacks(caplog)

    async def test_a_peer_that_left_before_the_app_was_called(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its handler does not even start."""
        caplog.set_level(logging.INFO)
        started: list[str] = []

        async def handler() -> None:
            started.append("in vain")

        await BareServer("websocket.disconnect").serve(serving(handler))

        assert [] == started
        assert '"WS /" 499 -' in caplog.text

    async def test_a_peer_that_leaves_while_it_is_rejected(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The server's word for it is no failure of the app."""
        caplog.set_level(logging.INFO)
        server = BareServer("websocket.connect", fails={"websocket.close": BrokenPipeError})

        async def handler() -> None:
            raise Reject(401)

        await server.serve(serving(handler))

        assert '"WS /" 499 -' in caplog.text
        assert [] == tracebacks(caplog)


async def leave_before_accept(app: App) -> None:
    """Open a connection to an app and leave it while the handshake is not answered."""
    server = BareServer("websocket.connect", "websocket.disconnect")
    await server.serve(app)
    assert [] == server.sent


class TestGroups:
    """Several things happen at once."""

    async def test_handler_and_child_fail_together(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Both are in the log, and there is one close frame with the worst code."""

        async def child() -> None:
            raise KeyError("child")

        async def handler() -> None:
            await websocket.accept()
            websocket.nursery.start_soon(child)
            try:
                await trio.sleep_forever()
            finally:
                raise Close(4000, "handler")

        with pytest.raises(KeyError):
            async with (
                testing.client(serving(handler)) as client,
                client.websocket("/") as peer,
            ):
                info = await peer.wait_closed()

        assert 1011 == info.code
        assert ["KeyError"] == tracebacks(caplog)

    async def test_every_leaf_is_logged(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Two failures are two tracebacks, and come out of the test client as a group."""

        async def child() -> None:
            raise KeyError("child")

        async def handler() -> None:
            await websocket.accept()
            websocket.nursery.start_soon(child)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("handler")

        with pytest.RaisesGroup(KeyError, ValueError):
            async with (
                testing.client(serving(handler)) as client,
                client.websocket("/") as peer,
            ):
                await peer.receive()

        assert ["KeyError", "ValueError"] == sorted(tracebacks(caplog))

    async def test_a_failing_child_is_the_connections_failure(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """It cancels the handler, and a group of one is unwrapped."""

        async def child() -> None:
            raise KeyError("child")

        async def handler() -> None:
            await websocket.accept()
            websocket.nursery.start_soon(child)
            await trio.sleep_forever()

        failure, code = await failure_of(handler)

        assert isinstance(failure, KeyError)
        assert 1011 == code

    async def test_the_first_close_wins(self, autojump_clock: trio.testing.MockClock) -> None:
        """Of several `Close` the peer sees the one that was raised first."""

        async def child() -> None:
            raise Close(4001, "child")

        async def handler() -> None:
            await websocket.accept()
            websocket.nursery.start_soon(child)
            try:
                await trio.sleep_forever()
            finally:
                raise Close(4002, "handler")

        ending = await ending_of(handler)

        assert isinstance(ending, CloseInfo)
        assert 4001 == ending.code

    async def test_children_are_cancelled_when_the_handler_returns(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A connection ends with its handler, whatever its tasks are doing."""
        reasons: list[str | None] = []

        async def child() -> None:
            try:
                await trio.sleep_forever()
            except trio.Cancelled as exc:
                reasons.append(exc.reason)
                raise

        async def handler() -> None:
            await websocket.accept()
            websocket.nursery.start_soon(child)
            await trio.testing.wait_all_tasks_blocked()

        await ending_of(handler)

        assert ["the handler has returned"] == reasons


class TestDisconnect:
    """What becomes of a handler whose peer leaves."""

    async def test_drain_delivers_what_arrived(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A client sends 50 messages and leaves; a slow handler still reads all 50."""
        received: list[object] = []
        app = App(__name__)

        @app.websocket("/")
        async def slow() -> None:
            async for message in websocket:
                received.append(message)
                await trio.sleep(0.5)

        async with testing.client(app, timeout=60) as client, client.websocket("/") as peer:
            for number in range(50):
                await peer.send(str(number))
            await peer.close()

        assert [str(number) for number in range(50)] == received

    async def test_drain_grants_grace_to_a_busy_handler(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A handler busy elsewhere is cancelled `disconnect_grace` after the peer left."""
        cancelled: list[tuple[float, str | None]] = []
        app = App(__name__, limits=Limits(disconnect_grace=3))

        @app.websocket("/")
        async def busy() -> None:
            await websocket.accept()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as exc:
                cancelled.append((trio.current_time(), exc.reason))
                raise

        async with testing.client(app) as client, client.websocket("/") as peer:
            await trio.sleep(1)
            left_at = trio.current_time()
            await peer.close(4001, "bye")

        ((at, reason),) = cancelled
        assert 3 == pytest.approx(at - left_at, abs=0.3)
        assert "peer closed 4001 'bye'" == reason

    async def test_drain_ends_within_stall_timeout(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """However it reads on, a handler has `stall_timeout` in all once the peer has left."""
        received: list[object] = []
        app = App(__name__, limits=Limits(disconnect_grace=3, stall_timeout=10))

        @app.websocket("/")
        async def slow() -> None:
            async for message in websocket:
                received.append(message)
                await trio.sleep(2)

        async with testing.client(app, timeout=60) as client, client.websocket("/") as peer:
            for number in range(50):
                await peer.send(str(number))
            await peer.close()
            left_at = trio.current_time()

        assert 10 == pytest.approx(trio.current_time() - left_at, abs=1.1)
        assert len(received) < 8

    async def test_cancel_cancels_at_once(self, autojump_clock: trio.testing.MockClock) -> None:
        """With `on_disconnect="cancel"` the handler and its tasks go as soon as it is known."""
        cancelled: list[float] = []
        app = App(__name__)

        async def child() -> None:
            try:
                await trio.sleep_forever()
            finally:
                cancelled.append(trio.current_time())

        @app.websocket("/", on_disconnect="cancel")
        async def busy() -> None:
            await websocket.accept()
            websocket.nursery.start_soon(child)
            await child()

        async with testing.client(app) as client, client.websocket("/") as peer:
            await trio.sleep(1)
            left_at = trio.current_time()
            peer.drop()

        assert 2 == len(cancelled)
        assert 0 == pytest.approx(cancelled[0] - left_at, abs=0.3)

    async def test_raise_never_cancels(self, autojump_clock: trio.testing.MockClock) -> None:
        """With `on_disconnect="raise"` the handler finds out by itself, in its own time."""
        finished: list[object] = []
        app = App(__name__)

        @app.websocket("/", on_disconnect="raise")
        async def stubborn() -> None:
            await websocket.accept()
            await trio.sleep(100)
            with pytest.raises(ConnectionClosed):
                await websocket.send("anybody?")
            finished.append(websocket.closed)

        async with testing.client(app, timeout=200) as client, client.websocket("/") as peer:
            peer.drop()

        assert [CloseInfo(1006, "", by_peer=True, clean=None)] == finished

    async def test_raise_reads_on_at_leisure(self, autojump_clock: trio.testing.MockClock) -> None:
        """Messages that arrived before are delivered to it as slowly as it likes."""
        received: list[object] = []
        app = App(__name__)

        @app.websocket("/", on_disconnect="raise")
        async def slow() -> None:
            async for message in websocket:
                await trio.sleep(100)
                received.append(message)

        async with testing.client(app, timeout=400) as client, client.websocket("/") as peer:
            for number in range(3):
                await peer.send(str(number))
            peer.drop()

        assert ["0", "1", "2"] == received

    async def test_after_its_own_close_a_handler_has_grace_too(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A handler that closed and then hangs is cancelled like one whose peer left."""
        app = App(__name__, limits=Limits(disconnect_grace=3))

        @app.websocket("/")
        async def hangs() -> None:
            await websocket.close(4000, "enough")
            await trio.sleep_forever()

        async with testing.client(app) as client, client.websocket("/") as peer:
            started = trio.current_time()
            assert 4000 == (await peer.wait_closed()).code

        assert 3 == pytest.approx(trio.current_time() - started, abs=0.1)

    async def test_after_its_own_close_a_raise_handler_is_left_alone(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """`"raise"` holds for this side's close as well."""
        finished: list[float] = []
        app = App(__name__)

        @app.websocket("/", on_disconnect="raise")
        async def tidies_up() -> None:
            await websocket.close(4000, "enough")
            await trio.sleep(100)
            finished.append(trio.current_time())

        async with testing.client(app, timeout=200) as client, client.websocket("/"):
            pass

        assert 1 == len(finished)


class TestLimits:
    """Every deadline that can be kept over ASGI."""

    async def test_accept_timeout(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A handler that does not accept in time is refused with 503, and told how to."""

        async def handler() -> None:
            await trio.sleep_forever()

        async with testing.client(serving(handler), timeout=20) as client:
            with pytest.raises(HandshakeRejected) as rejection:
                async with client.websocket("/"):
                    pass

        assert 503 == rejection.value.status
        (line,) = lines(caplog, logging.WARNING)
        assert line.startswith(
            "handler handler has not accepted after 10 s: call await websocket.accept() first"
        )

    @pytest.mark.parametrize(
        ("limits", "code", "reason"),
        [
            (Limits(idle_timeout=60), 4408, "idle for 60 s"),
            (Limits(max_lifetime=60), 1001, "open for 60 s"),
        ],
    )
    async def test_a_connection_that_outlasts_its_limit(
        self,
        autojump_clock: trio.testing.MockClock,
        caplog: pytest.LogCaptureFixture,
        limits: Limits,
        code: int,
        reason: str,
    ) -> None:
        """The handler is cancelled with the reason, the peer sees it, and the log has a line."""
        caplog.set_level(logging.INFO)
        reasons: list[str | None] = []

        async def handler() -> None:
            try:
                await websocket.receive()
            except trio.Cancelled as exc:
                reasons.append(exc.reason)
                raise

        app = serving(handler, limits)
        async with testing.client(app, timeout=100) as client, client.websocket("/") as peer:
            started = trio.current_time()
            info = await peer.wait_closed()

        assert (code, reason) == (info.code, info.reason)
        assert 60 == pytest.approx(trio.current_time() - started, abs=0.1)
        assert [reason] == reasons
        (line,) = lines(caplog, logging.INFO)
        assert reason in line

    async def test_messages_keep_a_connection_from_being_idle(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """The idle time counts from the last message that came in."""

        async def handler() -> None:
            async for _ in websocket:
                pass

        app = serving(handler, Limits(idle_timeout=60))
        async with testing.client(app, timeout=200) as client, client.websocket("/") as peer:
            started = trio.current_time()
            for _ in range(3):
                await trio.sleep(50)
                await peer.send("still here")
            await peer.wait_closed()

        assert 210 == pytest.approx(trio.current_time() - started, abs=0.1)

    async def test_expire_after(self, autojump_clock: trio.testing.MockClock) -> None:
        """A connection expires with 4401; a later call moves the expiry."""

        async def handler() -> None:
            websocket.expire_after(60)
            async for _ in websocket:
                websocket.expire_after(100)

        app = serving(handler)
        async with testing.client(app, timeout=300) as client, client.websocket("/") as peer:
            started = trio.current_time()
            await trio.sleep(50)
            await peer.send("a fresh token")
            info = await peer.wait_closed()

        assert (4401, "expired") == (info.code, info.reason)
        assert 150 == pytest.approx(trio.current_time() - started, abs=0.1)

    async def test_expiry_before_accept(self, autojump_clock: trio.testing.MockClock) -> None:
        """An expiry has a code and no HTTP status: the connection is accepted to be told."""

        async def handler() -> None:
            websocket.expire_after(5)
            await trio.sleep_forever()

        ending = await ending_of(handler)

        assert isinstance(ending, CloseInfo)
        assert 4401 == ending.code

    async def test_a_full_inbox_is_not_idle(self, autojump_clock: trio.testing.MockClock) -> None:
        """While nobody takes messages a peer that sends is not idle, nor right afterwards."""
        seen: list[str | bytes] = []

        async def handler() -> None:
            await websocket.accept()
            await trio.sleep(25)
            while True:
                seen.append(await websocket.receive())

        app = serving(handler, Limits(idle_timeout=10, inbox_messages=2))
        async with testing.client(app, timeout=100) as client, client.websocket("/") as peer:
            started = trio.current_time()
            for _ in range(5):
                await peer.send("still here")
            info = await peer.wait_closed()

        assert 5 == len(seen)
        assert 4408 == info.code
        assert 35 == pytest.approx(trio.current_time() - started, abs=0.5)

    async def test_after_a_rejection(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A handler that has rejected may tidy up, for `disconnect_grace`, and is not blamed."""
        ended: list[float] = []

        async def handler() -> None:
            await websocket.reject(401)
            try:
                await trio.sleep_forever()
            finally:
                ended.append(trio.current_time())

        app = serving(handler, Limits(accept_timeout=2, disconnect_grace=5))
        async with testing.client(app) as client:
            started = trio.current_time()
            with pytest.raises(HandshakeRejected):
                async with client.websocket("/"):
                    pass

        assert 5 == pytest.approx(ended[0] - started, abs=0.1)
        assert [] == lines(caplog, logging.WARNING)

    async def test_an_inbox_that_nobody_reads(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A full inbox, unread for `stall_timeout`, is 1013, and the log names the handler."""

        async def handler() -> None:
            await websocket.accept()
            await trio.sleep_forever()

        app = serving(handler, Limits(inbox_messages=5, stall_timeout=30))
        async with testing.client(app, timeout=60) as client, client.websocket("/") as peer:
            for _ in range(20):
                await peer.send("flood")
            info = await peer.wait_closed()

        assert (1013, "inbox unread for 30 s") == (info.code, info.reason)
        (line,) = lines(caplog, logging.WARNING)
        assert line.startswith("handler handler is ended: inbox unread")

    async def test_a_peer_that_does_not_read(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A write without progress for `send_timeout` aborts the connection."""
        ended: list[float] = []

        async def handler() -> None:
            await websocket.receive()
            try:
                await websocket.send("hello?")
            finally:
                ended.append(trio.current_time())

        app = serving(handler, Limits(send_timeout=20))
        async with testing.client(app, timeout=60) as client, client.websocket("/") as peer:
            peer.stall()
            await peer.send("go")
            started = trio.current_time()
            await trio.sleep(50)

        assert 20 <= ended[0] - started <= 25
        assert ["handler handler is ended: peer has not read for 20 s"] == [
            line.partition(" (")[0] for line in lines(caplog, logging.WARNING)
        ]

    async def test_a_close_that_is_never_answered(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A receiver of a `"raise"` handler is released when `close_timeout` has passed."""
        app = App(__name__, limits=Limits(close_timeout=5))

        @app.websocket("/", on_disconnect="raise")
        async def closes_beside() -> None:
            websocket.start_soon(websocket.unwrap().close, 4000, "enough")
            await websocket.receive()

        started = trio.current_time()
        await BareServer("websocket.connect").serve(app)

        assert 5 == pytest.approx(trio.current_time() - started, abs=0.1)

    async def test_a_limit_that_comes_too_late_changes_nothing(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Once the handler has ended, its ending counts, not a limit reached meanwhile."""
        caplog.set_level(logging.INFO)

        async def child() -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(20)

        async def handler() -> None:
            await websocket.accept()
            websocket.nursery.start_soon(child)
            await trio.testing.wait_all_tasks_blocked()
            raise Close(4000, "first")

        app = serving(handler, Limits(max_lifetime=10))
        async with testing.client(app, timeout=60) as client, client.websocket("/") as peer:
            info = await peer.wait_closed()

        assert 4000 == info.code
        assert [] == lines(caplog, logging.INFO)

    async def test_a_browser_that_is_given_no_subprotocol(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Browsers close a connection that chose none of their subprotocols: warn of it."""

        async def handler() -> None:
            await websocket.accept()

        async with (
            testing.client(serving(handler)) as client,
            client.websocket("/", subprotocols=["v1"], headers={"Origin": "http://testserver"}),
        ):
            pass

        (line,) = lines(caplog, logging.WARNING)
        assert "accepted none of the subprotocols ['v1']" in line


class TestPipes:
    """What a connection makes of its pipes; the pipes themselves are in test_pipes."""

    async def test_a_handler_runs_once(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A pipe that calls the rest twice has a bug, and is told so."""
        app = App(__name__)

        class Twice(Pipe):
            async def pipe(self, next_pipe: Any, **kwargs: Any) -> None:
                await next_pipe(**kwargs)
                await next_pipe(**kwargs)

        @app.websocket("/", pipeline=[Twice()])
        async def handler() -> None:
            await websocket.accept()

        with pytest.raises(StateError, match="a handler runs once a connection"):
            async with testing.client(app) as client, client.websocket("/") as peer:
                assert 1011 == (await peer.wait_closed()).code

        assert ["StateError"] == tracebacks(caplog)

    async def test_slow_pipes_of_a_handler_that_never_accepted(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Once the handler has returned nobody is blamed for not accepting."""
        app = App(__name__, limits=Limits(accept_timeout=1))

        class Slow(Pipe):
            async def on_pipe_success(self) -> None:
                await trio.sleep(3)

        @app.websocket("/", pipeline=[Slow()])
        async def handler() -> None:
            """Do nothing."""

        async with testing.client(app) as client:
            with pytest.raises(HandshakeRejected) as rejection:
                async with client.websocket("/"):
                    pass

        assert 403 == rejection.value.status
        assert [] == lines(caplog, logging.WARNING)

    async def test_an_ending_that_cannot_be_told(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What fails in the accept before a close is the connection's failure, told as 500."""

        async def handler() -> None:
            def fail() -> NoReturn:
                raise ValueError("no such header")

            websocket.unwrap()._before_accept(fail)
            raise Close(4001, "bye")

        exc, status = await failure_of(handler)

        assert ("no such header", 500) == (str(exc), status)
        assert ["ValueError"] == tracebacks(caplog)

    @pytest.mark.parametrize(("size", "outcome"), [(1, "success"), (100, "failure")])
    async def test_outcome(
        self, autojump_clock: trio.testing.MockClock, size: int, outcome: str
    ) -> None:
        """A peer that leaves is a success, one that breaks a bound a failure."""
        outcomes: list[str] = []
        app = App(__name__, limits=Limits(max_message_size=10))

        class Telling(Pipe):
            def on_pipe_success(self) -> None:
                outcomes.append("success")

            def on_pipe_failure(self) -> None:
                outcomes.append("failure")

        @app.websocket("/", pipeline=[Telling()])
        async def handler() -> None:
            while True:
                await websocket.receive()

        async with testing.client(app) as client, client.websocket("/") as peer:
            await peer.send("x" * size)

        assert [outcome] == outcomes


class TestServerGoes:
    """The server cancels the app, as hypercorn does at its `graceful_timeout`."""

    async def test_an_open_connection_sees_1001(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """The close frame goes out in a short shield, and the cancellation goes on up."""

        async def handler() -> None:
            await websocket.accept()
            await trio.sleep_forever()

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            await client.drain()
            assert 1001 == (await peer.wait_closed()).code

    async def test_an_app_that_ends_takes_its_connections_along(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """They see 1001 and its reason; one line of the log speaks for all of them."""
        caplog.set_level(logging.INFO)

        async def handler() -> None:
            await websocket.accept()
            await trio.sleep_forever()

        app = serving(handler)

        async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
            assert scope["type"] == "websocket", "the outer app has a lifespan of its own"
            await app(scope, receive, send)

        async with (
            testing.client(mounted) as client,
            client.websocket("/") as one,
            client.websocket("/") as two,
        ):
            async with app.running():
                pass
            infos = [await peer.wait_closed() for peer in (one, two)]

        assert [(1001, "server draining")] * 2 == [(info.code, info.reason) for info in infos]
        assert ["server draining: 2 connections are closed with 1001"] == lines(
            caplog, logging.INFO
        )

    async def test_a_handshake_sees_503(self, autojump_clock: trio.testing.MockClock) -> None:
        """One that was not answered yet is refused."""

        async def handler() -> None:
            await trio.sleep_forever()

        async with testing.client(serving(handler)) as client, trio.open_nursery() as nursery:
            nursery.start_soon(drain_when_blocked, client)
            with pytest.raises(HandshakeRejected) as rejection:
                async with client.websocket("/"):
                    pass

        assert 503 == rejection.value.status

    async def test_what_fails_meanwhile_is_logged(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A handler that fails while it is cancelled has its traceback, and the peer 1011."""

        async def handler() -> None:
            await websocket.accept()
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("untidy")

        with pytest.raises(ValueError, match="untidy"):
            async with (
                testing.client(serving(handler)) as client,
                client.websocket("/") as peer,
            ):
                await client.drain()
                info = await peer.wait_closed()

        assert 1011 == info.code
        assert ["ValueError"] == tracebacks(caplog)

    async def test_a_stalled_peer_does_not_hold_the_server_up(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """The farewell to a peer that does not read takes a second at most."""

        async def handler() -> None:
            await websocket.accept()
            await trio.sleep_forever()

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            peer.stall()
            started = trio.current_time()
            await client.drain()

        assert 1 == pytest.approx(trio.current_time() - started, abs=0.1)

    async def test_a_write_in_progress_does_not_hold_the_server_up(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A send that the peer does not take is cut short, where the server lets it be."""

        async def handler() -> None:
            await websocket.receive()
            await websocket.send("hello?")

        async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
            peer.stall()
            await peer.send("go")
            await trio.testing.wait_all_tasks_blocked()
            started = trio.current_time()
            await client.drain()

        assert 0 == pytest.approx(trio.current_time() - started, abs=0.1)


async def drain_when_blocked(client: testing.Client) -> None:
    """Drain the app once everything waits."""
    await trio.testing.wait_all_tasks_blocked()
    await client.drain()


class TestErrorHooks:
    """`@app.on_error`: the application says how an exception ends a connection."""

    async def test_its_answer_replaces_the_traceback(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A `Close` that is returned is what the peer sees, and the failure is dealt with."""

        async def handler() -> None:
            await websocket.accept()
            raise KeyError("room")

        app = serving(handler)
        app.on_error(LookupError)(lambda exc: Close(4404, f"no {exc.args[0]}"))
        async with testing.client(app) as client, client.websocket("/") as peer:
            info = await peer.wait_closed()

        assert (4404, "no room") == (info.code, info.reason)
        assert [] == tracebacks(caplog)

    async def test_a_hook_that_accepts(self, autojump_clock: trio.testing.MockClock) -> None:
        """A hook may talk to the peer; what was to be an HTTP 500 is then a close with 1011."""

        async def handler() -> None:
            raise KeyError("room")

        app = serving(handler)

        @app.on_error(KeyError)
        async def apologize(_: KeyError) -> None:
            await websocket.send("sorry")

        with pytest.raises(KeyError):
            async with testing.client(app) as client, client.websocket("/") as peer:
                assert "sorry" == await peer.receive()
                assert 1011 == (await peer.wait_closed()).code

    async def test_the_most_specific_kind_is_asked(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """Of two hooks that fit, the one for the nearer ancestor is called; it may be async."""

        async def handler() -> None:
            raise KeyError("room")

        async def refuse(_: KeyError) -> Reject:
            await trio.sleep(1)
            return Reject(404)

        app = serving(handler)
        app.on_error(Exception)(lambda _: Reject(400))
        app.on_error(KeyError)(refuse)
        async with testing.client(app) as client:
            with pytest.raises(HandshakeRejected) as rejection:
                async with client.websocket("/"):
                    pass

        assert 404 == rejection.value.status

    async def test_none_changes_nothing(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A hook that only looks leaves the traceback and the 1011."""
        seen: list[Exception] = []

        async def handler() -> None:
            await websocket.accept()
            raise ValueError("secret")

        app = serving(handler)
        app.on_error(ValueError)(seen.append)
        with pytest.raises(ValueError, match="secret"):
            async with testing.client(app) as client, client.websocket("/") as peer:
                info = await peer.wait_closed()

        assert 1011 == info.code
        assert 1 == len(seen)
        assert ["ValueError"] == tracebacks(caplog)

    async def test_it_may_raise_the_ending(self, autojump_clock: trio.testing.MockClock) -> None:
        """Raising a `Close` is as good as returning it."""

        async def handler() -> None:
            await websocket.accept()
            raise KeyError("room")

        def hook(_: KeyError) -> None:
            raise Close(4404)

        app = serving(handler)
        app.on_error(KeyError)(hook)
        async with testing.client(app) as client, client.websocket("/") as peer:
            assert 4404 == (await peer.wait_closed()).code

    async def test_a_hook_that_fails(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its traceback is logged beside the one it was asked about, and the peer sees 1011."""

        async def handler() -> None:
            await websocket.accept()
            raise KeyError("room")

        def hook(_: KeyError) -> None:
            raise ZeroDivisionError

        app = serving(handler)
        app.on_error(KeyError)(hook)
        with pytest.RaisesGroup(ZeroDivisionError, KeyError):
            async with testing.client(app) as client, client.websocket("/") as peer:
                info = await peer.wait_closed()

        assert 1011 == info.code
        assert ["ZeroDivisionError", "KeyError"] == tracebacks(caplog)

    async def test_a_hook_that_hangs(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It has `pipe_close_timeout` seconds; then everything is as without it."""

        async def handler() -> None:
            await websocket.accept()
            raise KeyError("room")

        async def hook(_: KeyError) -> None:
            await trio.sleep_forever()

        app = serving(handler, Limits(pipe_close_timeout=2))
        app.on_error(KeyError)(hook)
        with pytest.RaisesGroup(trio.TooSlowError, KeyError):
            async with testing.client(app) as client, client.websocket("/") as peer:
                started = trio.current_time()
                await peer.wait_closed()

        assert 2 == pytest.approx(trio.current_time() - started, abs=0.1)

    async def test_a_hook_cut_short_loses_no_traceback(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The server may go while a hook runs: every failure is logged, the peer sees 1011."""

        async def child() -> None:
            raise KeyError("child")

        async def handler() -> None:
            await websocket.accept()
            websocket.nursery.start_soon(child)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("handler")

        async def hook(_: Exception) -> None:
            await trio.sleep_forever()

        app = serving(handler)
        app.on_error(Exception)(hook)
        with pytest.RaisesGroup(KeyError, ValueError):
            async with testing.client(app) as client, client.websocket("/") as peer:
                await drain_when_blocked(client)
                info = await peer.wait_closed()

        assert 1011 == info.code
        assert ["KeyError", "ValueError"] == sorted(tracebacks(caplog))


class TestBrokenServers:
    """A server that does what no server should."""

    @pytest.mark.parametrize("event", ["accept", "send", "close"])
    async def test_an_event_that_the_server_fails_at(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, event: str
    ) -> None:
        """Its exception is one warning, and the connection is lost: no fault of the handler."""

        async def handler() -> None:
            await websocket.accept()
            await websocket.send("hello")

        fails = {f"websocket.{event}": ZeroDivisionError}
        await BareServer("websocket.connect", fails=fails).serve(serving(handler))

        assert [] == tracebacks(caplog)
        assert ["the server failed, and its connection is lost: ZeroDivisionError()"] == lines(
            caplog, logging.WARNING
        )

    async def test_a_text_that_has_no_bytes(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A lone surrogate is the handler's fault, whoever finds it."""

        async def handler() -> None:
            await websocket.accept()
            await websocket.send("\ud800")

        def encode() -> Exception:
            return UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

        fails = {"websocket.send": encode}
        server = BareServer("websocket.connect", fails=fails)
        await server.serve(serving(handler))

        assert ["UnicodeEncodeError"] == tracebacks(caplog)
        assert 1011 == server.sent[-1]["code"]


class TestBeforeItBegins:
    """What happens while the server still has the handshake."""

    async def test_an_app_that_ends_meanwhile(self, autojump_clock: trio.testing.MockClock) -> None:
        """The connection is stopped before it runs, and its handler is never called."""
        app = App(__name__)
        called: list[str] = []

        @app.websocket("/")
        async def handler() -> None:
            called.append("handler")

        server = BareServer(answers=True)
        async with trio.open_nursery() as nursery, app.running():
            nursery.start_soon(server.serve, app)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(server.tell_later, 2, "websocket.connect")

        assert [] == called


class TestOnOurServer:
    """There a handler needs no task of its own."""

    async def test_tasks_end_with_the_handler(self, caplog: pytest.LogCaptureFixture) -> None:
        """A handler that returns, and one whose peer leaves, take their tasks along."""
        app = App(__name__)
        ended: list[str] = []

        async def wait(path: str) -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.append(path)

        @app.websocket(["/returns", "/is_left"])
        async def handler() -> None:
            await websocket.accept()
            websocket.start_soon(wait, websocket.path)
            await trio.lowlevel.checkpoint()
            if websocket.path == "/is_left":
                await websocket.receive()

        async with our_server(app) as url:
            async with connect(f"{url}/returns", proxy=None):
                while "/returns" not in ended:
                    await trio.lowlevel.checkpoint()
            async with connect(f"{url}/is_left", proxy=None):
                pass
            while "/is_left" not in ended:
                await trio.lowlevel.checkpoint()

        assert [] == tracebacks(caplog)

    async def test_a_task_that_is_being_started_from_elsewhere(self) -> None:
        """`nursery.start` of a task outside does not keep a connection whose handler returned."""
        app = App(__name__)
        is_begun, is_moved = trio.Event(), trio.Event()

        async def start(task_status: trio.TaskStatus[None]) -> None:
            is_begun.set()
            await trio.testing.wait_all_tasks_blocked(0.01)
            task_status.started()
            is_moved.set()
            await trio.sleep_forever()

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            app.nursery.start_soon(websocket.nursery.start, start)
            await is_begun.wait()

        async with our_server(app) as url:
            client: Any
            async with connect(url, proxy=None) as client:
                with pytest.raises(ConnectionClosedOK):
                    await client.recv()

        assert is_moved.is_set()
        assert 1000 == client.close_code

    async def test_a_handler_that_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        """It closes with 1011, and its failure is logged once."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            raise LookupError("no such thing")

        async with our_server(app) as url:
            client: Any
            async with connect(url, proxy=None) as client:
                with pytest.raises(ConnectionClosedError):
                    await client.recv()

        assert 1011 == client.close_code
        assert ["LookupError"] == tracebacks(caplog)


class TestTopics:
    """A connection's topics end with it."""

    async def test_when_it_ends(self, autojump_clock: trio.testing.MockClock) -> None:
        """It has left them, and joins none any more."""
        app = App(__name__)
        kept: list[WebSocket] = []

        @app.websocket("/<str:topic>")
        async def handler(topic: str) -> None:
            if topic == "joined":
                await websocket.join(topic)
            await websocket.send("hi")
            kept.append(websocket.unwrap())

        async with testing.client(app) as client:
            for path in ("/joined", "/other"):
                async with client.websocket(path) as peer:
                    await peer.wait_closed()
                assert 0 == app.channels.statistics().members
                with pytest.raises(ConnectionClosed):
                    await kept[-1].join("late")
