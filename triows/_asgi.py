"""A transport over any ASGI server on Trio.

Theory of operation
-------------------
ASGI tells that the peer left only to whoever is inside the server's `receive`. A reader task
beside every handler would see it, and costs a task switch a message. So the handler is its
own reader: `receive` awaits the server directly. A watcher task takes over only when nobody
has been inside for `UNATTENDED` seconds; what it gets goes to the inbox, and it stands down
when a receiver waits for it. At most one task is inside the server's `receive` at a time.

The watcher reads at once, without that pause, when there is nobody to wait for: after this
side's close (only the server's `websocket.disconnect` says that the peer has seen it), and
when the route discards what comes in.

A full inbox stops the watcher, and hides the disconnect queued behind it; `stall_timeout` is
the only promise there.

What is handed to the server's `send` is shielded: a server may have encoded the frame already
when it waits, and a frame that is then lost breaks the peer's deflate context. What bounds it
is `send_timeout`, kept by a timer that outlives the server's cancellation of the app.

Seen on servers, and relied upon: `receive` after the disconnect never returns, so it is not
called; `send` after it silently succeeds and may return without a checkpoint, so every call
here makes its own; a broken or busy resource out of `send` means that the peer is gone; going
back to the server before the peer's close frame has come races that frame.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import trio

from triows._close import ABNORMAL, NO_STATUS, TRY_AGAIN_LATER, CloseInfo
from triows._errors import ConnectionClosed, MessageTooBig, PeerError
from triows._headers import RawHeaders
from triows._limits import Limits
from triows._timer import Timer
from triows._transport import Prepared, size_of
from triows._types import Data, Event, Receive, Scope, Send

UNATTENDED = 0.25
"""Seconds without a receiver after which the watcher reads: a departure is seen no later."""

TURN_MASK = 31
"""Every 32nd call is a full checkpoint; a power of two, so that counting costs one `&`."""

_STALL, _WRITE, _CLOSE = "stall_timeout", "send_timeout", "close_timeout"

_PEER_IS_GONE = (
    OSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.BusyResourceError,
)


class ASGITransport:
    """The `Transport` of an ASGI `websocket` scope. Made by `open_asgi_transport`."""

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
        self.closed: CloseInfo | None = None
        self.fault: PeerError | None = None
        self.on_peer_gone: Callable[[CloseInfo], None] = _ignore
        self.on_overrun: Callable[[int, str], None] = _ignore
        self.received = 0
        self.sent = 0
        self.last_received = trio.current_time()

        self._scope = scope
        self._asgi_receive = receive
        self._asgi_send = send
        self._limits = limits
        self._timer = timer
        self._nursery = nursery
        self._discard = discard

        self._is_accepted = False
        self._departed = False  # the server has said "websocket.disconnect", or cannot any more
        self._turn = 0

        self._inbox: deque[tuple[Data, int]] = deque()
        self._inbox_bytes = 0
        self._is_full = False
        self._is_read_from = True
        self._inside = False  # a task is inside the server's receive
        self._visits = 0
        self._waiting = 0  # receivers that wait for what the watcher brings
        self._arrivals = trio.lowlevel.ParkingLot()
        self._watcher = trio.lowlevel.ParkingLot()
        self._watcher_awaits_exit = False

        self._lock = trio.Lock()
        self._write_scope: trio.CancelScope | None = None
        self._writing_since: float | None = None
        self._write_is_timed = False
        self._close_is_sent = False
        self._outbox: deque[Prepared] = deque()
        self._outbox_bytes = 0
        self._outbox_filled: trio.lowlevel.ParkingLot | None = None

    # The handshake

    async def connect(self) -> None:
        """Take the handshake from the server; `closed` is set if the peer has left already."""
        event = await self._asgi_receive()
        if event["type"] == "websocket.disconnect":
            self._depart(event)

    async def accept(self, subprotocol: str | None, headers: RawHeaders) -> None:
        """Answer the handshake with 101."""
        await self._deliver(
            {"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers}
        )
        self._is_accepted = True
        self.last_received = trio.current_time()
        self._watcher.unpark_all()

    async def reject(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Answer the handshake with an HTTP response, or 403 where the server can do no other."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.closed is not None:
            raise ConnectionClosed(self.closed)
        self.closed = CloseInfo(ABNORMAL, f"answered with HTTP {status}", by_peer=False)
        for event in denial(self._scope, status, headers, body):
            await self._write(event)
        # Nothing follows: the server ends the connection when the app returns.
        self._departed = True
        self._wake()

    # Reading

    async def receive(self) -> Data:
        """Return the next message, read by this task if no other is reading."""
        self._visits += 1
        await self._check_in()
        while True:
            if self._inbox:
                return self._take()
            if self.closed is not None:
                raise ConnectionClosed(self.closed)
            if self._inside:
                await self._wait_for_arrival()
            elif (message := await self._read()) is not None:
                return message

    def set_reading(self, reading: bool) -> None:
        """Stop or go on taking messages that no `receive` waits for."""
        self._is_read_from = reading
        self._watcher.unpark_all()

    async def _read(self) -> Data | None:
        """Take one event from the server; None if it was no message, or one not to be had."""
        self._inside = True
        try:
            event = await self._asgi_receive()
        except _PEER_IS_GONE:
            self._depart({})
            return None
        finally:
            self._inside = False
            if self._watcher_awaits_exit:
                self._watcher_awaits_exit = False
                self._watcher.unpark_all()
        if event["type"] == "websocket.receive":
            return await self._admit(event)
        if event["type"] == "websocket.disconnect":
            self._depart(event)
        return None

    async def _admit(self, event: Event) -> Data | None:
        # An empty frame is data: never choose between text and bytes with `or`.
        message: Data | None = event.get("text")
        if message is None:
            message = event.get("bytes", b"")
            assert message is not None, "the server sent a message with neither text nor bytes"
        if self.closed is not None:
            return None
        limit = self._limits.max_message_size
        # UTF-8 has at most four bytes a character (three, where Python counts one surrogate).
        if len(message) * 4 > limit and size_of(message) > limit:
            await self._refuse(MessageTooBig(f"a message is larger than {limit} bytes"))
            return None
        self.received += 1
        if self._limits.idle_timeout is not None:
            self.last_received = trio.current_time()
        return message

    async def _refuse(self, fault: PeerError) -> None:
        """Fail the connection (RFC 6455 §7.1.7); what came before is still delivered."""
        self.fault = fault
        self.closed = CloseInfo(fault.code, str(fault), by_peer=False)
        self._wake()
        self.on_peer_gone(self.closed)
        await self.close(fault.code, str(fault))

    def _depart(self, event: Event) -> None:
        self._departed = True
        was_open = self.closed is None
        if self.closed is None:
            code = event.get("code", NO_STATUS if event else ABNORMAL)
            reason = event.get("reason") or ""
            self.closed = CloseInfo(NO_STATUS if code is None else code, reason, by_peer=True)
        self._wake()
        if was_open:
            self.on_peer_gone(self.closed)

    def _wake(self) -> None:
        """Let everybody who waits look again."""
        self._arrivals.unpark_all()
        self._watcher.unpark_all()
        if self._outbox_filled is not None:
            self._outbox_filled.unpark_all()

    async def _check_in(self) -> None:
        self._turn += 1
        if self._turn & TURN_MASK:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()

    # The inbox

    async def _wait_for_arrival(self) -> None:
        self._waiting += 1
        try:
            await self._arrivals.park()
        finally:
            self._waiting -= 1

    def _take(self) -> Data:
        message, size = self._inbox.popleft()
        self._inbox_bytes -= size
        if self._is_full:
            self._is_full = False
            self._timer.clear(_STALL)
            self._watcher.unpark_all()
        return message

    def _keep(self, message: Data) -> None:
        if self._discard:
            return
        size = size_of(message)
        self._inbox.append((message, size))
        self._inbox_bytes += size
        self._arrivals.unpark_all()
        limits = self._limits
        if len(self._inbox) >= limits.inbox_messages or self._inbox_bytes >= limits.inbox_bytes:
            self._is_full = True
            self._timer.set(_STALL, trio.current_time() + limits.stall_timeout, self._stalled)

    def _stalled(self) -> None:
        self.on_overrun(TRY_AGAIN_LATER, f"inbox unread for {self._limits.stall_timeout:g} s")

    def _drop_inbox(self) -> None:
        self._inbox.clear()
        self._inbox_bytes = 0
        self._is_full = False
        self._timer.clear(_STALL)

    # The watcher

    async def watch(self) -> None:
        """Read whenever nobody else does, until the peer is gone."""
        while not self._departed:
            await self._wait_unattended()
            while self._should_read():
                await self._check_in()
                message = await self._read()
                if message is not None and self.closed is None:
                    self._keep(message)
                if self._waiting:
                    break

    def _is_eager(self) -> bool:
        return self.closed is not None or (self._discard and self._is_accepted)

    def _should_read(self) -> bool:
        if self._departed or self._inside:
            return False
        return self._is_eager() or (self._is_read_from and not self._is_full)

    async def _wait_unattended(self) -> None:
        while not self._departed:
            visits = self._visits
            if self._inside:
                self._watcher_awaits_exit = True
                await self._watcher.park()
            elif self._is_eager():
                return
            elif self._is_full or not self._is_read_from:
                await self._watcher.park()
            else:
                with trio.move_on_after(UNATTENDED):
                    await self._watcher.park()
                if self._visits == visits and self._should_read():
                    return

    async def finish(self) -> None:
        """Wait until the server says that the peer is gone, at most `close_timeout`."""
        with trio.move_on_after(self._limits.close_timeout):
            while not self._departed:
                await self._arrivals.park()

    # Writing

    async def send(self, message: Data) -> None:
        """Send a message; once the server has it, cancelling no longer reaches it."""
        await self._check_in()
        await self._deliver(_message_event(message))
        self.sent += 1

    async def _deliver(self, event: Event) -> None:
        """Hand an event to the server, after those of earlier calls."""
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()
        try:
            if self.closed is not None:
                raise ConnectionClosed(self.closed)
            await self._write(event)
        finally:
            self._lock.release()

    async def _write(self, event: Event) -> None:
        self._writing_since = trio.current_time()
        if not self._write_is_timed:
            self._time_write(self._writing_since)
        try:
            with trio.CancelScope(shield=True) as self._write_scope:
                await self._asgi_send(event)
                return
        except _PEER_IS_GONE:
            self._depart({})
        finally:
            self._writing_since = None
        assert self.closed is not None, "a write is only cut short by `abort` or a departure"
        raise ConnectionClosed(self.closed)

    def _time_write(self, since: float) -> None:
        self._write_is_timed = True
        self._timer.set(_WRITE, since + self._limits.send_timeout, self._check_write)

    def _check_write(self) -> None:
        # Armed at most once in `send_timeout`, not at every write: a write that
        # began since then has its own time still to come.
        self._write_is_timed = False
        since = self._writing_since
        if since is None:
            return
        if trio.current_time() < since + self._limits.send_timeout:
            self._time_write(since)
            return
        self.abort()
        self.on_overrun(ABNORMAL, f"peer has not read for {self._limits.send_timeout:g} s")

    # The outbox

    def send_nowait(self, prepared: Prepared) -> bool:
        """Queue a message for the writer task, which starts at the first one."""
        if self.closed is not None:
            raise ConnectionClosed(self.closed)
        if self._outbox_bytes + prepared.size > self._limits.outbox_bytes:
            return False
        self._outbox.append(prepared)
        self._outbox_bytes += prepared.size
        if self._outbox_filled is None:
            self._outbox_filled = trio.lowlevel.ParkingLot()
            self._nursery.start_soon(self._flush_for_ever)
        self._outbox_filled.unpark_all()
        return True

    async def _flush_for_ever(self) -> None:
        assert self._outbox_filled is not None
        while self.closed is None:
            async with self._lock:
                await self._flush()
            if self.closed is None and not self._outbox:
                await self._outbox_filled.park()

    async def _flush(self) -> None:
        while self._outbox and not self._departed:
            prepared = self._outbox.popleft()
            self._outbox_bytes -= prepared.size
            try:
                await self._write(_message_event(prepared.message))
            except ConnectionClosed:
                self._outbox.clear()
            else:
                self.sent += 1

    # The end

    async def close(self, code: int, reason: str) -> None:
        """Send what is queued, then a close frame."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.closed is None:
            self.closed = CloseInfo(code, reason, by_peer=False)
            self._drop_inbox()
        self._wake()
        patience = trio.current_time() + self._limits.close_timeout
        self._timer.set(_CLOSE, patience, self.abort)
        try:
            async with self._lock:
                await self._write_close(self.closed)
        finally:
            self._timer.clear(_CLOSE)

    async def _write_close(self, info: CloseInfo) -> None:
        if self._close_is_sent or self._departed:
            return
        self._close_is_sent = True
        await self._flush()
        try:
            await self._write({"type": "websocket.close", "code": info.code, "reason": info.reason})
        except ConnectionClosed:
            self._departed = True

    def abort(self) -> None:
        """Give the peer up. ASGI cannot cut a connection; returning to the server does."""
        if self.closed is None:
            self.closed = CloseInfo(ABNORMAL, "", by_peer=False)
        self._departed = True
        if self._write_scope is not None:
            self._write_scope.cancel(reason="connection aborted")
        self._wake()


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
        yield transport
        nursery.cancel_scope.cancel(reason="the transport is finished")


def denial(scope: Scope, status: int, headers: RawHeaders, body: bytes) -> list[Event]:
    """Return the events that refuse a handshake; without the extension, that is a mere 403."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        return [{"type": "websocket.close", "code": 1000, "reason": ""}]
    headers = [*headers, (b"content-length", b"%d" % len(body))]
    if scope.get("http_version") == "1.1":
        headers.append((b"connection", b"close"))
    return [
        {"type": "websocket.http.response.start", "status": status, "headers": headers},
        {"type": "websocket.http.response.body", "body": body, "more_body": False},
    ]


def _message_event(message: Data) -> Event:
    if isinstance(message, str):
        return {"type": "websocket.send", "text": message}
    return {"type": "websocket.send", "bytes": message}


def _ignore(*_: object) -> None:
    """Hear a callback before the connection has set its own."""
