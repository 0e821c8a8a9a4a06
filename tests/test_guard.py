"""The hypercorn guard: what one connection raises stays with it, and no write lasts for ever.

Here the connections are small fakes; tests/e2e shows the same on a real hypercorn.
"""

import logging
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from types import ModuleType
from typing import Any, TypeAlias

import pytest
import trio
import trio.testing

from triows import _guard
from triows._guard import CHUNK, STUCK, WORKER, GuardedServer, PatientLock, guard_hypercorn

Act: TypeAlias = Callable[[Any], Awaitable[None]]


class IdleTask:
    """Waits for the next request, between two of them.

    Attributes:
        actions: What it was started with.
    """

    def __init__(self) -> None:
        self.actions: list[str] = []

    async def restart(self, action: str) -> None:
        """Begin to wait, once another task has stopped to."""
        await trio.lowlevel.checkpoint()
        self.actions.append(action)


class Connection:
    """What hypercorn builds for each connection: made of five things, and awaited."""

    def __init__(self, app: Any, act: Any, context: Any, state: Any, stream: Any) -> None:
        self.app = app
        self.send_lock: Any = trio.Lock()
        self.idle_task = IdleTask()
        self._act: Act = act
        self._stream = Writing(self, stream)

    async def run(self) -> None:
        """Do what the test wants done."""
        await self._act(self._stream)

    async def _read_data(self) -> None:
        """Read until the peer has gone."""


class Writing:
    """A stream as hypercorn writes to it: inside its lock, and shielded."""

    def __init__(self, connection: Connection, stream: Any) -> None:
        self.connection = connection
        self._stream = stream

    async def write(self, data: bytes) -> None:
        """Write, as hypercorn's `protocol_send` does."""
        async with self.connection.send_lock:
            with trio.CancelScope(shield=True):
                await getattr(self._stream, "transport_stream", self._stream).send_all(data)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stand-in for the module of hypercorn's trio worker, imported as its CLI does."""
    module = ModuleType(WORKER)
    module.TCPServer = Connection  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, WORKER, module)
    return module


async def serve(act: Act, stream: object = None, app: object = None) -> None:
    """Serve one guarded connection that does `act`."""
    stream = SlowStream() if stream is None else stream
    await GuardedServer(Connection, 20, app, act, None, None, stream)


