"""A socket in the pump."""

import select
import socket
from collections.abc import Sequence
from contextlib import suppress

from triows.server._pump import READABLE, WRITABLE, Pump
from triows.server._wire import CHUNK, RESET, WireUser, undelivered

FIRST_READ = 4096
"""Bytes of the reads of a socket that has not yet filled one: most messages are small."""

_HUNG_UP = getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)


class PumpWire:
    """The `Wire` of a non-blocking socket that a pump watches.

    Attributes:
        user: Who takes what comes; set before the first event.
    """

    __slots__ = (
        "_chunk",
        "_events",
        "_fd",
        "_is_broken",
        "_is_closed",
        "_is_reading",
        "_is_registered_to_flush",
        "_kept",
        "_pump",
        "_sock",
        "_then",
        "_written_in",
        "is_blocked",
        "since",
        "unsent",
        "user",
        "written",
    )

    user: WireUser
    since: int

    def __init__(self, pump: Pump, sock: socket.socket) -> None:
        self.is_blocked = False
        self.unsent = 0
        self.written = 0
        self._pump = pump
        self._sock = sock
        self._fd = sock.fileno()
        self._chunk = FIRST_READ
        self._events = READABLE
        self._is_reading = True
        self._is_broken = False
        self._is_closed = False
        self._is_registered_to_flush = False
        self._kept: Sequence[bytes | memoryview] = ()
        self._then: str | None = None  # "shutdown" or "close", once everything is written
        self._written_in = -1

    # Reading

    def ready(self, events: int) -> None:
        """Read, or write what was kept."""
        if events & WRITABLE:
            self.flush()
        if events == WRITABLE or self._is_closed:
            return
        if not self._is_reading:
            if events & _HUNG_UP:
                self._close()
            return
        try:
            data = self._sock.recv(self._chunk)
        except BlockingIOError:
            return
        except OSError:
            self._close()
            return
        if data:
            if len(data) == self._chunk:
                self._chunk = CHUNK
            self.user.take(data)
        else:
            self._end_of_stream()

    def _end_of_stream(self) -> None:
        self._is_reading = False  # It would be readable for ever.
        self._watch()
        self.user.take(b"")
        if self._is_broken:
            self._close()

    def set_reading(self, reading: bool) -> None:
        """Stop or go on reading."""
        self._is_reading = reading
        if self._is_broken and not reading:
            self._close()  # Only a read would find out why.
        self._watch()

    def _watch(self) -> None:
        events = READABLE * self._is_reading | WRITABLE * self.is_blocked
        if events != self._events and not self._is_closed:
            self._events = events
            self._pump.modify(self._fd, events)

    # Writing

    def write(self, data: bytes) -> None:
        """Write, or keep it behind what was written in this turn or is blocked."""
        turn = self._pump.turn
        if self._kept or self._written_in == turn or self._then is not None or self._is_broken:
            self._keep(data)
            return
        self._written_in = turn
        # As `flush`: no call between, on the way of every message.
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._break()
            return
        self.written += sent
        if sent < len(data):
            self._block(data, sent)

    def _keep(self, data: bytes) -> None:
        if self._then is not None or self._is_broken:
            return
        if not isinstance(self._kept, list):
            self._kept = []
        self._kept.append(data)
        self.unsent += len(data)
        if self.is_blocked:
            return
        if self.unsent > CHUNK:
            self.flush()
        elif not self._is_registered_to_flush:
            self._is_registered_to_flush = True
            self._pump.flush_soon(self)

    def flush(self) -> None:
        """Write what was kept, as far as the kernel takes it."""
        self._is_registered_to_flush = False
        if not self._kept or self._is_closed or self._is_broken:
            return
        data = self._kept[0] if len(self._kept) == 1 else b"".join(self._kept)
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._break()
            return
        self.written += sent
        if sent < len(data):
            self._block(data, sent)
        else:
            self._keep_nothing()
            self._end_if_written()

    def _block(self, data: bytes | memoryview, sent: int) -> None:
        self._kept = [memoryview(data)[sent:]]
        self.unsent = len(data) - sent
        if not self.is_blocked:
            self.is_blocked = True
            self._watch()
            self.user.blocked()

    def delivered(self) -> int:
        """Return how many bytes the peer's kernel has."""
        return self.written - undelivered(self._sock.fileno())

    def _keep_nothing(self) -> None:
        self._kept = ()
        self.unsent = 0
        if self.is_blocked:
            self.is_blocked = False
            self._watch()
            self.user.unblocked()

    def _break(self) -> None:
        # The peer is gone, but may have said why: that is still to be read.
        self._is_broken = True
        self._keep_nothing()
        if not self._is_reading:
            self._close()
        self._end_if_written()

    # The end

    def end_writing(self) -> None:
        """Shut the sending side down once everything is written."""
        if self._then is None:
            self._end("shutdown")

    def finish(self) -> None:
        """Close the socket once everything is written."""
        self._end("close")

    def _end(self, then: str) -> None:
        if self._kept and not self.is_blocked:
            self.flush()
        self._then = then
        self._end_if_written()

    def _end_if_written(self) -> None:
        if self._kept or self._then is None or self._is_closed:
            return
        if self._then == "close" or self._is_broken:
            self._close()
        else:
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Close the socket at once; the peer sees a reset."""
        if not self._is_closed:
            with suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._close()

    def _close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._is_broken = True
        self._kept = ()
        self.unsent = 0
        self.is_blocked = False
        self._pump.forget(self._fd)
        self._sock.close()
        self.user.lost()
