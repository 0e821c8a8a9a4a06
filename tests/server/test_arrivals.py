"""Sockets in the pump before they are connections: listeners, first bytes, last answers."""

import errno
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tests.server.socket_wires import User, stream_of, tcp_pair
from tests.server.wire_suite import settle
from tests.support import lines, tracebacks
from triows.server._arrivals import BACK_OFF, FIRST_BYTES, LINGER, Arrival, Farewell, PumpListener
from triows.server._pump import READABLE, Pump
from triows.server._pump_wire import PumpWire
from triows.server._wheel import TICK, Wheel

WARNING = 30


class Listening(socket.socket):
    """A listening socket; its first accepts fail with these errors."""

    def __init__(self, *failures: int) -> None:
        super().__init__()
        self.failures = list(failures)
        self.bind(("127.0.0.1", 0))
        self.listen(200)
        self.settimeout(0)

    def accept(self) -> tuple[socket.socket, Any]:
        """Fail, or accept."""
        if self.failures:
            raise OSError(self.failures.pop(0), "no luck")
        return super().accept()

    def connect_many(self, count: int) -> list[socket.socket]:
        """Return clients that are connected."""
        return [socket.create_connection(self.getsockname()) for _ in range(count)]


@asynccontextmanager
async def house() -> AsyncGenerator[tuple[Pump, Wheel]]:
    """Run a pump and a wheel around a block."""
    pump, wheel = Pump(), Wheel()
    try:
        async with trio.open_nursery() as nursery:
            for run in (pump.run, pump.run_flusher, wheel.run):
                nursery.start_soon(run)
            yield pump, wheel
            nursery.cancel_scope.cancel()
    finally:
        pump.close()


class TestListener:
    """It accepts, whatever happens."""

    @pytest.mark.parametrize("failures", [[], [errno.ECONNABORTED, errno.EPROTO]])
    async def test_a_crowd(self, failures: list[int]) -> None:
        """All that have come are admitted, in several turns; those that have left again are not."""
        admitted: list[socket.socket] = []
        listening = Listening(*failures)
        async with house() as (pump, wheel):
            clients = listening.connect_many(150)
            listener = PumpListener(pump, wheel, listening, lambda sock, _: admitted.append(sock))
            while len(admitted) < 150:
                await trio.lowlevel.checkpoint()
            listener.abort()  # is not given up for anything
            assert [listener] == pump.targets()
            assert all(sock.gettimeout() == 0 for sock in admitted)
            listener.close()
            assert [] == pump.targets()
        for sock in [*admitted, *clients]:
            sock.close()

    @pytest.mark.parametrize("failure", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EIO])
    async def test_out_of_something(
        self,
        loopback_clock: trio.testing.MockClock,
        caplog: pytest.LogCaptureFixture,
        failure: int,
    ) -> None:
        """It says so once, pauses, and goes on; also if nobody knows what it is."""
        admitted: list[socket.socket] = []
        listening = Listening(failure, failure)
        async with house() as (pump, wheel):
            clients = listening.connect_many(1)
            began = trio.current_time()
            listener = PumpListener(pump, wheel, listening, lambda sock, _: admitted.append(sock))
            while not admitted:
                await trio.sleep(TICK)
            assert trio.current_time() - began >= 2 * BACK_OFF
            listener.close()
        for sock in [*admitted, *clients]:
            sock.close()

        assert 1 == len(lines(caplog, WARNING))

    async def test_closed_while_it_pauses(self, loopback_clock: trio.testing.MockClock) -> None:
        """It does not come back."""
        listening = Listening(errno.EMFILE)
        async with house() as (pump, wheel):
            clients = listening.connect_many(1)
            listener = PumpListener(pump, wheel, listening, lambda *_: None)
            await settle()
            assert [] == pump.targets()
            listener.close()
            await trio.sleep(2 * BACK_OFF)
            assert [] == pump.targets()
        clients[0].close()

    async def test_a_client_that_cannot_be_admitted(self, caplog: pytest.LogCaptureFixture) -> None:
        """That is logged, and its socket closed; the next one comes in."""
        admitted: list[socket.socket] = []
        listening = Listening()

        def admit(sock: socket.socket, _: object) -> None:
            if not tracebacks(caplog):
                raise LookupError("no such thing")
            admitted.append(sock)

        async with house() as (pump, wheel):
            clients = listening.connect_many(2)
            listener = PumpListener(pump, wheel, listening, admit)
            while not admitted:
                await trio.lowlevel.checkpoint()
            listener.close()
        assert b"" == clients[0].recv(1)
        for sock in [*admitted, *clients]:
            sock.close()

        assert ["LookupError"] == tracebacks(caplog)


