"""Sockets in the pump before they are connections: listeners, first bytes, last answers."""

import errno
import socket
from collections.abc import Callable
from typing import Any

import trio

from triows._logs import error_log, log_failure
from triows.server._pump import READABLE, Pump
from triows.server._pump_wire import PumpWire
from triows.server._request_head import end_of_head
from triows.server._wheel import Wheel, WheelTimer
from triows.server._wire import CHUNK

BATCH = 64
"""Sockets accepted in a turn of the pump."""

FIRST_BYTES = 10.0
"""Seconds that a client has to send the head of its request."""

LINGER = 5.0
"""Seconds that a client has to read the answer that refuses it."""

BACK_OFF = 0.1
"""Seconds without accepting, after a failure that is nobody's but ours: for want of files, say."""

_THEIRS = frozenset(
    {
        *(errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EOPNOTSUPP, errno.ETIMEDOUT),
        *(errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH),
        *(errno.ECONNRESET, errno.ENOPROTOOPT),
    }
)
"""What accepting fails with for the client's sake, who is gone again (accept(2))."""

_EXCLUSIVE = 1 << 28
"""EPOLLEXCLUSIVE: of several processes that listen on one socket, not all are woken."""


class PumpListener:
    """A listening socket in the pump; a `Target`. It survives whatever accepting raises."""

    since: int

    def __init__(
        self,
        pump: Pump,
        wheel: Wheel,
        sock: socket.socket,
        admit: Callable[[socket.socket, Any], None],
    ) -> None:
        self._pump = pump
        self._timer = wheel.add()
        self._sock = sock
        self._admit = admit
        self._is_out_of = ""
        pump.register(sock.fileno(), self, READABLE | _EXCLUSIVE)

    def ready(self, _: int) -> None:
        """Accept what is there, but not for ever."""
        for _ in range(BATCH):
            try:
                sock, address = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno in _THEIRS:
                    continue
                self._back_off(exc)
                return
            self._is_out_of = ""
            try:
                sock.settimeout(0)
                self._admit(sock, address)
            except Exception as exc:
                log_failure("a client could not be admitted", failure=exc)
                sock.close()

    def _back_off(self, exc: OSError) -> None:
        if self._is_out_of != str(exc):
            self._is_out_of = str(exc)
            error_log.warning("cannot accept connections for now: %s", exc)
        fd = self._sock.fileno()
        self._pump.forget(fd)
        self._timer.set("back_off", trio.current_time() + BACK_OFF, self._go_on)

    def _go_on(self) -> None:
        if self._sock.fileno() >= 0:
            self._pump.register(self._sock.fileno(), self, READABLE | _EXCLUSIVE)

    def abort(self) -> None:
        """Go on: a listener is not given up for one socket."""

    def close(self) -> None:
        """Accept no more."""
        self._pump.forget(self._sock.fileno())
        self._sock.close()


class Arrival:
    """A socket whose request has not wholly come; a `Target`.

    Attributes:
        sock: The socket.
        data: What has come.
        timer: The connection's, with the deadline of its first bytes.
    """

    __slots__ = (
        "_max_head",
        "_on_head",
        "_pump",
        "_wheel",
        "address",
        "data",
        "since",
        "sock",
        "timer",
    )

    since: int

    def __init__(
        self,
        pump: Pump,
        wheel: Wheel,
        sock: socket.socket,
        address: Any,
        *,
        max_head: int,
        on_head: Callable[["Arrival", int], None],
    ) -> None:
        self.sock = sock
        self.address = address
        self.data = b""
        self.timer: WheelTimer = wheel.add()
        self._pump = pump
        self._wheel = wheel
        self._max_head = max_head
        self._on_head = on_head
        pump.register(sock.fileno(), self)
        # Most clients send the head with the connection: it is there, or comes in a moment.
        try:
            is_waiting = self._read()
        except Exception:
            pump.give_up(sock.fileno(), self)
            raise
        if is_waiting:
            self.timer.set("first_bytes", trio.current_time() + FIRST_BYTES, self.abort)

    def ready(self, _: int) -> None:
        """Read, and hand the socket on when the head is whole."""
        self._read()

    def _read(self) -> bool:
        """Read; return whether there is more to wait for."""
        try:
            data = self.sock.recv(CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            self.abort()
            return False
        seen = len(self.data)
        self.data += data
        end = end_of_head(self.data, seen)
        if end < 0 and len(self.data) <= self._max_head:
            return True
        self.timer.clear("first_bytes")
        self._on_head(self, end)
        return False

    def abort(self) -> None:
        """Close the socket."""
        self._wheel.discard(self.timer)
        self._pump.forget(self.sock.fileno())
        self.sock.close()


class Farewell:
    """The last answer on a socket, and the patience to let it be read; a `WireUser`."""

    def __init__(self, wire: PumpWire, wheel: Wheel, timer: WheelTimer, answer: bytes) -> None:
        self._wire = wire
        self._wheel = wheel
        self._timer = timer
        wire.user = self
        timer.set("linger", trio.current_time() + LINGER, wire.abort)
        wire.write(answer)
        wire.end_writing()

    def take(self, data: bytes) -> None:
        """Read on, or the answer is lost in a reset; b"" says that it was read."""
        if not data:
            self._wire.finish()

    def blocked(self) -> None:
        """It has its deadline already."""

    def unblocked(self) -> None:
        """Nothing is waiting for that."""

    def lost(self) -> None:
        """Hear that it is over."""
        self._wheel.discard(self._timer)
