"""A Trio stream as a wire: for TLS, and for platforms without epoll."""

import socket
from collections import deque
from contextlib import suppress

import trio

from triows._groups import leaves_of
from triows._logs import log_failure
from triows.server._wire import CHUNK, RESET, WireUser, undelivered

HIGH_WATER = 64 * 1024
"""Bytes that may wait to be written before a peer counts as slow."""

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError, OSError)

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class StreamWire:
    """The `Wire` of a stream, while somebody awaits `run`.

    Attributes:
        user: Who takes what comes; set before `run`.
    """

    user: WireUser

    def __init__(self, stream: Stream) -> None:
        self.is_blocked = False
        self.unsent = 0
        self.written = 0
        self._stream = stream
        self._kept: deque[bytes] = deque()
        self._is_reading = True
        self._is_over = False  # nothing more is written
        self._is_broken = False  # because the peer is gone
        self._then: str | None = None  # "shutdown" or "close", once everything is written
        self._readers = trio.lowlevel.ParkingLot()
        self._writers = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Read and write, until the connection is closed; then the stream is closed too.

        Cancelled, it still closes it. Raises nothing else.
        """
        try:
            await self._run()
        except* Exception as group:
            _log(group)

    async def _run(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read)
                    await self._write()
                    nursery.cancel_scope.cancel(reason="everything is written")
        finally:
            self._give_up()
            self.is_blocked = False
            try:
                await trio.aclose_forcefully(self._stream)
            finally:
                self.user.lost()  # also when the closing is cancelled from outside

    # Reading

    async def _read(self) -> None:
        while True:
            await self._wait_reading()
            try:
                data = await self._stream.receive_some(CHUNK)
            except _GONE:
                self._scope.cancel(reason="the peer is gone")
                return
            if not data:
                break
            self.user.take(bytes(data))
        while True:
            # Met again and again, and not by reading: a TLS stream that was cut off is broken.
            self._is_reading = False
            self.user.take(b"")
            self._end_if_hopeless()
            await trio.lowlevel.checkpoint()
            await self._wait_reading()

    async def _wait_reading(self) -> None:
        while not self._is_reading:
            await self._readers.park()

    def set_reading(self, reading: bool) -> None:
        """Stop or go on reading; one read may be under way."""
        self._is_reading = reading
        self._readers.unpark_all()
        self._end_if_hopeless()

    def _end_if_hopeless(self) -> None:
        if self._is_broken and not self._is_reading:
            self._scope.cancel(reason="the peer is gone, and only a read would find out why")

    # Writing

    def write(self, data: bytes) -> None:
        """Keep it for the task that writes."""
        if self._is_over or self._then is not None:
            return
        self._kept.append(data)
        self.unsent += len(data)
        self._writers.unpark_all()
        if self.unsent > HIGH_WATER and not self.is_blocked:
            self.is_blocked = True  # until somebody is told that it is no longer
            self.user.blocked()

    async def _write(self) -> None:
        while True:
            if self._kept:
                data = b"".join(self._kept)
                self._kept.clear()
                await self._write_in_pieces(data)
            elif self._then == "close":
                await self._close()
                return
            elif self._then == "shutdown":
                await self._shut_down()
            else:
                await self._writers.park()

    async def _write_in_pieces(self, data: bytes) -> None:
        # In pieces, so that a slow peer is seen to make progress.
        for start in range(0, len(data), CHUNK):
            piece = data[start : start + CHUNK]
            try:
                await self._stream.send_all(piece)
            except _GONE:
                # The peer is gone, but may have said why: that is still to be read.
                self._break()
                return
            self.written += len(piece)
            self.unsent -= len(piece)
        if self.is_blocked and not self.unsent > HIGH_WATER:
            self.is_blocked = False
            self.user.unblocked()

    def delivered(self) -> int:
        """Return how many bytes the peer's kernel has; over TLS, more or less."""
        return self.written - undelivered(self._socket.fileno())

    @property
    def _socket(self) -> trio.socket.SocketType:
        stream = self._stream
        plain = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        return plain.socket

    def _break(self) -> None:
        self._is_broken = True
        self._give_up()
        if self.is_blocked:
            self.is_blocked = False
            self.user.unblocked()
        self._end_if_hopeless()

    def _give_up(self) -> None:
        self._is_over = True
        self._kept.clear()
        self.unsent = 0

    async def _shut_down(self) -> None:
        self._then = None
        self._is_over = True
        if isinstance(self._stream, trio.SocketStream):
            try:
                await self._stream.send_eof()
            except _GONE:
                self._scope.cancel(reason="the peer is gone")

    async def _close(self) -> None:
        with suppress(*_GONE):
            await self._stream.aclose()

    # The end

    def end_writing(self) -> None:
        """Shut the sending side down once everything is written; TLS has no such thing."""
        self._then = self._then or "shutdown"
        self._writers.unpark_all()

    def finish(self) -> None:
        """Close the stream once everything is written."""
        self._then = "close"
        self._writers.unpark_all()

    def abort(self) -> None:
        """Close the stream at once; the peer sees a reset."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._scope.cancel(reason="the connection was aborted")


def _log(group: ExceptionGroup[Exception]) -> None:
    for failure in leaves_of(group):
        log_failure("a connection is ended: its user failed", failure=failure)
