"""A connection as ASGI has it: for apps that are not ours, and behind middleware.

What hypercorn loses, this side tells: the close code and reason that the peer sent.
"""

import logging

import trio

from triows._asgi import ClientDisconnected
from triows._close import (
    ABNORMAL,
    BY_PEER,
    INTERNAL_ERROR,
    NORMAL,
    CloseInfo,
    check_code,
    cut_reason,
)
from triows._errors import ConnectionClosed, StateError
from triows._headers import RawHeaders
from triows._limits import Limits
from triows._logs import client_of, error_log
from triows._transport import as_message
from triows._types import Address, Event
from triows.server._transport import ServerTransport

_RESPONSE = "websocket.http.response"


class Channel:
    """`receive` and `send` of one connection.

    Args:
        transport: Of the connection.
        limits: Of apps that bring none of their own.
        client: For the log.
    """

    # Apps of ours take the transport at once, and an idle connection keeps this all the same.
    __slots__ = (
        "_body",
        "_client",
        "_is_connected",
        "_is_told",
        "_limits",
        "_response",
        "_status",
        "_transport",
    )

    def __init__(self, transport: ServerTransport, limits: Limits, client: Address | None) -> None:
        self._transport = transport
        self._limits = limits
        self._client = client
        self._is_connected = False
        self._is_told = False  # of the connect; also an app that has sent something first
        self._response: Event | None = None  # a refusal that has begun
        self._body = b""
        self._status: int | None = None  # of a refusal that was sent

    @property
    def is_used(self) -> bool:
        """The app has spoken ASGI, or nothing, and has not taken the transport."""
        return self._is_connected

    @property
    def status(self) -> int:
        """The HTTP status that the handshake was answered with; 499 if the peer had left."""
        if self._transport.is_accepted:
            return 101
        if self._status is not None:
            return self._status
        closed = self._transport.closed
        return 503 if closed is not None and not closed.by_peer else 499

    # What the app calls

    async def receive(self) -> Event:
        """Return the next event; after a disconnect, that again.

        Raises:
            StateError: The app has taken the transport, which has its own `receive`.
        """
        self._connect()
        if not self._is_told:
            await trio.lowlevel.checkpoint()
            self._is_told = True
            return {"type": "websocket.connect"}
        try:
            message = await self._transport.receive()
        except ConnectionClosed as exc:
            return {
                "type": "websocket.disconnect",
                "code": exc.info.code,
                "reason": exc.info.reason,
                BY_PEER: exc.info.by_peer,
            }
        if isinstance(message, str):
            return {"type": "websocket.receive", "bytes": None, "text": message}
        return {"type": "websocket.receive", "bytes": message, "text": None}

    async def send(self, event: Event) -> None:
        """Do what an event asks for.

        Raises:
            ClientDisconnected: The connection has ended.
            StateError: The event is not one for now.
            TypeError, ValueError: Something in it cannot be sent.
        """
        self._connect()
        try:
            await self._send(event)
        except ConnectionClosed as exc:
            raise ClientDisconnected(exc.info) from None

    async def _send(self, event: Event) -> None:
        kind = event["type"]
        transport = self._transport
        if kind == "websocket.close":
            await self._close(event)
        elif transport.is_accepted and kind == "websocket.send":
            # An empty frame is data: never choose between text and bytes with `or`.
            text = event.get("text")
            await transport.send(as_message(event.get("bytes") if text is None else text))
        elif not transport.is_accepted and kind == "websocket.accept":
            await transport.accept(event.get("subprotocol"), _headers_of(event))
            self._response = None
        elif not transport.is_accepted and kind == f"{_RESPONSE}.start":
            await trio.lowlevel.checkpoint()
            self._response = event
        elif self._response is not None and kind == f"{_RESPONSE}.body":
            await self._answer(self._response, event)
        else:
            when = "accepted" if transport.is_accepted else "not accepted"
            raise StateError(f"cannot send {kind!r}: the handshake was {when} before")

    async def _close(self, event: Event) -> None:
        if self._transport.closed is not None:
            await trio.lowlevel.checkpoint()
        elif self._transport.is_accepted:
            code = event.get("code")
            reason = cut_reason(event.get("reason") or "")
            await self._transport.close(check_code(NORMAL if code is None else code), reason)
        else:
            await self._reject(403, [], b"")

    async def _answer(self, start: Event, event: Event) -> None:
        self._body += event.get("body", b"")
        if event.get("more_body", False):
            await trio.lowlevel.checkpoint()
            return
        await self._reject(start["status"], _headers_of(start), self._body)

    async def _reject(self, status: int, headers: RawHeaders, body: bytes) -> None:
        await self._transport.reject(status, headers, body)
        self._status = status

    # What the transport tells

    def _connect(self) -> None:
        if self._is_connected:
            return
        if not self._transport.claim(self._limits, discard=False):
            raise StateError("the app has taken the transport: no events come or go any more")
        self._is_connected = True
        self._transport.observe(None, self._peer_gone, self._overrun, _ignore)

    def _peer_gone(self, _: CloseInfo) -> None:
        # The next `receive` finds out by itself; a fault is for the log.
        if self._transport.fault is not None:
            self._log(logging.WARNING, f"was sent what it must not: {self._transport.fault}")

    def _overrun(self, code: int, reason: str) -> None:
        # A peer that is gone is nobody's fault.
        self._log(logging.INFO if code == INTERNAL_ERROR else logging.WARNING, f"ends: {reason}")
        if code == ABNORMAL:
            self._transport.abort()
        else:
            self._transport.dismiss(code, reason)

    def _log(self, level: int, message: str) -> None:
        client = client_of({"client": self._client})
        error_log.log(level, "a connection %s (peer %s)", message, client)

    # The end

    def is_departure(self, failure: Exception) -> bool:
        """Return whether it only says that this connection has ended."""
        return isinstance(failure, ClientDisconnected) and self._transport.closed is not None

    async def end(self, *, has_failed: bool) -> None:
        """End what the app has left open, and wait until the socket is closed."""
        transport = self._transport
        # An app that did nothing at all has not taken the transport either.
        self._is_connected = self._is_connected or transport.claim(self._limits, discard=False)
        if transport.closed is None:
            if transport.is_accepted:
                await transport.close(INTERNAL_ERROR if has_failed else NORMAL, "")
            else:
                if not has_failed:
                    self._log(logging.ERROR, "is refused: the app returned without an answer")
                await self._reject(500, [], b"Internal Server Error")
        await transport.finish()


def _headers_of(event: Event) -> RawHeaders:
    return [(bytes(name).lower(), bytes(value)) for name, value in event.get("headers") or ()]


def _ignore() -> None:
    """Hear of a message that was received after the end."""
