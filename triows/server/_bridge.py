"""The way to hypercorn, for what the fast lane does not serve.

A connection goes over whole, with the bytes that were read to see where it belongs. From then
on it is hypercorn's `TCPServer`, guarded as under hypercorn's own command line.
"""

import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from random import randint
from typing import Any, TypeAlias

import trio
from hypercorn.config import Config
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from triows._guard import GuardedServer
from triows._limits import Limits
from triows._turnstile import Turnstile
from triows._types import ASGIApp, Receive, Scope, Send
from triows.server._bridged import Bridged
from triows.server._roster import Roster
from triows.server._wire import RESET

TLSStream: TypeAlias = trio.SSLStream[trio.SocketStream]


GRACE = Limits().disconnect_grace
"""Seconds that an app has over HTTP/2 once the client has left."""

PIECE = 2048
"""Bytes that hypercorn gets at a time where it parses them: 64 KiB would take it half a second."""

FRAME_HEAD, FRAME_TYPE, DATA = 9, 3, 0
"""Of a frame of HTTP/2 (RFC 9113 §4.1): its head's length, where in it the type is, and a type."""

FAREWELL = 1.0
"""Seconds for the last bytes of a connection that was cancelled."""


def _nothing() -> int:
    return 0


class Turns:
    """Lets a `PIECE` pass in one turn of Trio's scheduler, from however many streams it comes."""

    def __init__(self) -> None:
        self._turnstile = Turnstile()
        self._left = PIECE

    async def wait(self, size: int) -> None:
        """Wait until that many bytes may pass; no checkpoint if they may pass now."""
        if self._turnstile.is_taken or size > self._left:
            async with self._turnstile:
                await trio.lowlevel.checkpoint()
                self._left = PIECE
        self._left -= size


class ReplayStream:
    """A stream that gives bytes back which were read already, and then goes on.

    hypercorn takes any AttributeError for "not TLS", so each kind has what hypercorn may
    use of it, and nothing passes through unseen.

    Args:
        stream: Goes on.
        already_read: Comes first.
        turns: Of all streams that share the thread.

    Attributes:
        unparsed: Tells how many of the next bytes will only be handed on.
    """

    def __init__(
        self, stream: trio.SocketStream | TLSStream, already_read: bytes, turns: Turns
    ) -> None:
        self._stream = stream
        self._already_read = already_read
        self._turns = turns
        self.unparsed: Callable[[], int] = _nothing

    async def receive_some(self, max_bytes: int) -> bytes | bytearray:
        """Like the stream's own, once the bytes that were read are given back.

        Behind what is handed on unparsed comes a `PIECE` at most, and to one stream after another:
        between two of them everybody else has a turn. Cancelled then, it loses what was read.
        """
        unparsed = self.unparsed()
        data = await self._receive(min(unparsed + PIECE, max_bytes))
        if len(data) > unparsed:
            await self._turns.wait(len(data) - unparsed)
        return data

    async def _receive(self, max_bytes: int) -> bytes | bytearray:
        if not self._already_read:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        data = self._already_read[:max_bytes]
        self._already_read = self._already_read[len(data) :]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Like the stream's own."""
        await self._stream.send_all(data)

    async def aclose(self) -> None:
        """Like the stream's own."""
        await self._stream.aclose()


class PlainReplayStream(ReplayStream):
    """One over a socket.

    Attributes:
        socket: Of the stream, which tells the addresses of the two ends.
    """

    def __init__(self, stream: trio.SocketStream, already_read: bytes, turns: Turns) -> None:
        super().__init__(stream, already_read, turns)
        self.socket = stream.socket
        self.send_eof = stream.send_eof


class TLSReplayStream(ReplayStream):
    """One over a TLS stream whose handshake is done.

    Attributes:
        transport_stream: What the TLS stream is over, and the guard watches.
    """

    def __init__(self, stream: TLSStream, already_read: bytes, turns: Turns) -> None:
        super().__init__(stream, already_read, turns)
        self.transport_stream = stream.transport_stream
        self.selected_alpn_protocol = stream.selected_alpn_protocol

    async def do_handshake(self) -> None:
        """Return at once."""
        await trio.lowlevel.checkpoint()


