"""What the reading and the writing side of one connection both know."""

from collections.abc import Callable

import trio

from triows._close import ABNORMAL, BY_PEER, NO_STATUS, CloseInfo
from triows._errors import ConnectionClosed, PeerError
from triows._logs import error_log
from triows._types import Event

PEER_IS_GONE = (
    OSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.BusyResourceError,
)
"""What servers raise out of `receive` and `send` when the peer has left."""

GONE: Event = {"type": "websocket.disconnect", "code": ABNORMAL}
"""What a server should have said that raised instead."""


def departure(exc: Exception) -> Event:
    """Return the event that a server owes us, which raised this out of its `receive` instead."""
    if not isinstance(exc, PEER_IS_GONE):
        error_log.warning("the server failed, and its connection is lost: %r", exc)
    return GONE


class ClientDisconnected(OSError):
    """Our server was sent something for a connection that has ended (ASGI, HTTP & WebSocket, 2.4).

    Its `receive` still has what came before the end, and then the disconnect.

    Args:
        info: How it ended.
    """

    def __init__(self, info: CloseInfo) -> None:
        super().__init__(f"the connection has ended: {info}")
        self.info = info


class Link:
    """The state of a connection over ASGI.

    Attributes:
        closed: How it ended; None while it is open.
        is_departed: The server has said so, or cannot any more: nothing can be read
            or written. After this side's own close it comes later than `closed`, and after
            an end that the writing side was the first to hear of.
        has_more: The end was heard of by writing, and what came before it is still to be read.
        fault: What the peer did wrong, if that is what ended it.
        owner: Whose connection it is: the `websocket` of its `ConnectionClosed`.
        on_delivery: Told of every message that is received after the end.
    """

    # Here and in the other objects that every message touches: slots save a few cache
    # misses each, which is most of what a message costs over bare ASGI.
    __slots__ = (
        "closed",
        "fault",
        "has_more",
        "is_departed",
        "on_change",
        "on_delivery",
        "on_overrun",
        "on_peer_gone",
        "owner",
    )

    def __init__(self) -> None:
        self.closed: CloseInfo | None = None
        self.is_departed = False
        self.has_more = False
        self.fault: PeerError | None = None
        self.owner: object = None
        self.on_peer_gone: Callable[[CloseInfo], None] = _ignore
        self.on_overrun: Callable[[int, str], None] = _ignore
        self.on_delivery: Callable[[], None] = _ignore
        self.on_change: Callable[[], None] = _ignore

    def ended(self) -> ConnectionClosed:
        """Return the exception for whoever wants to go on; to be called after the end."""
        assert self.closed is not None, "it is asked for when `closed` was seen"
        return ConnectionClosed(self.closed, self.owner)

    def depart(self, event: Event = GONE) -> None:
        """Hear that the peer is gone, by the server's event, or that the server ended it."""
        self.is_departed = True
        self.has_more = False
        code = event.get("code")
        self._end(
            CloseInfo(
                NO_STATUS if code is None else code,
                event.get("reason") or "",
                by_peer=event.get(BY_PEER, True),
            )
        )

    def hear_of(self, ending: CloseInfo) -> None:
        """Hear by writing that the connection has ended; the server's disconnect comes yet."""
        if self.closed is None:
            self.has_more = True
            self._end(ending)

    def fail(self, fault: PeerError) -> None:
        """End the connection for what the peer did (RFC 6455 §7.1.7); it must be told yet."""
        self.fault = fault
        self.has_more = False
        self._end(CloseInfo(fault.code, str(fault), by_peer=False))

    def _end(self, ending: CloseInfo) -> None:
        was_open = self.closed is None
        if was_open:
            self.closed = ending
        self.on_change()
        if was_open:
            self.on_peer_gone(ending)


def _ignore(*_: object) -> None:
    """Hear a callback before anybody has asked for it."""