class TestInstallation:
    """When the guard is there, and when it is not."""

    def test_a_worker_that_starts_inside_the_block_is_guarded(self, worker: ModuleType) -> None:
        """What it looks up as `TCPServer` makes guarded connections; later all is as before."""
        with guard_hypercorn(20):
            assert isinstance(worker.TCPServer(*[None] * 5), GuardedServer)

        assert worker.TCPServer is Connection

    def test_a_second_guard_changes_nothing(self, worker: ModuleType) -> None:
        """Two apps in one process share the first one's guard."""
        with guard_hypercorn(20):
            first = worker.TCPServer
            with guard_hypercorn(20):
                assert worker.TCPServer is first
            assert worker.TCPServer is first

    def test_it_is_logged_once(self, worker: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
        """With the first connection: a worker that is imported, and never runs, has none."""
        caplog.set_level(logging.INFO)
        with guard_hypercorn(20):
            assert [] == caplog.messages

            for _ in range(2):
                worker.TCPServer(*[None] * 5)

        assert ["hypercorn's connections are guarded from each other"] == caplog.messages

    @pytest.mark.parametrize("version", ["0.17.3", "0.19.0", "1.0"])
    def test_other_versions_are_left_alone(
        self, worker: ModuleType, monkeypatch: pytest.MonkeyPatch, version: str
    ) -> None:
        """Only versions known to have the faults are touched."""
        monkeypatch.setattr(_guard, "version", lambda _: version)

        with guard_hypercorn(20):
            assert worker.TCPServer is Connection

    def test_a_hypercorn_that_was_never_installed(
        self, worker: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A module of that name without a distribution is somebody else's."""

        def not_found(name: str) -> str:
            raise PackageNotFoundError(name)

        monkeypatch.setattr(_guard, "version", not_found)

        with guard_hypercorn(20):
            assert worker.TCPServer is Connection

    def test_without_a_worker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Under another server there is nothing to do, and hypercorn is not imported."""
        monkeypatch.delitem(sys.modules, WORKER, raising=False)

        with guard_hypercorn(20):
            assert WORKER not in sys.modules


class TestIsolation:
    """One connection's exception."""

    async def test_it_ends_that_connection_alone(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is a warning in the log, and does not reach the server."""

        async def act(_: object) -> None:
            raise ExceptionGroup("tasks", [ValueError("one"), KeyError("two")])

        await serve(act)

        assert [
            "hypercorn failed, and ended one connection for it: ValueError('one')",
            "hypercorn failed, and ended one connection for it: KeyError('two')",
        ] == [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]

    @pytest.mark.parametrize(
        "error", [OSError(), trio.BrokenResourceError(), trio.ClosedResourceError()]
    )
    async def test_a_peer_that_left_is_no_error(
        self, caplog: pytest.LogCaptureFixture, error: Exception
    ) -> None:
        """What sockets raise when the other side is gone is not worth a line."""

        async def act(_: object) -> None:
            raise error

        await serve(act)

        assert [] == caplog.records

    async def test_cancellation_passes(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The server's shutdown reaches the connection, and goes on up."""

        async def untidy() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("untidy")

        async def act(_: object) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(untidy)
                await trio.sleep_forever()

        with trio.CancelScope() as scope:
            scope.deadline = trio.current_time() + 1
            await serve(act)

        assert scope.cancelled_caught
        assert "untidy" in caplog.text


class TooLarge(Exception):
    """Raised by a buffer, without a reason, as hypercorn's is."""


class Buffer:
    """Collects the pieces of a message, and finds out too late that they are too many."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    def extend(self, piece: str) -> None:
        """Keep a piece."""
        self.pieces.append(piece)
        if len(self.pieces) > 2:
            raise TooLarge

    def clear(self) -> None:
        """Forget all."""
        self.pieces.clear()


class Stream:
    """A WebSocket of hypercorn: it queues events for the app, and waits if the queue is full."""

    def __init__(self) -> None:
        self._channel, self.receive = trio.open_memory_channel[Any](1)
        self.app_put = self._channel.send
        self.closed = False
        self.client = ("127.0.0.1", 5000)
        self.buffer = Buffer()

    async def app_send(self, event: object) -> None:
        """Be the app's `send`."""


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_message_that_is_too_large(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, *, leaves: bool
) -> None:
    """Nothing of it is kept, whatever else comes; the app is told how it ended, in 5 s at most."""
    stream = Stream()
    kept: list[int] = []

    async def app(scope: object, receive: Callable[[], Awaitable[object]], send: object) -> None:
        for _ in range(5):
            with suppress(TooLarge):
                stream.buffer.extend("piece")
            kept.append(len(stream.buffer.pieces))
        if leaves:
            await stream.app_put({"type": "websocket.disconnect", "code": 1006})
        assert {
            "type": "websocket.disconnect",
            "code": 1009,
            "reason": "a message is larger than websocket_max_message_size",
            "triows.by_peer": False,
        } == await receive()
        assert autojump_clock.current_time() == (0 if leaves else 5)

    async def act(writing: Writing) -> None:
        scope = {"type": "websocket"}
        await writing.connection.app(scope, stream.receive.receive, stream.app_send)

    await serve(act, app=app)

    assert [1, 2, 0, 0, 0] == kept
    reason = "a message is larger than websocket_max_message_size"
    assert [f"hypercorn closes: {reason} (peer 127.0.0.1:5000)"] == caplog.messages


async def test_messages_before_one_that_is_too_large(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """They reach the app as they are."""
    stream = Stream()
    message = {"type": "websocket.receive", "text": "small", "bytes": None}
    events = []

    async def app(scope: object, receive: Callable[[], Awaitable[object]], send: object) -> None:
        with pytest.raises(TooLarge):
            for _ in range(3):
                stream.buffer.extend("piece")
        await stream.app_put(message)
        events.append(await receive())

    async def act(writing: Writing) -> None:
        scope = {"type": "websocket"}
        await writing.connection.app(scope, stream.receive.receive, stream.app_send)

    await serve(act, app=app)

    assert [message] == events


class TestLeftovers:
    """What hypercorn forgets when a connection ends."""

    async def test_every_app_is_told(self, autojump_clock: trio.testing.MockClock) -> None:
        """An app that waits for the next message hears that there will be none."""
        stream = Stream()
        received: list[object] = []

        async def app(scope: object, receive: Any, send: object) -> None:
            received.append(await receive())

        async def act(writing: Writing) -> None:
            async with trio.open_nursery() as nursery:
                scope = {"type": "websocket"}
                nursery.start_soon(
                    writing.connection.app, scope, stream.receive.receive, stream.app_send
                )
                await trio.testing.wait_all_tasks_blocked()
                await writing.connection._read_data()

        await serve(act, app=app)

        assert [{"type": "websocket.disconnect", "code": 1006}] == received

    async def test_an_app_that_has_ended_is_not_waited_for(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """What still comes for it is thrown away, until the connection ends."""
        stream = Stream()

        async def app(scope: object, receive: Any, send: object) -> None:
            pass

        async def act(writing: Writing) -> None:
            scope = {"type": "websocket"}
            await writing.connection.app(scope, stream.receive.receive, stream.app_send)
            await writing.connection._read_data()
            for _ in range(10):
                await stream.app_put({"type": "websocket.receive", "text": "too late"})

        await serve(act, app=app)

        assert stream.receive.statistics().current_buffer_used <= 1

    @pytest.mark.parametrize("kind", ["websocket", "http"])
    async def test_an_ended_app_leaves_nothing(
        self, autojump_clock: trio.testing.MockClock, kind: str
    ) -> None:
        """Of a stream that has ended before its connection, as in HTTP/2, no task is left."""

        async def app(scope: object, receive: Any, send: object) -> None:
            await receive()

        async def act(writing: Writing) -> None:
            before = trio.lowlevel.current_statistics().tasks_living
            for _ in range(10):
                stream = Stream()
                await stream.app_put({"type": f"{kind}.disconnect"})
                await writing.connection.app(
                    {"type": kind}, stream.receive.receive, stream.app_send
                )
            await trio.testing.wait_all_tasks_blocked()
            assert before == trio.lowlevel.current_statistics().tasks_living

        await serve(act, app=app)

    async def test_an_event_on_its_way(self, autojump_clock: trio.testing.MockClock) -> None:
        """hypercorn, waiting to hand an event over while the app ends, waits no longer."""
        stream = Stream()

        async def app(scope: object, receive: Any, send: object) -> None:
            await trio.sleep(1)

        async def act(writing: Writing) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    writing.connection.app,
                    {"type": "websocket"},
                    stream.receive.receive,
                    stream.app_send,
                )
                for _ in range(10):
                    await stream.app_put({"type": "websocket.receive", "text": "unread"})

        started = trio.current_time()
        await serve(act, app=app)

        assert 1 == pytest.approx(trio.current_time() - started)


class TestPatientLock:
    """What hypercorn's writers queue for."""

    async def test_a_frame_that_waits_is_written(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """Cancelled in the queue, a writer still gets its turn, and in order."""
        lock = PatientLock()
        written: list[str] = []

        async def write(frame: str) -> None:
            async with lock:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
                written.append(frame)

        async with trio.open_nursery() as nursery:
            for frame in ("first", "second", "third"):
                nursery.start_soon(write, frame)
                await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

        assert ["first", "second", "third"] == written

    async def test_a_free_one_is_taken_at_once(self) -> None:
        """Entering it is no checkpoint, cancelled or not, and it can be asked who is inside."""
        lock = PatientLock()

        with trio.CancelScope() as scope, trio.testing.assert_no_checkpoints():
            scope.cancel()
            async with lock:
                assert lock.is_taken

        assert not lock.is_taken


class TestWrites:
    """A write that makes no progress."""

    async def test_the_socket_is_closed_under_it(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A shielded writer gets `ClosedResourceError` after `send_timeout`."""
        stream = SlowStream(never=True)

        async def act(stream: Writing) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.write(b"hello?")

        started = trio.current_time()
        with trio.CancelScope() as scope:
            scope.cancel()
            await serve(act, stream)

        assert 20 == pytest.approx(trio.current_time() - started)

    async def test_the_apps_are_told_before(self, autojump_clock: trio.testing.MockClock) -> None:
        """Those of the connection that asked for it, by the set in their scope's extensions."""
        stream = SlowStream(never=True)
        told: list[bool] = []

        async def app(scope: Any, receive: object, send: object) -> None:
            scope["extensions"][STUCK].add(lambda: told.append(stream.is_closed))
            await trio.sleep(60)

        async def act(writing: Writing) -> None:
            queue = Stream()
            async with trio.open_nursery() as nursery:
                scope = {"type": "websocket", "extensions": None}
                nursery.start_soon(
                    writing.connection.app, scope, queue.receive.receive, queue.app_send
                )
                with pytest.raises(trio.ClosedResourceError):
                    await writing.write(b"hello?")

        await serve(act, stream, app=app)

        assert [False] == told

    async def test_a_slow_peer_is_not_a_stalled_one(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A large write may take as long as it likes while its pieces go out."""
        stream = SlowStream(seconds=15)
        data = bytes(range(256)) * (CHUNK // 100)

        async def act(stream: Writing) -> None:
            await stream.write(data)
            await stream.write(b"more")
            await trio.sleep(100)
            await stream.write(b"and later")

        await serve(act, stream)

        assert data + b"moreand later" == bytes(stream.written)

    async def test_tls_is_watched_where_the_bytes_go_out(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """Of a TLS stream it is the socket stream below that is watched."""
        below = SlowStream(never=True)
        stream = TLSStream(below)

        async def act(stream: Writing) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.write(b"record")

        await serve(act, stream)

        assert below.is_closed


class TestIdling:
    """A connection waits for the next request."""

    async def test_whatever_the_app_cancels(self) -> None:
        """Also if the app of the last one has cancelled what hypercorn does behind its send."""

        async def act(stream: Writing) -> None:
            idle_task = stream.connection.idle_task
            with trio.CancelScope() as response:
                response.cancel()
                await idle_task.restart("wait")

            assert ["wait"] == idle_task.actions

        await serve(act)


class SlowStream:
    """A socket stream whose peer takes some seconds for every write, or never reads."""

    def __init__(self, seconds: float = 0, *, never: bool = False) -> None:
        self.written = bytearray()
        self.is_closed = False
        self.socket = self
        self._seconds = seconds
        self._never = never
        self._closed = trio.Event()

    async def send_all(self, data: bytes | memoryview) -> None:
        """Write, slowly."""
        if self._never:
            await self._closed.wait()
            raise trio.ClosedResourceError
        await trio.sleep(self._seconds)
        self.written += data

    def close(self) -> None:
        """Close the socket, which a waiting write notices."""
        self.is_closed = True
        self._closed.set()


class TLSStream:
    """A TLS stream, as far as the guard looks at it."""

    def __init__(self, below: SlowStream) -> None:
        self.transport_stream = below
