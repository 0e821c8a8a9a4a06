"""What a connection needs of the wire, and nothing else.

The inbox and the outbox belong to the transport; `WebSocket` adds state and limits, but no
queue and no task. Everything a transport decides on its own it tells by two callbacks, and
the connection decides what becomes of the handler.
"""

from collections.abc import Callable
from typing import Protocol

from triows._close import CloseInfo
from triows._errors import PeerError
from triows._headers import RawHeaders
from triows._outbox import Lane, Prepared
from triows._timer import Timer
from triows._types import Data

TURN_MASK = 31
"""Every 32nd call is a full checkpoint; a power of two, so that counting costs one `&`."""


def as_message(value: object) -> Data:
    """Return the value as a message: a str, or bytes of whatever is like bytes.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(value, str | bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise TypeError(
        f"cannot send a {type(value).__name__}: send takes str or bytes; "
        "for other values there are send_json and JSONPipe"
    )


class SendNowait(Protocol):
    """What sends or queues a message; see `Transport.send_nowait`."""

    def __call__(self, prepared: Prepared, lane: Lane | None = None) -> bool:
        """Send or queue a message."""


class Transport(Protocol):
    """One connection's wire.

    Messages arrive and leave whole and in order. `receive` and `send` check
    cancellation at every call and let the scheduler run at least every 32 calls.
    What the wire fails at is an end of the connection: nothing but `ConnectionClosed`
    and our caller's mistakes come out of any method.

    Attributes:
        timer: Keeps the deadlines of the connection.
    """

    timer: Timer

    @property
    def closed(self) -> CloseInfo | None:
        """How the connection ended; None while it is open."""

    @property
    def fault(self) -> PeerError | None:
        """What the peer did wrong, if that is what ended it."""

    @property
    def received(self) -> int:
        """Messages taken from the peer so far."""

    @property
    def sent(self) -> int:
        """Messages handed to the wire so far."""

    @property
    def last_received(self) -> float:
        """When the last message came, or the accept, on Trio's clock; now, if none is taken."""

    @property
    def latency(self) -> float | None:
        """Seconds of the last round trip of a ping; None where there was none."""

    def observe(
        self,
        owner: object,
        on_peer_gone: Callable[[CloseInfo], None],
        on_overrun: Callable[[int, str], None],
        on_delivery: Callable[[], None],
    ) -> None:
        """Set whose connection it is, and who is told what is found out; no callback waits.

        Args:
            owner: The `websocket` of every `ConnectionClosed` raised from now on.
            on_peer_gone: Called once, from any task, when the connection ended and
                this side had not asked for it.
            on_overrun: Called with a close code and a reason when a bound was
                reached, 1006 where nothing more can be sent. The connection ends.
            on_delivery: Called for each message that is received after the end.
        """

    async def accept(self, subprotocol: str | None, headers: RawHeaders) -> None:
        """Answer the handshake with 101. Once begun it is not cancelled."""

    async def reject(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Answer the handshake with an HTTP response. Once begun it is not cancelled."""

    async def receive(self) -> Data:
        """Return the next message; cancelling loses none.

        Raises:
            ConnectionClosed: After the last message that arrived before the end,
                and at once after this side's own close.
            trio.BusyResourceError: Another task is receiving.
        """

    async def send(self, message: Data) -> None:
        """Send a message, after those of earlier calls; cancelled, it went out whole or not at all.

        Raises:
            ConnectionClosed: The connection has ended.
        """

    def send_nowait(self, prepared: Prepared, lane: Lane | None = None) -> bool:
        """Send a message now, or queue it for a peer that reads slowly.

        One that belongs to a subscription is queued in its lane, whose policy says
        what happens when there is no room.

        Returns:
            Whether it goes out, as things stand. False: there was no room for it.

        Raises:
            ConnectionClosed: The connection has ended.
        """

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame; the first code wins. Gives up after `close_timeout`.

        Called again after it was cancelled, it sends what the first call did not.
        """

    async def finish(self) -> None:
        """Wait for the peer's answer to the close frame, at most `close_timeout`."""

    def abort(self) -> None:
        """End the connection without a close frame; who waits in a call must be cancelled."""

    def set_reading(self, reading: bool) -> None:
        """Stop or go on taking messages that no `receive` waits for."""
