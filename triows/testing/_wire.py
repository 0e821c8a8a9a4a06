"""What stands between a test and an app: the server's part of one connection, in memory.

It does what hypercorn's trio worker does, its surprises included: after the disconnect
`receive` waits for ever, and `send` returns at once without a word or a checkpoint. A fake
that were kinder would hide the bugs it is there to find. It is kinder in one thing: a `send`
that the peer holds up can be cancelled.
"""

from collections import deque
from typing import Literal, TypeAlias

import trio

from triows._close import INTERNAL_ERROR, NORMAL, CloseInfo
from triows._errors import ConnectionClosed, HandshakeRejected, StateError
from triows._headers import RawHeaders
from triows._types import Data, Event

QUEUE = 1000
"""Messages that may be under way in each direction before the sender waits."""

Phase: TypeAlias = Literal["handshake", "rejecting", "open", "closed"]


class Wire:
    """One connection, seen from both ends. Every change wakes everybody who waits."""

    def __init__(self) -> None:
        self.phase: Phase = "handshake"
        self.is_stalled: bool = False
        self.rejection: HandshakeRejected | None = None
        self.subprotocol: str | None = None
        self.accept_headers: RawHeaders = []
        self.closed: CloseInfo | None = None
        self.to_peer: deque[Data] = deque()
        self._to_app: deque[Event] = deque([{"type": "websocket.connect"}])
        self._response: Event = {}
        self._body = b""
        self._changes = trio.lowlevel.ParkingLot()

    async def wait_change(self) -> None:
        """Wait until something is different."""
        await self._changes.park()

    def _changed(self) -> None:
        self._changes.unpark_all()

    # The app's end

    async def receive(self) -> Event:
        """Be the app's `receive`."""
        await trio.lowlevel.checkpoint()
        while not self._to_app:
            await self.wait_change()
        event = self._to_app.popleft()
        self._changed()
        return event

    async def send(self, event: Event) -> None:
        """Be the app's `send`."""
        if self.closed is not None:
            return
        kind = event["type"].removeprefix("websocket.")
        if self.phase == "handshake" and kind in ("accept", "close", "http.response.start"):
            self._answer(kind, event)
        elif self.phase == "rejecting" and kind == "http.response.body":
            self._extend_rejection(event)
        elif self.phase == "open" and kind in ("send", "close"):
            await self._wait_writable()
            self._write(kind, event)
        else:
            raise StateError(f"the app sent {event['type']!r} while the connection is {self.phase}")
        self._changed()

    async def _wait_writable(self) -> None:
        # hypercorn shields every write. Here one that is held up can be cancelled: there is no
        # socket that a guard could close under it, and a test would wait for ever.
        await trio.lowlevel.cancel_shielded_checkpoint()
        while self.closed is None and (self.is_stalled or len(self.to_peer) >= QUEUE):
            await self.wait_change()

    def _answer(self, kind: str, event: Event) -> None:
        if kind == "accept":
            self.phase = "open"
            self.subprotocol = event.get("subprotocol")
            self.accept_headers = list(event.get("headers") or ())
        elif kind == "close":
            self._reject(403, [], b"")
        else:
            self.phase = "rejecting"
            self._response = event

    def _extend_rejection(self, event: Event) -> None:
        self._body += event.get("body", b"")
        if not event.get("more_body", False):
            raw = list(self._response.get("headers") or ())
            self._reject(self._response["status"], raw, self._body)

    def _reject(self, status: int, raw: RawHeaders, body: bytes) -> None:
        self.phase = "closed"
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw]
        self.rejection = HandshakeRejected(status, headers, body)

    def _write(self, kind: str, event: Event) -> None:
        if self.closed is not None:
            return
        if kind == "close":
            self._close_by_app(event.get("code", NORMAL), event.get("reason") or "")
            return
        message: Data | None = event.get("text")
        if message is None:
            message = event.get("bytes")
        elif event.get("bytes") is not None:
            message = None
        else:
            str.encode(event["text"])  # raises for a lone surrogate, which has no UTF-8
        if message is None:
            raise StateError(f"the app sent a message that is not either text or bytes: {event!r}")
        self.to_peer.append(message)

    def _close_by_app(self, code: int, reason: str) -> None:
        """Close, and let the peer answer at once, as clients do by themselves."""
        self.closed = CloseInfo(code, reason, by_peer=True, clean=True)
        self._disconnect(NORMAL, "")

    def finish(self) -> None:
        """Hear that the app has returned; what it left undone is done as servers do it."""
        if self.phase in ("handshake", "rejecting"):
            self._reject(500, [], b"")
        elif self.phase == "open":
            self._close_by_app(INTERNAL_ERROR, "")
        self._changed()

    # The peer's end

    async def put(self, message: Data) -> None:
        """Send a message to the app; raises `ConnectionClosed` if it was too late for it."""
        while self.closed is None and len(self._to_app) >= QUEUE:
            await self.wait_change()
        if self.closed is not None:
            raise ConnectionClosed(self.closed)
        is_text = isinstance(message, str)
        self._to_app.append(
            {
                "type": "websocket.receive",
                "text": message if is_text else None,
                "bytes": None if is_text else message,
            }
        )
        self._changed()

    def take(self) -> Data:
        """Take a message that the app has sent; there must be one."""
        message = self.to_peer.popleft()
        self._changed()
        return message

    def stall(self, *, stalled: bool) -> None:
        """Stop reading what the app sends, or go on."""
        self.is_stalled = stalled
        self._changed()

    def leave(self, info: CloseInfo) -> None:
        """Let the peer go, with a close frame or without."""
        if self.closed is None:
            self.closed = info
            self._disconnect(info.code, info.reason)
            self._changed()

    def _disconnect(self, code: int, reason: str) -> None:
        self.phase = "closed"
        self._to_app.append({"type": "websocket.disconnect", "code": code, "reason": reason})