class TestArrival:
    """A socket whose request has not wholly come."""

    async def test_a_head_in_pieces(self, loopback_clock: trio.testing.MockClock) -> None:
        """It is handed on when the head is whole, with what came behind it."""
        heads: list[tuple[bytes, int]] = []
        async with house() as (pump, wheel):
            ours, theirs = tcp_pair()
            arrival = Arrival(
                pump,
                wheel,
                ours,
                ("192.0.2.1", 50000),
                max_head=100,
                on_head=lambda arrival, end: heads.append((arrival.data, end)),
            )
            arrival.ready(READABLE)  # a false alarm
            theirs.send(b"GET / HTTP/1.1\r")
            await settle()
            assert [] == heads
            theirs.send(b"\n\r\nrest")
            await settle()
            # What was handed on is no longer watched for silence.
            await trio.sleep(2 * FIRST_BYTES)
            assert ours.fileno() >= 0
            arrival.abort()
            theirs.close()

        assert [(b"GET / HTTP/1.1\r\n\r\nrest", 18)] == heads

    async def test_a_head_that_is_there(self) -> None:
        """It is read at once."""
        heads: list[bytes] = []
        async with house() as (pump, wheel):
            ours, theirs = tcp_pair()
            theirs.send(b"GET / HTTP/1.1\r\n\r\n")
            arrival = Arrival(
                pump,
                wheel,
                ours,
                None,
                max_head=100,
                on_head=lambda arrival, _: heads.append(arrival.data),
            )
            assert [b"GET / HTTP/1.1\r\n\r\n"] == heads
            assert 0 == len(wheel)
            arrival.abort()
            theirs.close()

    async def test_a_head_that_nobody_can_serve(self) -> None:
        """What goes wrong with a head that is there is the admission's; nothing is left of it."""

        def fail(*_: object) -> None:
            raise LookupError

        async with house() as (pump, wheel):
            ours, theirs = tcp_pair()
            theirs.send(b"GET / HTTP/1.1\r\n\r\n")
            with pytest.raises(LookupError):
                Arrival(pump, wheel, ours, None, max_head=100, on_head=fail)

            assert (-1, 0, 0) == (ours.fileno(), len(pump), len(wheel))
            assert b"" == theirs.recv(1)
            theirs.close()

    async def test_too_long_a_head(self) -> None:
        """It is handed on without an end, to be refused."""
        ends: list[int] = []
        async with house() as (pump, wheel):
            ours, theirs = tcp_pair()
            arrival = Arrival(
                pump, wheel, ours, None, max_head=100, on_head=lambda _, end: ends.append(end)
            )
            theirs.send(b"x" * 101)
            await settle()
            arrival.abort()
            theirs.close()

        assert [-1] == ends

    @pytest.mark.parametrize("way", ["silence", "end", "reset"])
    async def test_one_that_never_asks(
        self, loopback_clock: trio.testing.MockClock, way: str
    ) -> None:
        """It is closed: by its end, its reset, or after `FIRST_BYTES`; nothing is left of it."""
        async with house() as (pump, wheel):
            ours, theirs = tcp_pair()
            Arrival(pump, wheel, ours, None, max_head=100, on_head=lambda *_: None)
            assert 1 == len(wheel)
            theirs.send(b"GET ")
            await settle()
            if way == "silence":
                await trio.sleep(FIRST_BYTES + 2 * TICK)
            else:
                if way == "reset":
                    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0" + bytes(4))
                theirs.close()
                await settle()

            assert (-1, 0, 0) == (ours.fileno(), len(pump), len(wheel))
        theirs.close()


class TestFarewell:
    """The last answer on a socket."""

    @pytest.mark.parametrize("is_read", [True, False])
    async def test_it_lingers(self, loopback_clock: trio.testing.MockClock, is_read: bool) -> None:
        """What the client still sends is read, until it has gone, or `LINGER` is over."""
        async with house() as (pump, wheel):
            ours, theirs = tcp_pair()
            wire = PumpWire(pump, ours)
            wire.user = User()
            pump.register(ours.fileno(), wire)
            farewell = Farewell(wire, wheel, wheel.add(), b"no")
            farewell.blocked()
            farewell.unblocked()
            peer = stream_of(theirs)
            await peer.send_all(b"but")
            assert b"no" == await peer.receive_some()
            assert b"" == await peer.receive_some()
            await settle()
            assert ours.fileno() >= 0
            if is_read:
                await peer.aclose()
                await settle()
            else:
                await trio.sleep(LINGER + 2 * TICK)

            assert (-1, 0, 0) == (ours.fileno(), len(pump), len(wheel))
        theirs.close()
