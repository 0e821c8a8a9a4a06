"""A connection as ASGI has it: for apps that are not ours, and behind middleware.

What hypercorn loses, this side tells: the close code and reason that the peer sent.
"""

from typing import Any

import trio

from triows._close import ABNORMAL, INTERNAL_ERROR, NORMAL, check_code, cut_reason
from triows._errors import ConnectionClosed, StateError
from triows._limits import Limits
from triows._logs import error_log
from triows._types import Event
from triows.server._transport import ServerTransport

_RESPONSE = "websocket.http.response"


class ClientDisconnected(OSError):
    """The app has sent something to a peer that is gone (ASGI, HTTP & WebSocket, 2.4)."""


class Channel:
    """`receive` and `send` of one connection."""

    def __init__(self, transport: ServerTransport, limits: Limits) -> None:
        self._transport = transport
        self._limits = limits
        self._is_connected = False
        self._response: Event | None = None  # a refusal that has begun
        self._body = bytearray()

    @property
    def is_used(self) -> bool:
        """The app speaks ASGI, and has not taken the transport."""
        return self._is_connected

    # What the app calls

    async def receive(self) -> Event:
        """Return the next event; after a disconnect, that again."""
        if not self._is_connected:
            await trio.lowlevel.checkpoint()
            self._connect()
            return {"type": "websocket.connect"}
        try:
            message = await self._transport.receive()
        except ConnectionClosed as exc:
            return {
                "type": "websocket.disconnect",
                "code": exc.info.code,
                "reason": exc.info.reason,
            }
        if isinstance(message, str):
            return {"type": "websocket.receive", "bytes": None, "text": message}
        return {"type": "websocket.receive", "bytes": message, "text": None}

    async def send(self, event: Event) -> None:
        """Do what an event asks for.

        Raises:
            ClientDisconnected: The connection has ended.
            StateError: The event is not one for now.
            ValueError: Something in it cannot be sent.
        """
        self._connect()
        try:
            await self._send(event)
        except ConnectionClosed as exc:
            raise ClientDisconnected(str(exc)) from None

    async def _send(self, event: Event) -> None:
        kind = event["type"]
        transport = self._transport
        if kind == "websocket.send" and transport.is_accepted:
            # An empty frame is data: never choose between text and bytes with `or`.
            text = event.get("text")
            await transport.send(event["bytes"] if text is None else text)
        elif kind == "websocket.accept" and not transport.is_accepted:
            headers = [(bytes(k).lower(), bytes(v)) for k, v in event.get("headers") or ()]
            await transport.accept(event.get("subprotocol"), headers)
        elif kind == "websocket.close":
            await self._close(event)
        elif kind == f"{_RESPONSE}.start" and not transport.is_accepted:
            self._response = event
            await trio.lowlevel.checkpoint()
        elif kind == f"{_RESPONSE}.body" and self._response is not None:
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
            await self._transport.reject(403, [], b"")

    async def _answer(self, start: Event, event: Event) -> None:
        self._body += event.get("body", b"")
        if event.get("more_body", False):
            await trio.lowlevel.checkpoint()
            return
        headers = [(bytes(name).lower(), bytes(value)) for name, value in start.get("headers", ())]
        await self._transport.reject(start["status"], headers, bytes(self._body))

    def _connect(self) -> None:
        if not self._is_connected:
            self._is_connected = self._transport.claim(self._limits, discard=False)
            self._transport.observe(None, _ignore, self._overrun, _ignore)

    def _overrun(self, code: int, reason: str) -> None:
        error_log.warning("a connection is ended: %s", reason)
        if code == ABNORMAL:
            self._transport.abort()
        else:
            self._transport.dismiss(code, reason)

    # The end

    async def end(self, failure: Exception | None) -> None:
        """End what the app has left open, and wait until the socket is closed."""
        transport = self._transport
        if transport.closed is None:
            if transport.is_accepted:
                await transport.close(NORMAL if failure is None else INTERNAL_ERROR, "")
            else:
                if failure is None:
                    error_log.error("the app returned without an answer to a handshake")
                await transport.reject(500, [], b"Internal Server Error")
        await transport.finish()


def _ignore(*_: Any) -> None:
    """Hear what the next `receive` finds out by itself."""
