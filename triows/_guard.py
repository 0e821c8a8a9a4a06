"""Keeps one client of hypercorn's trio worker from hurting the others.

hypercorn 0.18 runs every connection in one nursery: an exception in one connection's protocol
code ends the process, and a client that never reads holds a shielded write for ever, so that
the process cannot shut down. While the guard is in place the worker builds its connections
from a subclass of hypercorn's own `TCPServer`, in which

- an exception ends that connection alone, and is logged;
- a write that makes no progress for `send_timeout` closes the socket under it;
- a frame that waits for another to be written is not lost by cancellation: it is encoded
  already, and the peer's deflate context would be out of step.

The worker looks `TCPServer` up when it starts to listen, which is after the app's lifespan
has started: that is what makes this possible. Nothing here imports hypercorn.
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import trio

from triows._groups import leaves_of
from triows._logs import error_log
from triows._timer import Timer, open_timer

WORKER = "hypercorn.trio.run"
FAULTY = "0.18."

CHUNK = 64 * 1024
"""Bytes written at a time, so that a large write shows its progress."""

_WRITE = "send_timeout"


@contextmanager
def guard_hypercorn(send_timeout: float) -> Generator[None]:
    """Guard the connections of a hypercorn trio worker that starts to listen inside the block.

    Does nothing where no such worker runs, where its version is not known to have the
    faults, or where a guard is in place already.

    Args:
        send_timeout: Seconds that a write may make no progress.
    """
    worker: Any = sys.modules.get(WORKER)
    if worker is None or not _is_faulty() or isinstance(worker.TCPServer, partial):
        yield
        return
    original = worker.TCPServer
    worker.TCPServer = partial(GuardedServer, original, send_timeout)
    error_log.info("hypercorn's connections are guarded from each other")
    try:
        yield
    finally:
        worker.TCPServer = original


def _is_faulty() -> bool:
    try:
        return version("hypercorn").startswith(FAULTY)
    except PackageNotFoundError:
        return False


class GuardedServer:
    """One connection of hypercorn, in a cage. Awaited once, as a `TCPServer` is."""

    def __init__(self, server_class: Any, send_timeout: float, *args: Any) -> None:
        self._server = server_class(*args)
        self._server.send_lock = PatientLock()
        self._stream = args[-1]
        self._send_timeout = send_timeout

    def __await__(self) -> Generator[Any, None, None]:
        return self._run().__await__()

    async def _run(self) -> None:
        try:
            async with open_timer() as timer:
                guard_writes(self._stream, timer, self._send_timeout)
                await self._server.run()
        except* Exception as group:
            for failure in leaves_of(group):
                _log(failure)


def _log(failure: Exception) -> None:
    if isinstance(failure, OSError | trio.BrokenResourceError | trio.ClosedResourceError):
        return  # The peer left.
    error_log.warning("hypercorn failed, and ended one connection for it: %r", failure)
    error_log.debug("hypercorn failed", exc_info=failure)


class PatientLock:
    """A lock that is not given up by cancellation once there is a queue for it."""

    def __init__(self) -> None:
        self._lock = trio.Lock()

    async def __aenter__(self) -> None:
        if self._lock.locked():
            # Bounded: whoever writes makes progress, or is cut off.
            with trio.CancelScope(shield=True):
                await self._lock.acquire()
        else:
            await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


def guard_writes(stream: Any, timer: Timer, send_timeout: float) -> None:
    """Close the socket under a write of this stream that makes no progress for `send_timeout`.

    The stream keeps its type and its other methods: hypercorn takes an AttributeError
    for "not TLS".
    """
    plain = getattr(stream, "transport_stream", stream)
    plain.send_all = WriteWatch(plain, timer, send_timeout).send_all


class WriteWatch:
    """Knows since when a write has made no progress."""

    def __init__(self, stream: trio.SocketStream, timer: Timer, send_timeout: float) -> None:
        self._socket = stream.socket
        self._send_all = stream.send_all
        self._timer = timer
        self._send_timeout = send_timeout
        self._since: float | None = None
        self._is_timed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Like the stream's own; a write that was given up raises `trio.ClosedResourceError`."""
        try:
            if len(data) <= CHUNK:
                self._mark()
                await self._send_all(data)
                return
            with memoryview(data) as view:
                for start in range(0, len(view), CHUNK):
                    self._mark()
                    await self._send_all(view[start : start + CHUNK])
        finally:
            self._since = None

    def _mark(self) -> None:
        self._since = trio.current_time()
        if not self._is_timed:
            self._time(self._since)

    def _time(self, since: float) -> None:
        self._is_timed = True
        self._timer.set(_WRITE, since + self._send_timeout, self._check)

    def _check(self) -> None:
        self._is_timed = False
        if self._since is None:
            return
        if trio.current_time() < self._since + self._send_timeout:
            self._time(self._since)
        else:
            self._socket.close()
