"""The socket side of a connection, and what it and the transport know of each other.

There are two: `PumpWire`, a socket in the pump's epoll, and `StreamWire`, a task over a Trio
stream, for TLS and for platforms without epoll. Nothing of either waits: what the kernel does
not take at once is kept, and `is_blocked` tells that there is such.
"""

import struct
from contextlib import suppress
from typing import Protocol

_QUEUED = 0  # the system's name for what `undelivered` asks, if it has one

with suppress(ImportError):
    from fcntl import ioctl
    from termios import TIOCOUTQ

    _QUEUED = TIOCOUTQ

CHUNK = 64 * 1024
"""Bytes read at a time: every socket has its turn after that many."""

RESET = struct.pack("ii", 1, 0)
"""The value of SO_LINGER that makes a close drop what was not sent."""

_INT = struct.Struct("i")


def undelivered(fd: int) -> int:
    """Return the bytes of a socket that the kernel still has for the peer's; 0 if it hides that."""
    if not _QUEUED:
        return 0
    try:
        answer = ioctl(fd, _QUEUED, bytes(_INT.size))
    except (OSError, ValueError):
        return 0  # It is closed.
    return int(_INT.unpack(answer)[0])


class WireUser(Protocol):
    """What a wire tells, from whichever task finds out. Nothing here waits or raises."""

    def take(self, data: bytes) -> None:
        """Take bytes from the peer; b"" says that it sends no more."""

    def blocked(self) -> None:
        """Hear that `is_blocked` has become true, in a write or long after it."""

    def unblocked(self) -> None:
        """Hear that everything is with the kernel, after `is_blocked` was true."""

    def lost(self) -> None:
        """Hear that the socket is closed, for whatever reason; once, and nothing follows."""


class Wire(Protocol):
    """Bytes in both directions, in order, and the end of them.

    Attributes:
        user: Who is told.
        is_blocked: The peer does not read as fast as we write.
        unsent: Bytes that the kernel has not taken.
        written: Bytes that it has taken, ever.
    """

    user: WireUser
    is_blocked: bool
    unsent: int
    written: int

    def write(self, data: bytes) -> None:
        """Write, or keep for when it is possible; what comes after the end is dropped."""

    def delivered(self) -> int:
        """Return how many of the bytes that the kernel took the peer's has, ever.

        That is the progress of a peer that reads: the kernel itself takes nothing more until
        it has room for a good part of its buffer again, which may be megabytes. Over TLS
        it is a number that changes with it.
        """

    def set_reading(self, reading: bool) -> None:
        """Stop or go on reading. Stopped, the end of the peer may go unseen."""

    def end_writing(self) -> None:
        """Tell the peer that no more comes, once everything is written; go on reading."""

    def finish(self) -> None:
        """Close the socket once everything is written."""

    def abort(self) -> None:
        """Close the socket at once; what the peer has not got is lost."""
