"""Pings: is the peer still there, and how far away is it (RFC 6455 §5.5.2)."""

import math
import struct
from typing import Protocol

import trio

from triows._close import INTERNAL_ERROR
from triows._limits import Limits
from triows._timer import Timer
from triows.server._frames import encode_ping
from triows.server._line import Line
from triows.server._outgoing import Outgoing
from triows.server._wire import CHUNK, Wire

_PING = "ping_interval"

_NUMBER = struct.Struct(">Q")

IN_FLIGHT = 64
"""Pings whose times are kept while they have no answer: a round trip may take as many intervals."""


class Peer(Protocol):
    """What is known of the other side.

    Attributes:
        heard: Counts what came from it, whatever it was, and when reading went on.
    """

    heard: int

    def may_read(self) -> bool:
        """Return whether it would be heard."""


class Keepalive:
    """Sends a ping every `ping_interval`, and ends the connection that shows no life.

    Any byte is life, not only the pong, and so is reading: a ping that has to queue is
    answered late. While nothing is read nothing can be heard, so the peer is not blamed then;
    `stall_timeout` is for those who do not read.

    Without life, the connection is over `ping_timeout` seconds after the first ping that
    stayed without an answer, however many have followed it.

    Attributes:
        latency: Seconds of the last round trip, also where that takes longer than the
            interval; None before the first.
    """

    __slots__ = (
        "_asked_at",
        "_delivered_before",
        "_heard_before",
        "_in_flight",
        "_interval",
        "_line",
        "_number",
        "_outgoing",
        "_peer",
        "_sent_at",
        "_timeout",
        "_timer",
        "_wire",
        "latency",
    )

    def __init__(
        self,
        peer: Peer,
        line: Line,
        wire: Wire,
        outgoing: Outgoing,
        *,
        timer: Timer,
        limits: Limits,
    ) -> None:
        self.latency: float | None = None
        self._peer = peer
        self._line = line
        self._timer = timer
        self._interval = limits.ping_interval
        self._timeout = limits.ping_timeout
        self._outgoing = outgoing
        self._wire = wire
        self._number = 0  # of the last ping
        self._in_flight: list[float] = []  # when the last pings were sent that have no answer
        self._sent_at = 0.0
        self._asked_at = math.inf  # when the first ping was sent that nothing came after
        self._heard_before = 0
        self._delivered_before: int | None = None  # bytes, while more had to wait

    def start(self) -> None:
        """Send the first ping in `ping_interval`."""
        self._sent_at = trio.current_time()
        self._look_again()

    def pong(self, payload: bytes) -> None:
        """Hear a pong; one that answers no ping of ours is no mistake (RFC 6455 §5.5.3)."""
        if len(payload) != _NUMBER.size:
            return
        (number,) = _NUMBER.unpack(payload)
        later = self._number - number
        if 0 <= later < len(self._in_flight):
            answered = len(self._in_flight) - later
            self.latency = trio.current_time() - self._in_flight[answered - 1]
            # With those before it, which may have no answer of their own (RFC 6455 §5.5.3).
            del self._in_flight[:answered]

    def _look(self) -> None:
        if self._line.closed is not None:
            return  # What bounds it now is `close_timeout`.
        now = trio.current_time()
        if self._shows_life() or not self._peer.may_read():
            self._asked_at = math.inf
        elif now >= self._asked_at + self._timeout:
            self._line.is_dead = True
            self._line.on_overrun(INTERNAL_ERROR, f"no pong for {self._timeout:g} s")
            return
        self._heard_before = self._peer.heard
        delivered = self._wire.delivered()
        # Less may just be on its way, to a kernel that takes it for a peer that is stuck.
        has_more = self._wire.is_blocked or self._wire.written - delivered > CHUNK
        self._delivered_before = delivered if has_more else None
        if now >= self._sent_at + self._interval:
            self._ping(now)
        self._look_again()

    def _shows_life(self) -> bool:
        """Return whether the peer did something since the last look."""
        # What has gone since then had to wait until the peer made room for it.
        # Less than before is no sign: over TLS, and on Unix sockets, our own pings make it so.
        before = self._delivered_before
        has_read = before is not None and self._wire.delivered() > before
        return has_read or self._peer.heard != self._heard_before

    def _ping(self, now: float) -> None:
        self._sent_at = now
        self._asked_at = min(self._asked_at, now)
        self._number += 1
        self._in_flight.append(now)
        del self._in_flight[:-IN_FLIGHT]
        self._outgoing.write(encode_ping(_NUMBER.pack(self._number)))

    def _look_again(self) -> None:
        at = min(self._sent_at + self._interval, self._asked_at + self._timeout)
        self._timer.set(_PING, at, self._look)
