"""The transport of a connection of our own server: frames in, frames out.

A connection begins with limits of the server's; an app of ours claims it, and brings its own.
Until the handshake is accepted nothing is parsed, and no more than one read is kept. What
does not fit into the inbox stays raw, at most one read, and the wire reads no more until
there is room.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import trio

from triows._close import GOING_AWAY, TRY_AGAIN_LATER, CloseInfo
from triows._errors import PeerError
from triows._headers import RawHeaders
from triows._limits import Limits
from triows._timer import Timer
from triows._transport import SendNowait
from triows._types import Data
from triows.server._bounds import within
from triows.server._closing import Closing
from triows.server._frames import CloseFrame, Decoder, Pause, Ping, Pong, encode_pong
from triows.server._handshake import http_response
from triows.server._inbox import Inbox
from triows.server._keepalive import Keepalive
from triows.server._line import Line
from triows.server._opening import Opening
from triows.server._outgoing import Outgoing
from triows.server._wire import Wire

_STALL = "stall_timeout"
_REST = "rest"

_SHARE = 1024 * 1024
"""What is taken of one read before everybody else has a turn, in bytes that reach no inbox.

A thousandth of what a client sends may be a compressed megabyte, or a ping.
"""

_EVENT = 8 * 1024
"""What an event that reaches no inbox counts as, beside its bytes: it takes as long to handle."""


class ServerTransport:
    """The `NativeTransport` of our server, and the user of a wire.

    Attributes:
        heard: Counts the reads that brought something.
        timer: Keeps the deadlines of the connection.
        is_accepted: The handshake was answered with 101.
        is_resting: It goes on with what was read after others had a turn.
    """

    __slots__ = (
        "_closing",
        "_decoder",
        "_discards",
        "_early",
        "_inbox",
        "_is_claimed",
        "_is_lost",
        "_is_timed",
        "_keepalive",
        "_last_received",
        "_limits",
        "_line",
        "_opening",
        "_outgoing",
        "_pong",
        "_received",
        "_wire",
        "heard",
        "is_accepted",
        "is_resting",
        "timer",
    )

    def __init__(self, wire: Wire, opening: Opening, timer: Timer, limits: Limits) -> None:
        self.timer = timer
        self.heard = 0
        self.is_accepted = False
        self._wire = wire
        self._opening: Opening | None = opening
        self._limits = limits
        self._line = Line()
        self._inbox = Inbox(self, self._line, limits)
        self._outgoing = Outgoing(wire, self._line, timer, limits)
        self._closing = Closing(
            self._line, wire, self._inbox, self._outgoing, timer=timer, limits=limits, source=self
        )
        self._keepalive: Keepalive | None = None
        self._decoder: Decoder | None = None  # from the accept on
        self._early = b""  # what came before the handshake was accepted
        self._pong: bytes | None = None  # to be sent when the peer reads again
        self._received = 0
        self._last_received = 0.0
        self._is_timed = False
        self._is_claimed = False
        self.is_resting = False
        self._is_lost = False
        self._discards = False

    def claim(self, limits: Limits, *, discard: bool) -> bool:
        """Take the transport with the limits of a route; False if it is in use already."""
        if self._is_claimed:
            return False
        self._is_claimed = True
        self._limits = limits = within(limits, self._limits)
        self._discards = discard
        self._inbox.set_limits(limits)
        self._outgoing.set_limits(limits)
        self._closing.set_limits(limits)
        return True

    # What is known

    @property
    def closed(self) -> CloseInfo | None:
        """How it ended; None while it is open."""
        return self._line.closed

    @property
    def fault(self) -> PeerError | None:
        """What the peer did wrong, if that is what ended it."""
        return self._line.fault

    @property
    def received(self) -> int:
        """Messages from the peer so far, discarded ones included."""
        return self._received

    @property
    def sent(self) -> int:
        """Messages handed to the wire so far."""
        return self._outgoing.sent

    @property
    def last_received(self) -> float:
        """When the last message came, or the accept; now, while none can come."""
        is_heard = self.is_resting or self.may_read()
        return self._last_received if is_heard else trio.current_time()

    @property
    def latency(self) -> float | None:
        """Seconds of the last round trip of a ping; None before the first."""
        return None if self._keepalive is None else self._keepalive.latency

    def observe(
        self,
        owner: object,
        on_peer_gone: Callable[[CloseInfo], None],
        on_overrun: Callable[[int, str], None],
        on_delivery: Callable[[], None],
    ) -> None:
        """Set whose connection it is, and who is told what is found out."""
        self._line.owner = owner
        self._line.on_peer_gone = on_peer_gone
        self._line.on_overrun = on_overrun
        self._line.on_delivery = on_delivery

    # The handshake

    async def accept(self, subprotocol: str | None, headers: RawHeaders) -> None:
        """Answer the handshake with 101."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._line.check_open()
        assert self._opening is not None, "a handshake that is open is answered once"
        response, deflate = self._opening.accept(subprotocol, headers)
        self._opening = None
        self.is_accepted = True
        limits = self._limits
        self._decoder = Decoder(limits.max_message_size, deflate)
        if deflate is not None:
            self._outgoing.encode = deflate.encode_message
        self._is_timed = limits.idle_timeout is not None
        self._last_received = trio.current_time()
        self._outgoing.write(response)
        self._keepalive = Keepalive(
            self, self._line, self._wire, self._outgoing, timer=self.timer, limits=limits
        )
        self._keepalive.start()
        if self._early:
            early, self._early = self._early, b""
            self._decoder.feed(early)
            self._parse()
        self.choose_reading()

    async def reject(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Answer the handshake with an HTTP response."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._line.check_open()
        self._refuse(status, headers, body)

    def _refuse(self, status: int, headers: RawHeaders, body: bytes) -> None:
        ours = [] if self._opening is None else self._opening.headers.raw
        self._closing.refuse(status, http_response(status, ours + headers, body))

    # Messages

    @property
    def receive(self) -> Callable[[], Coroutine[Any, Any, Data]]:
        """Return the next message; see `Inbox.receive`."""
        return self._inbox.receive

    @property
    def send(self) -> Callable[[Data], Coroutine[Any, Any, None]]:
        """Send a message; see `Outgoing.send`."""
        return self._outgoing.send

    @property
    def send_nowait(self) -> SendNowait:
        """Send or queue a message, if there is room; see `Outgoing.send_nowait`."""
        return self._outgoing.send_nowait

    def set_reading(self, reading: bool) -> None:
        """Stop or go on taking messages that no `receive` waits for."""
        self._inbox.is_held = not reading
        self._go_on()

    # What the wire tells

    def take(self, data: bytes) -> None:
        """Take bytes from the peer; b"" is the end of them."""
        self.heard += 1
        if not data:
            # Behind what nobody has room for it is met again.
            if self.may_read():
                self._closing.end_of_stream()
        elif self._decoder is not None:
            if not self._line.is_deaf:
                self._decoder.feed(data)
                if not (self._inbox.is_full or self.is_resting):
                    self._parse()
        elif self._line.closed is None:
            # No decent client sends before it has its answer; no more than this is kept.
            self._early += data
            self.choose_reading()

    def _parse(self) -> None:
        decoder, inbox = self._decoder, self._inbox
        assert decoder is not None, "there is one from the accept to the end of understanding"
        share = _SHARE
        try:
            while (event := decoder.next_event()) is not None:
                if isinstance(event, str | bytes):
                    if not self._line.is_closed_here:
                        self._received += 1
                        if self._is_timed:
                            self._last_received = trio.current_time()
                        if not self._discards:
                            inbox.put(event)
                            if inbox.is_full or inbox.is_held:
                                self._fill()
                                return
                            continue
                    share -= len(event)
                elif isinstance(event, CloseFrame):
                    self._closing.hear_close(event)
                    return
                else:
                    share -= self._hear_control(event)
                share -= _EVENT
                if share <= 0:
                    self._rest()
                    return
        except PeerError as fault:
            self._closing.fail(fault)

    def _rest(self) -> None:
        """Go on with what is left of the read after the others had a turn."""
        self.is_resting = True
        self.timer.set(_REST, 0.0, self._end_rest)  # That has passed: in the next turn.
        self.choose_reading()

    def _end_rest(self) -> None:
        self.is_resting = False
        if self.may_read():
            self.read_on()
        if self._is_lost and not self.is_resting:
            self._closing.lost()

    def _hear_control(self, event: Ping | Pong | Pause) -> int:
        """Hear what is no message; return how much of the turn it costs beside the event."""
        if isinstance(event, Pause):
            return _SHARE
        if isinstance(event, Pong):
            assert self._keepalive is not None, "it begins before anything is parsed"
            self._keepalive.pong(event.payload)
        elif self._line.closed is None:
            # Of several pings the last may be answered alone (RFC 6455 §5.5.3).
            if self._wire.is_blocked:
                self._pong = encode_pong(event.payload)
            else:
                self._outgoing.write(encode_pong(event.payload))
        return 0

    def blocked(self) -> None:
        """Hear that the peer does not read as fast as it is written to."""
        self._outgoing.watch()

    def unblocked(self) -> None:
        """Hear that the peer reads again."""
        if self._pong is not None and self._line.closed is None:
            self._outgoing.write(self._pong)
        self._pong = None
        self._closing.unblocked()
        self._outgoing.wake()

    def lost(self) -> None:
        """Hear that the socket is closed; it is over behind the rest of what was read."""
        self._is_lost = True
        if not self.is_resting:
            self._closing.lost()

    # Room in the inbox

    def _fill(self) -> None:
        if self._inbox.is_full:
            self._watch_stall()
        self.choose_reading()

    def _watch_stall(self) -> None:
        deadline = trio.current_time() + self._limits.stall_timeout
        self.timer.set(_STALL, deadline, partial(self._look_at_stall, self._inbox.visits))

    def _look_at_stall(self, visits_before: int) -> None:
        if self._inbox.visits != visits_before:
            self._watch_stall()  # Slowly, but it is read.
        elif self._line.closed is None:
            reason = f"inbox unread for {self._limits.stall_timeout:g} s"
            self._line.on_overrun(TRY_AGAIN_LATER, reason)

    def read_on(self) -> None:
        """Go on with what was left of the last read; then with reading."""
        if self._inbox.is_full:
            self._inbox.is_full = False
            self._last_received = trio.current_time()  # for idle_timeout nobody was looking
            self.timer.clear(_STALL)
        self._go_on()

    def _go_on(self) -> None:
        self.heard += 1  # Nobody was listening: that is not the peer's fault.
        is_wanted = self.may_read() and not self._inbox.is_full
        if is_wanted and self._decoder is not None and not self._line.is_deaf:
            self._parse()
        self.choose_reading()

    def may_read(self) -> bool:
        """Return whether what the peer sends is taken now; after the end it always is."""
        if self.is_resting:
            return False
        if self._line.closed is not None:
            return True
        inbox = self._inbox
        return not (inbox.is_full or self._early or (inbox.is_held and not inbox.is_awaited))

    def choose_reading(self) -> None:
        """Read if there is room, and somebody wants it."""
        if not self._line.is_gone:
            self._wire.set_reading(self.may_read())

    # The end

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame behind everything that was sent; the first code wins."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._line.closed is None:
            self._closing.close(code, reason)

    def dismiss(self, code: int, reason: str) -> None:
        """Close on the server's behalf: the handler is told as of a peer that left."""
        if self._line.closed is not None:
            return
        if self.is_accepted:
            self._closing.close(code, reason)
        else:
            self._refuse(503, [], b"")
        self._closing.tell()

    def leave(self) -> None:
        """End the connection for want of anybody to serve it; the wire closes by itself."""
        self.dismiss(GOING_AWAY, "")
        self._closing.leave()
        # The garbage collector takes its time, and a message, whole or not, a megabyte; a fault
        # holds one by its traceback.
        self._line.is_deaf = True
        self._line.fault = None
        self._decoder = None
        self._early = b""
        self._inbox.clear()

    async def finish(self) -> None:
        """Wait until the socket is closed, at most `close_timeout` from the last step."""
        await self._closing.wait_gone()

    def abort(self) -> None:
        """End the connection without another word."""
        self._closing.abort()
