"""Pings: is the peer still there, and how far away is it (RFC 6455 §5.5.2)."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock
from websockets.frames import Opcode

from tests.server.wires import UNLIMITED, MemoryWire, Record, frames_in
from triows._close import CloseInfo
from triows._limits import Limits
from triows._timer import open_timer
from triows.server._keepalive import IN_FLIGHT, Keepalive
from triows.server._line import Line
from triows.server._outgoing import Outgoing
from triows.server._wire import CHUNK


class Ears:
    """What a transport hears of its peer."""

    def __init__(self) -> None:
        self.heard = 0
        self.is_listening = True

    def may_read(self) -> bool:
        """Return whether the peer would be heard."""
        return self.is_listening


class Side:
    """A keepalive with all that it needs, and what is seen and told of it."""

    def __init__(self, wire: MemoryWire, outgoing: Outgoing, line: Line) -> None:
        self.wire = wire
        self.outgoing = outgoing
        self.line = line
        self.ears = Ears()
        self.record = Record(line)
        wire.user = self
        self.keepalive: Keepalive

    @property
    def pings(self) -> list[bytes]:
        """The payloads of the pings that the peer got to read."""
        return [data for opcode, data in frames_in(self.wire.seen) if opcode is Opcode.PING]

    @property
    def deaths(self) -> list[float]:
        """When the peer was reported for showing no life."""
        assert bool(self.record.overruns) == self.line.is_dead
        assert all(code == 1011 for _, code, _ in self.record.overruns)
        return [when for when, *_ in self.record.overruns]

    def take(self, data: bytes) -> None:
        """Hear bytes of the peer."""
        self.ears.heard += 1

    def blocked(self) -> None:
        """Hear that the peer does not read as fast as it is written to."""
        self.outgoing.watch()

    def unblocked(self) -> None:
        """Hear that the peer reads again."""
        self.outgoing.wake()

    def lost(self) -> None:
        """Hear that the socket is closed."""


@asynccontextmanager
async def open_keepalive(
    interval: float = 20, timeout: float = 20, room: int = UNLIMITED
) -> AsyncGenerator[Side]:
    """Run a keepalive around a block."""
    limits = Limits(ping_interval=interval, ping_timeout=timeout, send_timeout=1e6)
    wire, line = MemoryWire(room), Line()
    async with open_timer() as timer:
        outgoing = Outgoing(wire, line, timer, limits)
        side = Side(wire, outgoing, line)
        side.keepalive = Keepalive(side.ears, line, wire, outgoing, timer=timer, limits=limits)
        side.keepalive.start()
        yield side


async def live(side: Side, *, until: float, pause: float = 1) -> None:
    """Be a peer that says something now and then, up to a time."""
    while trio.current_time() + pause <= until:
        await trio.sleep(pause)
        side.wire.say(b"anything")


class TestPings:
    """A ping goes out every `ping_interval`."""

    async def test_first(self, autojump_clock: MockClock) -> None:
        """The first one comes an interval after the accept."""
        async with open_keepalive(interval=20) as side:
            await trio.sleep(19)
            assert [] == side.pings
            await trio.sleep(2)
            assert 1 == len(side.pings)

    @pytest.mark.parametrize("timeout", [5, 20, 60])
    async def test_interval(self, autojump_clock: MockClock, timeout: float) -> None:
        """However long an answer may take, and no two are alike."""
        async with open_keepalive(interval=20, timeout=timeout) as side:
            await live(side, until=110)

            assert 5 == len(side.pings)
            assert 5 == len(set(side.pings))

    async def test_after_the_end(self, autojump_clock: MockClock) -> None:
        """Nothing is asked of a connection that has ended, and nobody blamed."""
        async with open_keepalive() as side:
            await trio.sleep(30)
            side.line.closed = CloseInfo(1000, "", by_peer=True, clean=True)
            await trio.sleep(100)

            assert 1 == len(side.pings)
            assert [] == side.deaths


class TestDeadPeer:
    """A peer that shows no life is reported."""

    @pytest.mark.parametrize(
        ("interval", "timeout", "when"), [(20, 20, 40), (20, 5, 25), (5, 20, 25), (7, 20, 27)]
    )
    async def test_no_life(
        self, autojump_clock: MockClock, interval: float, timeout: float, when: float
    ) -> None:
        """One that was never heard is gone after `ping_interval` + `ping_timeout`."""
        async with open_keepalive(interval, timeout) as side:
            await trio.sleep(1000)

            assert [when] == side.deaths
            assert f"no pong for {timeout} s" == side.record.overruns[0][2]

    @pytest.mark.parametrize("interval", [3, 5, 20, 47])
    @pytest.mark.parametrize("timeout", [3, 5, 20, 47])
    @pytest.mark.parametrize("last", [1, 21, 40, 41, 99])
    async def test_no_life_any_more(
        self, autojump_clock: MockClock, interval: float, timeout: float, last: float
    ) -> None:
        """One that was heard until then is gone so long after that, and not before."""
        async with open_keepalive(interval, timeout) as side:
            await live(side, until=last)
            await trio.sleep(1000)

            (when,) = side.deaths
            assert timeout <= when - last <= interval + timeout

    @pytest.mark.parametrize(("interval", "timeout"), [(20, 20), (20, 5), (5, 20)])
    async def test_any_life(
        self, autojump_clock: MockClock, interval: float, timeout: float
    ) -> None:
        """Any byte is life, also of one that answers no ping."""
        async with open_keepalive(interval, timeout) as side:
            await live(side, until=1000, pause=min(interval, timeout) / 2)

            assert [] == side.deaths

    async def test_nobody_listens(self, autojump_clock: MockClock) -> None:
        """While this side does not read, the peer may have said what it likes."""
        async with open_keepalive() as side:
            side.ears.is_listening = False
            await trio.sleep(1001)
            assert [] == side.deaths

            side.ears.is_listening = True
            side.ears.heard += 1  # as whoever listens again notes it
            await trio.sleep(1000)
            assert [1040] == side.deaths


class TestSlowPeer:
    """A ping that has to queue is answered late."""

    async def test_it_reads(self, autojump_clock: MockClock) -> None:
        """A peer that makes room for what was written is alive."""
        async with open_keepalive(room=0) as side:
            side.outgoing.write(b"x" * 1000)
            for _ in range(90):
                await trio.sleep(10)
                side.wire.read(10)

            assert [] == side.deaths

    async def test_it_reads_what_the_kernel_has(self, autojump_clock: MockClock) -> None:
        """A ping may queue there, too, where nothing waits in the process."""
        async with open_keepalive() as side:
            side.wire.undelivered = CHUNK + 1000
            await trio.sleep(5)
            for _ in range(90):
                await trio.sleep(10)
                side.wire.undelivered -= 10
            assert [] == side.deaths
            await trio.sleep(100)

            assert [940] == side.deaths

    async def test_what_is_on_its_way_is_no_life(self, autojump_clock: MockClock) -> None:
        """A kernel goes on to take a little, whatever its process does."""
        async with open_keepalive() as side:
            for _ in range(10):
                await trio.sleep(10)
                side.wire.undelivered = CHUNK - 1000
                await trio.sleep(1)
                side.wire.undelivered = 0

            assert [40] == side.deaths

    async def test_what_we_write_is_no_life(self, autojump_clock: MockClock) -> None:
        """Over TLS the kernel has more bytes of a ping for the peer than were written."""
        async with open_keepalive() as side:
            side.wire.undelivered = CHUNK + 1000
            for _ in range(20):
                await trio.sleep(7)
                side.wire.undelivered += 30

            assert [40] == side.deaths

    async def test_it_reads_no_more(self, autojump_clock: MockClock) -> None:
        """When it stops, it is gone as quickly as any other."""
        async with open_keepalive(room=0) as side:
            side.outgoing.write(b"x" * 1000)
            await trio.sleep(39)
            side.wire.read(10)
            await trio.sleep(100)

            assert [60] == side.deaths

    async def test_the_kernel_is_no_life(self, autojump_clock: MockClock) -> None:
        """What goes into the kernel's buffer says nothing of a peer that is gone."""
        async with open_keepalive() as side:
            for _ in range(50):
                await trio.sleep(1)
                side.outgoing.write(b"x")

            assert [40] == side.deaths


