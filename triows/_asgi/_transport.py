"""The transport of one ASGI `websocket` scope: a reader, a writer, and how it ends.

Going back to the server before the peer's close frame has come races that frame, and
hypercorn 0.18 was seen to end of it. So after a close the transport keeps reading until the
server says that the peer is gone, at most `close_timeout`.
"""

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

import trio

from triows._asgi._denial import denial
from triows._asgi._link import Link, departure
from triows._asgi._reader import Reader
from triows._asgi._writer import Writer
from triows._close import ABNORMAL, CloseInfo
from triows._errors import PeerError
from triows._guard import STUCK
from triows._headers import RawHeaders
from triows._limits import Limits
from triows._timer import Timer
from triows._types import Receive, Scope, Send

_CLOSE = "close_timeout"


class ASGITransport:
    """The `Transport` of an ASGI connection. Made by `open_asgi_transport`.

    Attributes:
        timer: Keeps the deadlines of the connection.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        limits: Limits,
        timer: Timer,
        nursery: trio.Nursery,
        discard: bool,
    ) -> None:
        self._scope = scope
        self._asgi_receive = receive
        self._limits = limits
        self.timer = timer
        self._discard = discard
        self._link = Link()
        self._link.on_change = self._wake
        self._reader = Reader(receive, self._link, limits, timer, self._send_close)
        self._writer = Writer(send, self._link, limits, timer, nursery)
        # On the way of every message: no layer between.
        self.receive = self._reader.receive
        self.send = self._writer.send
        self.send_nowait = self._writer.send_nowait
        self.set_reading = self._reader.set_reading
        self.watch = self._reader.watch

    @property
    def closed(self) -> CloseInfo | None:
        """How it ended; None while it is open."""
        return self._link.closed

    @property
    def fault(self) -> PeerError | None:
        """What the peer did wrong, if that is what ended it."""
        return self._link.fault

    @property
    def received(self) -> int:
        """Messages taken from the peer so far."""
        return self._reader.received

    @property
    def sent(self) -> int:
        """Messages handed to the server so far."""
        return self._writer.sent

    @property
    def last_received(self) -> float:
        """When the last message came, or the accept."""
        return self._reader.last_seen

    @property
    def latency(self) -> float | None:
        """None: the server keeps its pings to itself."""
        return None

    def observe(
        self,
        owner: object,
        on_peer_gone: Callable[[CloseInfo], None],
        on_overrun: Callable[[int, str], None],
        on_delivery: Callable[[], None],
    ) -> None:
        """Set whose connection it is, and who is told what is found out."""
        self._link.owner = owner
        self._link.on_peer_gone = on_peer_gone
        self._link.on_overrun = on_overrun
        self._link.on_delivery = on_delivery

    @contextmanager
    def listening(self) -> Generator[None]:
        """Hear from a guarded server that the peer does not read: it sees that best."""
        stuck: set[Callable[[], None]] = (self._scope.get("extensions") or {}).get(STUCK, set())
        stuck.add(self._writer.give_up)
        try:
            yield
        finally:
            stuck.discard(self._writer.give_up)

    # The handshake

    async def connect(self) -> None:
        """Take the handshake from the server; `closed` is set if the peer has left already."""
        try:
            event = await self._asgi_receive()
        except Exception as exc:
            event = departure(exc)
        if event["type"] == "websocket.disconnect":
            self._link.depart(event)

    async def accept(self, subprotocol: str | None, headers: RawHeaders) -> None:
        """Answer the handshake with 101."""
        if self.closed is not None:
            raise self._link.ended()
        await self._writer.write(
            {"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers}
        )
        self._reader.last_received = trio.current_time()
        if self._discard:
            self._reader.discards = True
            self._wake()

    async def reject(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Answer the handshake with an HTTP response, or 403 where the server can do no other."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.closed is not None:
            raise self._link.ended()
        self._link.closed = CloseInfo(ABNORMAL, f"answered with HTTP {status}", by_peer=False)
        for event in denial(self._scope, status, headers, body):
            await self._writer.write(event)
        # Nothing follows: the server ends the connection when the app returns.
        self._link.is_departed = True
        self._wake()

    # The end

    async def close(self, code: int, reason: str) -> None:
        """Send what is queued, then a close frame; then somebody must read on."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.closed is None:
            self._link.closed = CloseInfo(code, reason, by_peer=False)
            self._forget_rest()
        if not self._link.has_more:
            await self._send_close()

    async def _send_close(self) -> None:
        assert self.closed is not None, "what is sent is how it ended"
        self._give_it_time()
        await self._writer.close(self.closed.code, self.closed.reason)
        self._give_it_time()

    def _give_it_time(self) -> None:
        """Bound the next step of the closing handshake: ours to be written, or theirs to come."""
        if not self._link.is_departed:
            deadline = trio.current_time() + self._limits.close_timeout
            self.timer.set(_CLOSE, deadline, self._give_up)

    def _give_up(self) -> None:
        # A receiver inside the server's receive cannot be called out of it.
        if self._reader.is_received_from:
            self._link.on_overrun(ABNORMAL, "peer has not answered the close")
        self.abort()

    async def finish(self) -> None:
        """Wait for the peer's answer to the close frame, at most `close_timeout`."""
        self._forget_rest()
        await self._reader.wait_departed()

    def _forget_rest(self) -> None:
        """Have nothing kept of what is still to be read, up to the disconnect."""
        self._reader.drop_inbox()
        self._wake()

    def abort(self) -> None:
        """Give the peer up. ASGI cannot cut a connection; returning to the server does."""
        if self.closed is None:
            self._link.closed = CloseInfo(ABNORMAL, "", by_peer=False)
        self._link.is_departed = True
        self._link.has_more = False
        self.timer.clear(_CLOSE)
        self._writer.interrupt()
        self._wake()

    def _wake(self) -> None:
        """Let everybody who waits look again."""
        self._reader.wake()
        self._writer.wake()


@asynccontextmanager
async def open_asgi_transport(
    scope: Scope, receive: Receive, send: Send, *, limits: Limits, timer: Timer, discard: bool
) -> AsyncGenerator[ASGITransport]:
    """Take the handshake from the server, and run a transport's tasks around a block."""
    async with trio.open_nursery() as nursery:
        transport = ASGITransport(
            scope,
            receive,
            send,
            limits=limits,
            timer=timer,
            nursery=nursery,
            discard=discard,
        )
        await transport.connect()
        nursery.start_soon(transport.watch)
        with transport.listening():
            yield transport
        nursery.cancel_scope.cancel(reason="the transport is finished")
