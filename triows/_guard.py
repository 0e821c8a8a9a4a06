"""Keeps one client of hypercorn's trio worker from hurting the others.

hypercorn 0.18 runs every connection in one nursery: an exception in one connection's protocol
code ends the process, and a client that never reads holds a shielded write for ever, so that
the process cannot shut down. While the guard is in place the worker builds its connections
from a subclass of hypercorn's own `TCPServer`, in which

- an exception ends that connection alone, and is logged;
- when the connection has ended, every app on it is told, and an app that has ended is not
  waited for: otherwise its tasks, and the socket, stay for ever;
- a write that makes no progress for `send_timeout` closes the socket under it;
- of a message that is too large nothing more is kept, which hypercorn would, without end, and a
  peer that does not close after its 1009 is not waited for;
- a frame that waits for another to be written is not lost by cancellation: it is encoded
  already, and the peer's deflate context would be out of step;
- an app that cancels its own last send, once it hears that its response is over, loses neither
  the next request nor the end of a connection that has none.

The worker looks `TCPServer` up when it starts to listen, which is after the app's lifespan
has started: that is what makes this possible. Nothing here imports hypercorn.
"""

import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeAlias

import trio

from triows._close import ABNORMAL, BY_PEER, TOO_BIG
from triows._groups import leaves_of
from triows._logs import client_of, error_log
from triows._timer import Timer, Watchdog, open_timer
from triows._turnstile import Turnstile
from triows._types import Event

WORKER = "hypercorn.trio.run"
FAULTY = "0.18."

CHUNK = 64 * 1024
"""Bytes written at a time, so that a large write shows its progress."""

FAREWELL = 5.0
"""Seconds for the peer's close frame after a message that was too large."""

STUCK = "triows.stuck"
"""In a scope's extensions: a set of functions to be called before a stuck write is given up."""

_DISCONNECT: Event = {"type": "websocket.disconnect", "code": ABNORMAL}

_REASON = "a message is larger than websocket_max_message_size"

_TOO_LARGE: Event = {
    "type": "websocket.disconnect",
    "code": TOO_BIG,
    "reason": _REASON,
    BY_PEER: False,
}

Put: TypeAlias = Callable[[Event], Awaitable[None]]
SendAll: TypeAlias = Callable[[bytes | bytearray | memoryview], Coroutine[Any, Any, None]]


@contextmanager
def guard_hypercorn(send_timeout: float) -> Generator[None]:
    """Guard the connections of a hypercorn trio worker that starts to listen inside the block.

    Does nothing where no such worker runs, where its version is not known to have the
    faults, or where a guard is in place already.

    Args:
        send_timeout: Seconds that a write may make no progress.
    """
    worker: Any = sys.modules.get(WORKER)
    if worker is None or not _is_faulty() or isinstance(worker.TCPServer, Guard):
        yield
        return
    original = worker.TCPServer
    worker.TCPServer = Guard(original, send_timeout)
    try:
        yield
    finally:
        worker.TCPServer = original


def _is_faulty() -> bool:
    try:
        return version("hypercorn").startswith(FAULTY)
    except PackageNotFoundError:
        return False


class Guard:
    """Stands in for the `TCPServer` of a worker, and makes guarded ones."""

    def __init__(self, server_class: Any, send_timeout: float) -> None:
        self._server_class = server_class
        self._send_timeout = send_timeout
        self._is_used = False

    def __call__(self, *args: Any) -> "GuardedServer":
        """Make what serves one connection."""
        if not self._is_used:
            # Not said before: our own server imports the worker's module, and runs no worker.
            self._is_used = True
            error_log.info("hypercorn's connections are guarded from each other")
        return GuardedServer(self._server_class, self._send_timeout, *args)


class GuardedServer:
    """One connection of hypercorn, in a cage. Awaited once, as a `TCPServer` is."""

    def __init__(self, server_class: Any, send_timeout: float, app: Any, *args: Any) -> None:
        self._server = server_class(partial(self._run_app, app), *args)
        self._read_data = self._server._read_data
        self._server._read_data = self._read
        guard_idling(self._server)
        self._stream = args[-1]
        self._send_timeout = send_timeout
        self._websockets: set[Any] = set()  # hypercorn's streams whose app is running
        self._stuck: set[Callable[[], None]] = set()  # told before a write is given up

    def __await__(self) -> Generator[Any, None, None]:
        return self._run().__await__()

    async def _run(self) -> None:
        try:
            async with open_timer() as timer, trio.open_nursery() as self._leftovers:
                guard_writes(self._server, self._stream, timer, self._send_timeout, self._give_up)
                await self._server.run()
                self._leftovers.cancel_scope.cancel(reason="the connection has ended")
        except* Exception as group:
            for failure in leaves_of(group):
                _log(failure)

    def _give_up(self) -> None:
        for tell in list(self._stuck):
            tell()

    async def _read(self) -> None:
        await self._read_data()
        # hypercorn tells no app of a handshake that it has refused itself.
        for stream in self._websockets:
            self._leftovers.start_soon(stream.app_put, _DISCONNECT)

    async def _run_app(self, app: Any, scope: Any, receive: Any, send: Any, *rest: Any) -> None:
        stream = send.__self__
        if scope["type"] == "websocket":
            self._websockets.add(stream)
            guard_messages(stream.buffer, partial(self._hear_too_large, stream))
            extensions = {**(scope.get("extensions") or {}), STUCK: self._stuck}
            scope = {**scope, "extensions": extensions}
        try:
            await app(scope, receive, send, *rest)
        finally:
            self._websockets.discard(stream)
            _forget(stream, receive)

    def _hear_too_large(self, stream: Any) -> None:
        """Have the app told why the peer is closed, and soon: hypercorn would wait for ever."""
        peer = client_of({"client": stream.client})
        error_log.warning("hypercorn closes: %s (peer %s)", _REASON, peer)
        stream.app_put = partial(_put_truly, stream.app_put)
        self._leftovers.start_soon(_expect_farewell, stream)


