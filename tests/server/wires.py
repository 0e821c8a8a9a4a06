"""A wire into memory, what a client says over it, and what a connection is told."""

from collections.abc import Callable, Generator, Iterator
from functools import partial

import trio
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader

from triows._close import CloseInfo
from triows.server._inbox import Source
from triows.server._line import Line
from triows.server._wire import CHUNK, WireUser

UNLIMITED = 1 << 40


class MemoryWire:
    """A `Wire` that behaves as a socket in the pump does; its peer is the test.

    Args:
        room: Bytes that the kernel takes before the peer has read any.
        is_lazy: What is written is kept until the tasks that run now have run.

    Attributes:
        user: Who takes what comes.
        is_reading: As the user has set it.
        is_shut: No more is written, and the peer was told.
        is_closed: The socket is closed.
        is_reset: And the peer sees a reset.
        undelivered: Bytes that the kernel still has for the peer; if it has some, what is
            written is behind them.
    """

    user: WireUser

    def __init__(self, room: int = UNLIMITED, *, is_lazy: bool = False) -> None:
        self.is_blocked = False
        self.unsent = 0
        self.written = 0
        self._seen = bytearray()
        self.is_reading = True
        self.is_shut = False
        self.is_closed = False
        self.is_reset = False
        self.undelivered = 0
        self._room = room
        self._is_lazy = is_lazy
        self._kept = bytearray()
        self._then: str | None = None
        self._is_broken = False
        self._refuses = False
        self._incoming = bytearray()
        self._has_ended = False

    @property
    def seen(self) -> bytes:
        """What the kernel has taken, which is what the peer gets to read."""
        return bytes(self._seen)

    # What the peer does

    def say(self, *data: bytes) -> None:
        """Send bytes."""
        self._incoming += b"".join(data)
        self._deliver()

    def leave(self) -> None:
        """Send no more."""
        self._has_ended = True
        self._deliver()

    def reset(self) -> None:
        """Close the socket with unread data: what was on its way in either direction is lost."""
        self._incoming.clear()
        self._close()

    def refuse_bytes(self) -> None:
        """Be gone, so that the next write finds it out."""
        self._refuses = True

    def read(self, count: int = UNLIMITED) -> None:
        """Read so many bytes, and make as much room."""
        self._room += count
        self.flush()

    def stall(self) -> None:
        """Read no more, and leave no room."""
        self._room = 0

    def forget(self) -> None:
        """Look only at what is written from now on."""
        self._seen.clear()

    def _deliver(self) -> None:
        if not self.is_reading or self.is_closed:
            return
        if self._incoming:
            data = bytes(self._incoming[:CHUNK])
            del self._incoming[:CHUNK]
            self.user.take(data)
            self._deliver_soon()
        elif self._has_ended:
            self.set_reading(False)
            self.user.take(b"")

    def _deliver_soon(self) -> None:
        if self.is_reading and (self._incoming or self._has_ended):
            soon(self._deliver)

    # The wire

    def set_reading(self, reading: bool) -> None:
        """Stop or go on reading; what is there comes soon, not at once."""
        self.is_reading = reading
        if self._is_broken and not reading:
            self._close()
        self._deliver_soon()

    def write(self, data: bytes) -> None:
        """Write, or keep it."""
        if self._then is not None or self._is_broken:
            return
        is_first = not self._kept
        self._kept += data
        self.unsent = len(self._kept)
        if not self._is_lazy:
            if is_first:
                self.flush()
        elif not self.is_blocked:
            soon(self.flush)

    def flush(self) -> None:
        """Hand what was kept to the kernel, as far as it takes it."""
        if not self._kept:
            return
        if self._refuses:
            self._break()
            return
        taken = self._kept[: self._room]
        del self._kept[: self._room]
        self._room -= len(taken)
        self._seen += taken
        self.written += len(taken)
        self.undelivered += len(taken) if self.undelivered else 0
        self.unsent = len(self._kept)
        if self._kept:
            if not self.is_blocked:
                self.is_blocked = True
                self.user.blocked()
            return
        self._unblock()
        self._end_if_written()

    def delivered(self) -> int:
        """Return how many bytes the peer's kernel has."""
        return self.written - self.undelivered

    def _break(self) -> None:
        self._is_broken = True
        self._kept.clear()
        self.unsent = 0
        self._unblock()
        if not self.is_reading:
            self._close()
        self._end_if_written()

    def _unblock(self) -> None:
        if self.is_blocked:
            self.is_blocked = False
            self.user.unblocked()

    def end_writing(self) -> None:
        """Tell the peer that no more comes, once everything is written."""
        self._end("shutdown")

    def finish(self) -> None:
        """Close the socket once everything is written."""
        self._end("close")

    def _end(self, then: str) -> None:
        if not self.is_blocked:
            self.flush()
        self._then = then
        self._end_if_written()

    def _end_if_written(self) -> None:
        if self._kept or self._then is None or self.is_closed:
            return
        if self._then == "close" or self._is_broken:
            self._close()
        else:
            self.is_shut = True

    def abort(self) -> None:
        """Close the socket at once; the peer sees a reset."""
        self.is_reset = self.is_reset or not self.is_closed
        self._close()

    def _close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._is_broken = True
        self._kept.clear()
        self.unsent = 0
        self.is_blocked = False
        self.user.lost()


