"""Pings: is the peer still there, and how far away is it (RFC 6455 §5.5.2)."""

import struct
from collections.abc import Callable
from typing import Protocol

import trio

from triows._close import INTERNAL_ERROR
from triows._limits import Limits
from triows._timer import Timer
from triows.server._frames import encode_ping
from triows.server._line import Line

_PING = "ping_interval"

_NUMBER = struct.Struct(">Q")


class Peer(Protocol):
    """What is known of the other side.

    Attributes:
        heard: Counts what came from it, whatever it was.
    """

    heard: int

    def may_read(self) -> bool:
        """Return whether it would be heard."""


class Keepalive:
    """Sends a ping every `ping_interval`, and ends the connection that shows no life.

    Any byte is life, not only the pong. While nothing is read nothing can be heard, so the
    peer is not blamed then; `stall_timeout` is for those who do not read.

    Attributes:
        latency: Seconds of the last round trip; None before the first.
    """

    __slots__ = (
        "_heard_before",
        "_interval",
        "_line",
        "_number",
        "_peer",
        "_sent_at",
        "_timeout",
        "_timer",
        "_write",
        "latency",
    )

    def __init__(
        self,
        peer: Peer,
        line: Line,
        timer: Timer,
        limits: Limits,
        write: Callable[[bytes], None],
    ) -> None:
        self.latency: float | None = None
        self._peer = peer
        self._line = line
        self._timer = timer
        self._interval = limits.ping_interval
        self._timeout = limits.ping_timeout
        self._write = write
        self._number = 0
        self._sent_at = 0.0
        self._heard_before = 0

    def start(self) -> None:
        """Send the first ping in `ping_interval`."""
        self._timer.set(_PING, trio.current_time() + self._interval, self._ping)

    def stop(self) -> None:
        """Send no more."""
        self._timer.clear(_PING)

    def _ping(self) -> None:
        self._sent_at = trio.current_time()
        self._heard_before = self._peer.heard
        self._number += 1
        self._write(encode_ping(_NUMBER.pack(self._number)))
        self._timer.set(_PING, self._sent_at + self._timeout, self._check)

    def pong(self, payload: bytes) -> None:
        """Hear a pong; one that answers no ping of ours is no mistake (RFC 6455 §5.5.3)."""
        if payload == _NUMBER.pack(self._number) and self._number:
            self.latency = trio.current_time() - self._sent_at

    def _check(self) -> None:
        if self._peer.heard == self._heard_before and self._peer.may_read():
            self._line.is_dead = True
            self._line.on_overrun(INTERNAL_ERROR, f"no pong for {self._timeout:g} s")
            return
        now = trio.current_time()
        self._timer.set(_PING, max(now, self._sent_at + self._interval), self._ping)