class TestLatency:
    """The round trip of the last ping."""

    async def test_pong(self, autojump_clock: MockClock) -> None:
        """It is the time between a ping and its pong, in seconds; None before the first."""
        async with open_keepalive() as side:
            await trio.sleep(20)
            assert side.keepalive.latency is None
            await trio.sleep(0.25)
            side.keepalive.pong(side.pings[-1])
            assert 0.25 == side.keepalive.latency

            side.wire.say(b"pong")
            await trio.sleep(20.25)
            assert 0.25 == side.keepalive.latency
            side.keepalive.pong(side.pings[-1])
            assert 0.5 == side.keepalive.latency

    async def test_round_trip_that_takes_long(self, autojump_clock: MockClock) -> None:
        """A pong answers its own ping, however many have followed that."""
        async with open_keepalive(interval=1) as side:
            await trio.sleep(3.5)
            for answered, latency in ((0, 2.5), (1, 1.5), (2, 0.5)):
                side.keepalive.pong(side.pings[answered])
                assert latency == side.keepalive.latency

    async def test_pong_for_several_pings(self, autojump_clock: MockClock) -> None:
        """Of several pings the last may be answered alone; then those before it are answered."""
        async with open_keepalive(interval=1) as side:
            await trio.sleep(3.5)
            side.keepalive.pong(side.pings[1])
            assert 1.5 == side.keepalive.latency
            side.keepalive.pong(side.pings[0])
            side.keepalive.pong(side.pings[1])
            assert 1.5 == side.keepalive.latency

    async def test_peer_that_answers_no_pings(self, autojump_clock: MockClock) -> None:
        """What is kept of its pings has a bound; the latest can still be answered."""
        async with open_keepalive(interval=1) as side:
            await live(side, until=IN_FLIGHT + 1.5, pause=0.5)
            side.keepalive.pong(side.pings[0])
            assert side.keepalive.latency is None
            side.keepalive.pong(side.pings[1])
            assert IN_FLIGHT - 0.5 == side.keepalive.latency
            side.keepalive.pong(side.pings[-1])
            assert 0.5 == side.keepalive.latency

    async def test_pongs_that_nobody_asked_for(self, autojump_clock: MockClock) -> None:
        """They are no mistake (RFC 6455 §5.5.3), and say nothing of the way."""
        async with open_keepalive() as side:
            strange = (b"", bytes(7), bytes(8), bytes(7) + b"\2", bytes(8) + b"\1", b"12345678")
            for payload in (*strange, bytes(7) + b"\1"):
                side.keepalive.pong(payload)
            await trio.sleep(20)
            for payload in strange:
                side.keepalive.pong(payload)

            assert side.keepalive.latency is None