def soon(fn: Callable[[], None]) -> None:
    """Call a function when the tasks that run now have run."""
    trio.lowlevel.current_trio_token().run_sync_soon(fn, idempotent=True)


# Frames


def client_frame(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    """Return a frame as a client sends it."""
    return Frame(opcode, payload, fin=fin).serialize(mask=True)


def said(*messages: str | bytes) -> bytes:
    """Return messages as a client sends them."""
    return b"".join(
        client_frame(Opcode.TEXT, message.encode())
        if isinstance(message, str)
        else client_frame(Opcode.BINARY, message)
        for message in messages
    )


def ping(payload: bytes = b"") -> bytes:
    """Return a client's ping."""
    return client_frame(Opcode.PING, payload)


def pong(payload: bytes) -> bytes:
    """Return a client's pong."""
    return client_frame(Opcode.PONG, payload)


def closing(code: int | None = 1000, reason: str = "") -> bytes:
    """Return a client's close frame; without a code it is empty."""
    return client_frame(Opcode.CLOSE, b"" if code is None else Close(code, reason).serialize())


def frames_in(data: bytes) -> list[tuple[Opcode, bytes]]:
    """Return the whole frames that a server has sent."""
    return list(_parse(data))


def _parse(data: bytes) -> Iterator[tuple[Opcode, bytes]]:
    reader = StreamReader()
    reader.feed_data(data)
    while True:
        parsing: Generator[None, None, Frame] = Frame.parse(
            partial(StreamReader.read_exact, reader), mask=False, max_size=None
        )
        try:
            next(parsing)
        except StopIteration as done:
            yield done.value.opcode, bytes(done.value.data)
        else:
            return


def text(message: str) -> tuple[Opcode, bytes]:
    """Return what `frames_in` shows of a text message."""
    return Opcode.TEXT, message.encode()


def close(code: int | None = 1000, reason: str = "") -> tuple[Opcode, bytes]:
    """Return what `frames_in` shows of a close frame."""
    return Opcode.CLOSE, b"" if code is None else code.to_bytes(2) + reason.encode()


# What is told


class Record:
    """What a connection is told, and when."""

    def __init__(self, line: Line | None = None) -> None:
        self.gone: list[tuple[float, CloseInfo]] = []
        self.overruns: list[tuple[float, int, str]] = []
        self.delivered = 0
        if line is not None:
            line.owner = self
            line.on_peer_gone = self.note_gone
            line.on_overrun = self.note_overrun
            line.on_delivery = self.note_delivery

    def note_gone(self, info: CloseInfo) -> None:
        """Be `on_peer_gone`."""
        self.gone.append((trio.current_time(), info))

    def note_overrun(self, code: int, reason: str) -> None:
        """Be `on_overrun`."""
        self.overruns.append((trio.current_time(), code, reason))

    def note_delivery(self) -> None:
        """Be `on_delivery`."""
        self.delivered += 1


class Quiet(Source):
    """A source that has nothing more, and counts what it is asked for."""

    def __init__(self) -> None:
        self.is_resting = False
        self.asked = 0
        self.chosen = 0

    def read_on(self) -> None:
        """Hear that there is room."""
        self.asked += 1

    def choose_reading(self) -> None:
        """Hear that nobody wants a message."""
        self.chosen += 1
