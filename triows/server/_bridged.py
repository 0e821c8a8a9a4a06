"""A WebSocket that hypercorn serves, as its app has it: so that a drain lets it go too.

hypercorn 0.18 ends its WebSockets by cancellation only. So a dismissed one is closed here, by
an event of ASGI as the app itself would send it, and the app is told that it has ended. Going
back to hypercorn before the peer's close frame has come would reset the connection under what
it was sent last, so the peer is given time for it.

An app that hypercorn's server cancels is no failure either: its peer is told 1001, not 1011.
"""

import math
from collections.abc import Generator
from contextlib import contextmanager

import trio

from triows._asgi import ClientDisconnected, denial
from triows._close import ABNORMAL, BY_PEER, GOING_AWAY, NORMAL, CloseInfo
from triows._groups import leaves_of
from triows._limits import Limits
from triows._logs import log_failure
from triows._types import ASGIApp, Event, Receive, Scope, Send
from triows.server._roster import Roster

CLOSE_TIMEOUT = Limits().close_timeout
"""Seconds for the peer's answer to the close frame."""

FAREWELL = 0.5
"""Seconds for the close frame of a connection that was cancelled: the server has one left then."""


class Bridged:
    """One connection; `run` calls its app.

    Args:
        scope: Of the connection.
        receive: hypercorn's.
        send: hypercorn's.
        roster: Has it while it runs.

    Attributes:
        closed: How it ended, as far as it was seen on the way; None while it is open.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, roster: Roster) -> None:
        self.closed: CloseInfo | None = None
        self._scope = scope
        self._receive = receive
        self._send = send
        self._roster = roster
        self._is_connected = False  # the app was told so
        self._is_accepted = False
        self._is_dismissed = False
        self._receivers: set[trio.CancelScope] = set()
        self._nursery: trio.Nursery

    async def run(self, app: ASGIApp) -> None:
        """Call the app; once it has ended, also wait until a dismissed peer has said goodbye.

        Raises:
            BaseException: What the app raised, but for `ClientDisconnected` alone.
        """
        failure: BaseException | None = None
        try:
            async with trio.open_nursery() as self._nursery:
                self._roster.add(self)
                try:
                    await app(self._scope, self._app_receive, self._app_send)
                except BaseException as exc:  # noqa: ASYNC103  # raised below
                    failure = exc
                if trio.current_effective_deadline() == -math.inf:
                    await self._say_farewell()
                self._end(NORMAL, "")
        finally:
            self._roster.remove(self)
            # Also when the goodbye was cancelled: the server is cancelled still, and asks again.
            if failure is not None and not self._is_departure(failure):
                raise failure

    def _is_departure(self, failure: BaseException) -> bool:
        parts = leaves_of(failure) if isinstance(failure, BaseExceptionGroup) else [failure]
        return all(isinstance(part, ClientDisconnected) for part in parts)

    def _end(self, code: int, reason: str, *, by_peer: bool = False) -> None:
        if self.closed is None:
            self.closed = CloseInfo(code, reason, by_peer=by_peer)

    # What the app calls

    async def _app_receive(self) -> Event:
        with trio.CancelScope() as scope:
            if not self._is_dismissed:
                self._receivers.add(scope)
                try:
                    event = await self._receive()
                finally:
                    self._receivers.discard(scope)
                self._is_connected = True
                if event["type"] == "websocket.disconnect":
                    self._end(event["code"], event.get("reason") or "", by_peer=True)
                return event
        await trio.lowlevel.checkpoint()
        if not self._is_connected:
            # Apps rely on it that this comes first.
            self._is_connected = True
            return {"type": "websocket.connect"}
        assert self.closed is not None, "it was dismissed"
        return {
            "type": "websocket.disconnect",
            "code": self.closed.code,
            "reason": self.closed.reason,
            BY_PEER: False,
        }

    async def _app_send(self, event: Event) -> None:
        kind = event["type"]
        if self._is_dismissed:
            await trio.lowlevel.checkpoint()
            if kind != "websocket.close":
                assert self.closed is not None, "it was dismissed"
                raise ClientDisconnected(self.closed)
            return
        if kind == "websocket.accept":
            self._is_accepted = True
        elif kind == "websocket.close":
            self._end(event.get("code") or NORMAL, event.get("reason") or "")
        elif kind == "websocket.http.response.start":
            self._refuse(event["status"])
        await self._send(event)

    def _refuse(self, status: int) -> None:
        self._end(ABNORMAL, f"answered with HTTP {status}")

    # The end

    def dismiss(self, code: int, reason: str) -> None:
        """Close on the server's behalf: the app is told as of a peer that left."""
        if self.closed is not None:
            return
        events: list[Event]
        if self._is_accepted:
            self._end(code, reason)
            events = [{"type": "websocket.close", "code": code, "reason": reason}]
        else:
            self._refuse(503)
            events = denial(self._scope, 503, [], b"")
        self._is_dismissed = True
        self._nursery.start_soon(self._say_goodbye, events)
        for scope in self._receivers:
            scope.cancel(reason=reason)

    async def _say_farewell(self) -> None:
        """Close in the name of a server that has cancelled the app, if that did not."""
        if self._is_accepted and self.closed is None:
            self._end(GOING_AWAY, "")
            with trio.move_on_after(FAREWELL, shield=True), _logged():
                await self._send({"type": "websocket.close", "code": GOING_AWAY, "reason": ""})

    async def _say_goodbye(self, events: list[Event]) -> None:
        with _logged():
            for event in events:
                await self._send(event)
            if self._is_accepted:
                with trio.move_on_after(CLOSE_TIMEOUT):
                    while (await self._receive())["type"] != "websocket.disconnect":
                        pass


@contextmanager
def _logged() -> Generator[None]:
    """Log what hypercorn fails with."""
    try:
        yield
    except Exception as exc:
        log_failure("hypercorn failed, at the end of a connection", failure=exc)