def guard_messages(buffer: Any, on_failure: Callable[[], None]) -> None:
    """Have the buffer of a WebSocket keep nothing more once a message was too large for it.

    hypercorn keeps what was too much already, tells the peer 1009, and goes on to collect what
    that sends all the same: compressed, a thousand times as much as it costs.
    """
    extend = buffer.extend
    failure: type[Exception] | None = None

    def extend_at_most(message: object) -> None:
        nonlocal failure
        if failure is not None:
            raise failure
        try:
            extend(message)
        except Exception as exc:
            failure = type(exc)
            buffer.clear()
            on_failure()
            raise

    buffer.extend = extend_at_most


async def _expect_farewell(stream: Any) -> None:
    await trio.sleep(FAREWELL)
    await stream.app_put(_DISCONNECT)


async def _put_truly(put: Put, event: Event) -> None:
    """Have an app told an event, but of 1009 instead of what hypercorn takes the end for."""
    await put(_TOO_LARGE if event["type"] == "websocket.disconnect" else event)


def _forget(stream: Any, receive: Any) -> None:
    """Let hypercorn have no more events for an app that has ended: it would wait to hand them over.

    One that it is waiting with already is taken from it.
    """
    stream.app_put = _ignore
    with suppress(trio.WouldBlock):
        while True:
            receive.__self__.receive_nowait()


async def _ignore(_: object) -> None:
    """Take an event for nobody."""


def _log(failure: Exception) -> None:
    if isinstance(failure, OSError | trio.BrokenResourceError | trio.ClosedResourceError):
        return  # The peer left.
    error_log.warning("hypercorn failed, and ended one connection for it: %r", failure)
    error_log.debug("hypercorn failed", exc_info=failure)


def guard_idling(server: Any) -> None:
    """Have a server wait for the next request, whatever the app of the last one cancels.

    hypercorn tells an app that its response is over in the midst of the last send, and begins to
    wait behind that. Apps that listen meanwhile, as Starlette's files do, cancel the send.
    """
    restart = server.idle_task.restart

    async def restart_for_sure(*args: Any) -> None:
        # Bounded: it stops a task, and starts one.
        with trio.CancelScope(shield=True):
            await restart(*args)

    server.idle_task.restart = restart_for_sure


class PatientLock(Turnstile):
    """A lock that cancellation does not reach: who waits for it has encoded a frame.

    Free, it is no checkpoint, as hypercorn's is: the write that follows makes one.
    """

    __slots__ = ()

    async def __aenter__(self) -> None:
        if self.is_taken:
            # Bounded: whoever writes makes progress, or is cut off.
            with trio.CancelScope(shield=True):
                await self.enter()
        self.is_taken = True

    async def __aexit__(self, *_: object) -> None:
        if self.waiting:
            self.leave()
        else:
            self.is_taken = False


def guard_writes(
    server: Any, stream: Any, timer: Timer, send_timeout: float, give_up: Callable[[], None]
) -> None:
    """Close the socket under a write of the server that makes no progress for `send_timeout`.

    The stream keeps its type and its other methods: hypercorn takes an AttributeError
    for "not TLS".
    """
    server.send_lock = lock = PatientLock()
    plain = getattr(stream, "transport_stream", stream)
    writes = WatchedWrites(plain.send_all)

    def cut() -> None:
        give_up()
        plain.socket.close()

    writes.watchdog = Watchdog(
        timer,
        "send_timeout",
        send_timeout,
        is_busy=lock.is_anyone_inside,
        progress=lambda: writes.count,
        bark=cut,
    )
    plain.send_all = writes.send_all


class WatchedWrites:
    """The writes of a stream, counted for a watchdog."""

    __slots__ = ("_send_all", "count", "watchdog")

    def __init__(self, send_all: SendAll) -> None:
        self.watchdog: Watchdog  # counts on this object, and so comes after it
        self.count = 0
        self._send_all = send_all

    def send_all(self, data: bytes | bytearray | memoryview) -> Coroutine[Any, Any, None]:
        """Like the stream's own; a write that was given up raises `trio.ClosedResourceError`."""
        self.count += 1
        if not self.watchdog.is_awake:
            self.watchdog.wake()
        if len(data) <= CHUNK:
            return self._send_all(data)
        return self._send_in_chunks(data)

    async def _send_in_chunks(self, data: bytes | bytearray | memoryview) -> None:
        with memoryview(data) as view:
            for start in range(0, len(view), CHUNK):
                self.count += 1
                await self._send_all(view[start : start + CHUNK])
