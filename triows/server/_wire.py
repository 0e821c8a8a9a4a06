"""The socket side of a connection, and what it and the transport know of each other.

There are two: `PumpWire`, a socket in the pump's epoll, and `StreamWire`, a task over a Trio
stream, for TLS and for platforms without epoll. Nothing of either waits: what the kernel does
not take at once is kept, and `is_blocked` tells that there is such.
"""

import struct
from typing import Protocol

CHUNK = 64 * 1024
"""Bytes read at a time: every socket has its turn after that many."""

RESET = struct.pack("ii", 1, 0)
"""The value of SO_LINGER that makes a close drop what was not sent."""


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
        written: Bytes that it has taken, ever: the progress of a write.
    """

    user: WireUser
    is_blocked: bool
    unsent: int
    written: int

    def write(self, data: bytes) -> None:
        """Write, or keep for when it is possible; what comes after the end is dropped."""

    def set_reading(self, reading: bool) -> None:
        """Stop or go on reading. Stopped, the end of the peer may go unseen."""

    def end_writing(self) -> None:
        """Tell the peer that no more comes, once everything is written; go on reading."""

    def finish(self) -> None:
        """Close the socket once everything is written."""

    def abort(self) -> None:
        """Close the socket at once; what the peer has not got is lost."""