class Connection(TCPServer):
    """hypercorn's, but it ends when the client has left.

    hypercorn would wait for a next request until `keep_alive_timeout`, with the socket open.
    """

    _client_left = False

    async def _read_data(self) -> None:
        stream: Any = self.stream
        stream.unparsed = self._unparsed
        await super()._read_data()
        self._client_left = True
        if isinstance(self.protocol.protocol, H2Protocol):
            # A stream of HTTP/2 waits for ever for its window to open.
            nursery = self._task_group._nursery
            assert nursery is not None, "it is open around all that is read"
            nursery.cancel_scope.deadline = trio.current_time() + GRACE
        await self.idle_task.stop()

    def _unparsed(self) -> int:
        """Return how many bytes are left of what the client has begun: of a body, or of data."""
        protocol: Any = self.protocol.protocol
        # What is asked is private. Without it an upload would cost more, and that is all.
        if isinstance(protocol, H2Protocol):
            frame = getattr(protocol.connection.incoming_buffer, "_data", b"")
            is_data = len(frame) > FRAME_TYPE and frame[FRAME_TYPE] == DATA
            return max(0, is_data * (FRAME_HEAD + int.from_bytes(frame[:FRAME_TYPE]) - len(frame)))
        reader = getattr(protocol.connection, "_reader", None)
        left: int = getattr(reader, "_remaining", 0) or getattr(reader, "_bytes_in_chunk", 0)
        return left

    async def _idle_timeout(self) -> None:
        if not self._client_left:
            await super()._idle_timeout()


class Bridge:
    """Serves connections by hypercorn, for one app.

    Args:
        app: Any ASGI 3 app.
        config: What it says of HTTP holds as under hypercorn.
        state: Of the lifespan; each connection gets a shallow copy.
        roster: Has the WebSockets.
        send_timeout: Seconds that a write may make no progress; then the connection is cut.

    Attributes:
        terminate: Set, with `wait()` to wait for it, once `config.max_requests` were served
            here: the server is to stop, and nothing here does so by itself.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: Config,
        state: dict[str, Any],
        roster: Roster,
        *,
        send_timeout: float = Limits().send_timeout,
    ) -> None:
        self._app = app
        self._config = config
        self._state = state
        self._roster = roster
        self._send_timeout = send_timeout
        self._turns = Turns()
        self._context = WorkerContext(_max_requests_of(config))
        self.terminate = self._context.terminate

    async def serve(self, stream: trio.SocketStream | TLSStream, already_read: bytes) -> None:
        """Serve one connection to its end, and close its stream.

        What fails in it is logged, and raised is only cancellation.

        Args:
            stream: Of the connection. One with TLS has its handshake done and is
                `https_compatible`: a farewell to a client that does not read would wait for it.
            already_read: All that was taken from the stream so far.
        """
        replay: ReplayStream
        if isinstance(stream, trio.SSLStream):
            replay = TLSReplayStream(stream, already_read, self._turns)
        else:
            replay = PlainReplayStream(stream, already_read, self._turns)
        state = self._state.copy()
        try:
            async with _bounded_farewell(stream):
                await GuardedServer(
                    Connection,
                    self._send_timeout,
                    self._call,
                    self._config,
                    self._context,
                    state,
                    replay,
                )
        finally:
            # Cancelled, hypercorn leaves the socket to the garbage collector.
            await trio.aclose_forcefully(stream)

    async def _call(self, scope: Scope, receive: Receive, send: Send, *_: object) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        await Bridged(scope, receive, send, self._roster).run(self._app)

    async def close_idle(self) -> None:
        """Close the connections that wait for a request now, and the others after their response.

        WebSockets are left to the roster. To be called when there will be no more connections:
        one that is served afterwards may be closed before it is answered.
        """
        await self._context.terminated.set()


@asynccontextmanager
async def _bounded_farewell(stream: trio.SocketStream | TLSStream) -> AsyncGenerator[None]:
    """Cut a stream off whose block has not ended `FAREWELL` after it was cancelled.

    hypercorn shields its writes: a client that reads nothing, or a little now and then, would
    hold up the end of the server.
    """
    plain = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    ended = trio.Event()

    async def watch() -> None:
        try:
            await ended.wait()
        finally:
            with trio.move_on_after(FAREWELL, shield=True) as patience:
                await ended.wait()
            if patience.cancelled_caught:
                # What is lost was no whole response, and should not look like one.
                with suppress(OSError):
                    plain.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                plain.socket.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        try:
            yield
        finally:
            ended.set()


def _max_requests_of(config: Config) -> int | None:
    """Return the bound of the config, spread so that not all workers reach it at once."""
    if config.max_requests is None:
        return None
    return config.max_requests + randint(0, config.max_requests_jitter)  # noqa: S311
