"""A socket in the pump: what every wire does, and what is its own."""

import socket

import trio

from tests.server.socket_wires import User, open_pump, tcp_pair
from tests.server.wire_suite import WireSuite, settle
from triows.server._pump import READABLE
from triows.server._pump_wire import PumpWire
from triows.server._wire import CHUNK


class TestSuite(WireSuite):
    """It is a wire."""

    kind = "pump"


class TestKernel:
    """What the kernel says is not always what was expected."""

    async def test_a_false_alarm(self) -> None:
        """An event on a socket that has nothing to read changes nothing, read or not."""
        async with open_pump() as pump:
            ours, theirs = tcp_pair()
            wire, user = PumpWire(pump, ours), User()
            wire.user = user
            pump.register(ours.fileno(), wire)
            wire.ready(READABLE)
            wire.set_reading(False)
            wire.ready(READABLE)
            assert [] == user.log
            wire.abort()
            theirs.close()

        assert ["lost"] == user.log

    async def test_a_full_buffer(self) -> None:
        """A first write that the kernel takes nothing of is kept, and so is one that waited."""
        async with open_pump() as pump:
            ours, theirs = tcp_pair()
            wire, user = PumpWire(pump, ours), User()
            wire.user = user
            pump.register(ours.fileno(), wire)
            wire.write(b"a")  # the first of this turn
            wire.write(b"b")  # is kept for its end
            filled = _fill(ours)
            await settle()
            assert (1, True) == (wire.unsent, wire.is_blocked)

            assert b"a" + bytes(filled) + b"b" == await _read(theirs, filled + 2)
            await user.until_told("unblocked")
            pump.turn += 1
            filled = _fill(ours)
            wire.write(b"c")
            assert (1, True) == (wire.unsent, wire.is_blocked)

            assert bytes(filled) + b"c" == await _read(theirs, filled + 1)
            wire.abort()
            theirs.close()

    async def test_much_at_once(self) -> None:
        """More than a read's worth does not wait for the end of the turn."""
        async with open_pump() as pump:
            ours, theirs = tcp_pair()
            wire, user = PumpWire(pump, ours), User()
            wire.user = user
            pump.register(ours.fileno(), wire)
            wire.write(b"a")
            wire.write(bytes(CHUNK + 1))
            assert wire.written > 1

            assert b"a" + bytes(CHUNK + 1) == await _read(theirs, CHUNK + 2)
            wire.write(b"b")
            wire.abort()  # before what was kept could leave
            await settle()
            theirs.close()

        assert "lost" in user.log


def _fill(sock: socket.socket) -> int:
    """Give a socket zeros until it takes no more; return how many."""
    filled = 0
    try:
        while True:
            filled += sock.send(bytes(65536))
    except BlockingIOError:
        return filled


async def _read(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        try:
            data += sock.recv(count - len(data))
        except BlockingIOError:
            await trio.lowlevel.checkpoint()
    return data
