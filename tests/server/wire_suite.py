"""What every wire does, whatever it is made of: the tests of its class inherit these."""

from contextlib import suppress

import pytest
import trio
import trio.testing

from tests.server.socket_wires import BUFFER, BULK, Kind, Peer, User, open_wire
from tests.support import tracebacks
from triows.server._wire import Wire


async def settle() -> None:
    """Wait until everything has happened that happens by itself."""
    await trio.testing.wait_all_tasks_blocked(0.001)


async def block(wire: Wire) -> None:
    """Write more than the kernel takes from us."""
    wire.write(BULK)
    await settle()
    assert wire.is_blocked


class WireSuite:
    """The behaviour of a `Wire`; subclasses say of which kind."""

    kind: Kind

    # Both directions

    async def test_takes_what_the_peer_sends(self) -> None:
        """Bytes from the peer come in order, small and big."""
        async with open_wire(self.kind) as (_, user, peer):
            await peer.send(b"hello, ")
            await user.until_taken(7)
            await peer.send(b"world")
            await user.until_taken(12)
            assert b"hello, world" == user.data
            await peer.send(BULK)
            await user.until_taken(12 + len(BULK))

            assert b"hello, world" + BULK == user.data
            assert ["data"] == user.log

    async def test_writes_to_the_peer(self) -> None:
        """Bytes for the peer leave in the order of the writes, many in a row too."""
        async with open_wire(self.kind) as (wire, _, peer):
            wire.write(b"hello, ")
            assert b"hello, " == await peer.receive(7)
            for i in range(1000):
                wire.write(b"%03d" % i)

            assert b"".join(b"%03d" % i for i in range(1000)) == await peer.receive(3000)
            await settle()
            assert 3007 == wire.written
            assert 0 == wire.unsent

    async def test_nothing_is_nothing(self) -> None:
        """An empty write is none, and does not end anything."""
        async with open_wire(self.kind) as (wire, _, peer):
            for data in b"a", b"", b"", b"b", b"":
                wire.write(data)
            assert b"ab" == await peer.receive(2)
            wire.finish()

            assert b"" == await peer.receive_rest()

    async def test_echo_in_both_directions(self) -> None:
        """Reading and writing do not wait for each other."""
        async with open_wire(self.kind) as (wire, user, peer), trio.open_nursery() as nursery:
            user.on_take = wire.write
            nursery.start_soon(peer.send, BULK)

            assert BULK == await peer.receive(len(BULK))

    # A peer that does not read

    async def test_blocked_and_unblocked(self) -> None:
        """Behind a peer that does not read a wire is blocked, until everything has gone out."""
        async with open_wire(self.kind) as (wire, user, peer):
            await block(wire)
            assert 0 < wire.unsent < len(BULK)
            assert len(BULK) == wire.written + wire.unsent
            wire.write(b"more")
            assert len(BULK) + 4 == wire.written + wire.unsent
            assert ["blocked"] == user.log

            assert BULK + b"more" == await peer.receive(len(BULK) + 4)
            await user.until_told("unblocked")
            assert not wire.is_blocked
            await settle()
            assert ["blocked", "unblocked"] == user.log
            assert (len(BULK) + 4, 0) == (wire.written, wire.unsent)

    async def test_blocked_again(self) -> None:
        """A wire is blocked and unblocked as often as it happens; what it says comes in pairs."""
        async with open_wire(self.kind) as (wire, user, peer):
            for _ in range(3):
                await block(wire)
                assert BULK == await peer.receive(len(BULK))
                await user.until(lambda: not wire.is_blocked)
            await settle()

            assert ["blocked", "unblocked"] * 3 == user.log

    async def test_progress_of_a_slow_peer(self) -> None:
        """A peer that reads a little is seen to make progress, though the wire stays blocked."""
        async with open_wire(self.kind) as (wire, user, peer):
            await block(wire)
            before = wire.written
            await peer.receive(len(BULK) // 2)
            await settle()

            assert wire.is_blocked
            assert before < wire.written < len(BULK)
            assert len(BULK) == wire.written + wire.unsent
            assert ["blocked"] == user.log

    async def test_what_the_peer_has(self) -> None:
        """What the kernel took is not yet delivered; it is while the peer reads, bit by bit."""
        async with open_wire(self.kind) as (wire, _, peer):
            wire.write(b"hello")
            await peer.receive(5)
            while wire.delivered() != 5:  # What tells is the acknowledgement, which may wait.
                await settle()
            await block(wire)
            before = wire.delivered()
            assert before < wire.written
            for _ in range(4):
                await peer.receive(BUFFER)
            await settle()
            assert before != wire.delivered()
        assert wire.written == wire.delivered()

    async def test_write_while_it_drains(self) -> None:
        """Small writes, while a big one is on its way, keep nobody from being unblocked."""
        async with open_wire(self.kind) as (wire, user, peer):
            await block(wire)
            received = b""
            written = BULK
            while "unblocked" not in user.log and len(received) < len(written):
                received += await peer.receive(16 * 1024)
                if wire.unsent:
                    wire.write(b"ping")
                    written += b"ping"
            await user.until_told("unblocked")

            assert not wire.is_blocked
            assert written == received + await peer.receive(len(written) - len(received))

    async def test_reads_while_blocked(self) -> None:
        """A peer that does not read is still heard."""
        async with open_wire(self.kind) as (wire, user, peer):
            await block(wire)
            await peer.send(b"stop")
            await user.until_taken(4)

            assert b"stop" == user.data
            assert wire.is_blocked

    async def test_write_when_unblocked(self) -> None:
        """Who is told that a wire is unblocked may write at once, and what follows is in order."""
        async with open_wire(self.kind) as (wire, user, peer):
            user.on_unblocked = lambda: wire.write(b"one, two")
            await block(wire)
            assert BULK == await peer.receive(len(BULK))
            await user.until_told("unblocked")
            wire.write(b", three")

            assert b"one, two, three" == await peer.receive(15)

    # A user that does not read

    async def test_pause(self) -> None:
        """While reading is stopped bytes wait, at most one read comes, and then they are taken."""
        async with open_wire(self.kind) as (wire, user, peer), trio.open_nursery() as nursery:
            wire.set_reading(False)
            nursery.start_soon(peer.send, BULK)
            await settle()
            taken = len(user.data)
            assert taken <= 64 * 1024
            await settle()
            assert taken == len(user.data)
            wire.set_reading(True)
            await user.until_taken(len(BULK))

            assert BULK == user.data

    async def test_pause_in_take(self) -> None:
        """A user may stop reading with every read."""
        async with open_wire(self.kind) as (wire, user, peer), trio.open_nursery() as nursery:
            user.on_take = lambda _: wire.set_reading(False)
            nursery.start_soon(peer.send, BULK)
            reads = 0
            while len(user.data) < len(BULK):
                before = len(user.data)
                wire.set_reading(True)
                await user.until_taken(before + 1)
                await settle()
                reads += 1
                assert len(user.data) - before <= 64 * 1024

            assert BULK == user.data
            assert reads >= len(BULK) // (64 * 1024)

    async def test_writes_while_paused(self) -> None:
        """Reading that is stopped does not stop writing."""
        async with open_wire(self.kind) as (wire, _, peer):
            wire.set_reading(False)
            await block(wire)

            assert BULK == await peer.receive(len(BULK))

    async def test_end_behind_a_pause(self) -> None:
        """The peer's end, if it was told to someone who did not want to read, is told again."""
        async with open_wire(self.kind) as (wire, user, peer):
            wire.set_reading(False)
            await peer.end_writing()
            await settle()
            for _ in range(3):
                user.log.clear()
                wire.set_reading(True)
                await user.until_told("end")
                await settle()
                assert ["end"] == user.log

    async def test_cut_off_behind_a_pause(self) -> None:
        """So is an end that is none by the rules of TLS."""
        async with open_wire(self.kind) as (wire, user, peer):
            wire.set_reading(False)
            peer.close()
            await settle()
            for _ in range(2):
                user.log.clear()
                wire.set_reading(True)
                await user.until_told("end")

    # The end by the peer

    async def test_the_peer_ends(self) -> None:
        """When the peer has said everything the user is told once, and the wire stays."""
        async with open_wire(self.kind) as (_, user, peer):
            await peer.send(b"bye")
            await peer.end_writing()
            await user.until_told("end")
            await settle()

            assert ["data", "end"] == user.log
            assert b"bye" == user.data

    async def test_resets_while_idle(self) -> None:
        """A peer that resets the connection is lost."""
        async with open_wire(self.kind) as (_, user, peer):
            peer.reset()
            await user.until_told("lost")

            assert "end" not in user.log

    async def test_resets_while_blocked(self) -> None:
        """Whoever waits to write is told that it is over; nothing more is kept."""
        async with open_wire(self.kind) as (wire, user, peer):
            await block(wire)
            peer.reset()
            await user.until_told("lost")

            assert (0, False) == (wire.unsent, wire.is_blocked)

    async def test_resets_while_blocked_and_paused(self) -> None:
        """A reset is found out by writing, too."""
        async with open_wire(self.kind) as (wire, user, peer):
            wire.set_reading(False)
            await block(wire)
            peer.reset()
            await user.until_told("lost")

    async def test_resets_while_paused(self) -> None:
        """A reset that nobody looks for is found out at the latest by the next write."""
        async with open_wire(self.kind) as (wire, user, peer):
            wire.set_reading(False)
            peer.reset()
            await settle()
            wire.write(b"hello?")
            await user.until_told("lost")

    async def test_pauses_after_a_write_failed(self) -> None:
        """Who stops reading a peer that cannot be written to is done with it."""
        async with open_wire(self.kind) as (wire, user, peer):
            await peer.send(b"bye")
            peer.reset()
            wire.write(b"hello?")
            user.on_take = lambda _: wire.set_reading(False)
            await user.until_told("lost")

    async def test_resets_after_end_writing(self) -> None:
        """A peer may be lost while its last words are waited for."""
        async with open_wire(self.kind) as (wire, user, peer):
            wire.end_writing()
            await settle()
            peer.reset()
            await user.until_told("lost")

    async def test_resets_before_end_writing(self) -> None:
        """A reset is met by whoever ends the connection in the same moment."""
        async with open_wire(self.kind) as (wire, user, peer):
            peer.reset()
            wire.write(b"bye")
            wire.end_writing()
            await user.until_told("lost")

    async def test_resets_while_it_finishes(self) -> None:
        """What a connection was to end with keeps no socket open."""
        async with open_wire(self.kind) as (wire, user, peer):
            await block(wire)
            wire.finish()
            peer.reset()
            await user.until_told("lost")

    async def test_resets_before_finish(self) -> None:
        """Finishing is closing, also where the peer was first."""
        async with open_wire(self.kind) as (wire, user, peer):
            peer.reset()
            wire.write(b"bye")
            wire.finish()
            await user.until_told("lost")

    async def test_last_words(self) -> None:
        """What a peer has said before it was gone is taken, though writing failed before."""
        async with open_wire(self.kind) as (wire, user, peer):
            wire.write(b"something that is not read")
            await settle()
            await peer.send(b"bye")
            peer.close()
            wire.write(b"first")
            wire.write(b"second")
            await user.until_told("lost")

            assert b"bye" == user.data

    async def test_reset_and_written_to_by_someone_told(self) -> None:
        """Writing on from `unblocked`, when that only means that it is over, does no harm."""
        async with open_wire(self.kind) as (wire, user, peer):
            user.on_unblocked = lambda: wire.write(BULK)
            await block(wire)
            peer.reset()
            await user.until_told("lost")

    async def test_finishes_when_told_that_it_is_over(self) -> None:
        """`unblocked` may also be the moment to finish."""
        async with open_wire(self.kind) as (wire, user, peer):
            user.on_unblocked = wire.finish
            await block(wire)
            peer.reset()
            await user.until_told("lost")

    # The end by us

    async def test_finish(self) -> None:
        """Finishing closes the socket behind what was written."""
        async with open_wire(self.kind) as (wire, user, peer):
            wire.write(b"b")
            wire.write(b"ye")
            wire.finish()

            assert b"bye" == await peer.receive(3)
            assert b"" == await peer.receive_rest()
            await user.until_told("lost")
            assert ["lost"] == user.log

    async def test_finish_behind_a_slow_peer(self) -> None:
        """Everything that was written before goes out, however long that takes."""
        async with open_wire(self.kind) as (wire, user, peer):
            await block(wire)
            wire.write(b"bye")
            wire.finish()
            await settle()
            assert ["blocked"] == user.log
            assert BULK + b"bye" == await peer.receive(len(BULK) + 3)
            await user.until_told("lost")

    async def test_write_after_the_end(self) -> None:
        """What is written after the end is dropped."""
        async with open_wire(self.kind) as (wire, user, peer):
            await block(wire)
            unsent = wire.unsent
            wire.finish()
            wire.write(b"too late")
            assert unsent == wire.unsent
            assert BULK == await peer.receive(len(BULK))
            await user.until_told("lost")
            wire.write(b"too late")

            assert 0 == wire.unsent
            assert len(BULK) == wire.written

    async def test_finish_wins(self) -> None:
        """Finishing may follow `end_writing`, and is not taken back by it."""
        async with open_wire(self.kind) as (wire, user, peer):
            await block(wire)
            wire.end_writing()
            wire.finish()
            wire.end_writing()
            assert BULK == await peer.receive(len(BULK))

            await user.until_told("lost")

    async def test_end_writing_then_read_on(self) -> None:
        """After `end_writing` nothing more is written, but the peer is heard."""
        async with open_wire(self.kind) as (wire, user, peer):
            wire.write(b"bye")
            wire.end_writing()
            wire.write(b"too late")
            assert b"bye" == await peer.receive(3)
            if self.kind != "tls":  # which has no such thing
                assert b"" == await peer.receive_rest()
            await peer.send(BULK)
            await user.until_taken(len(BULK))
            assert BULK == user.data
            wire.end_writing()
            await settle()
            assert "lost" not in user.log
            wire.finish()

            await user.until_told("lost")
            assert 3 == wire.written

    async def test_end_writing_behind_a_slow_peer(self) -> None:
        """The peer is told of the end behind everything that was written."""
        async with open_wire(self.kind) as (wire, user, peer):
            await block(wire)
            wire.end_writing()
            wire.write(b"too late")
            if self.kind == "tls":
                assert BULK == await peer.receive(len(BULK))
            else:
                assert BULK == await peer.receive_rest()
            await settle()
            assert ["blocked", "unblocked"] == user.log

    async def test_both_end(self) -> None:
        """What was written reaches a peer that had said everything before, to the last byte."""
        if self.kind == "tls":
            pytest.skip("the end of TLS is the end in both directions")
        async with open_wire(self.kind) as (wire, user, peer):
            await peer.end_writing()
            await user.until_told("end")
            await block(wire)
            wire.end_writing()
            received = b""
            while wire.is_blocked:
                received += await peer.receive(16 * 1024)
                await settle()

            assert BULK == received + await peer.receive_rest()

    async def test_abort(self) -> None:
        """An aborted connection is closed at once; what the peer has not got is lost."""
        async with open_wire(self.kind) as (wire, user, peer):
            await block(wire)
            wire.abort()
            await user.until_told("lost")
            with pytest.raises(trio.BrokenResourceError):
                await peer.receive_rest()

    async def test_abort_what_is_idle(self) -> None:
        """The peer sees a reset, though nothing was on its way."""
        async with open_wire(self.kind) as (wire, user, peer):
            wire.abort()
            await user.until_told("lost")
            with pytest.raises(trio.BrokenResourceError):
                await peer.receive_rest()

            assert ["lost"] == user.log

    async def test_abort_while_it_finishes(self) -> None:
        """Patience with a slow peer ends when it is aborted."""
        async with open_wire(self.kind) as (wire, user, _):
            await block(wire)
            wire.finish()
            wire.abort()

            await user.until_told("lost")

    async def test_everything_after_the_end(self) -> None:
        """A closed wire takes every call and does nothing."""
        async with open_wire(self.kind) as (wire, user, _):
            wire.finish()
            await user.until_told("lost")
            wire.write(b"x")
            wire.set_reading(False)
            wire.set_reading(True)
            wire.end_writing()
            wire.finish()
            wire.abort()
            await settle()

            assert ["lost"] == user.log
            assert (0, 0, False) == (wire.written, wire.unsent, wire.is_blocked)

    async def test_end_from_take(self) -> None:
        """A user may end the connection while it takes."""
        async with open_wire(self.kind) as (wire, user, peer):

            def farewell(_: bytes) -> None:
                wire.write(b"bye")
                wire.finish()

            user.on_take = farewell
            await peer.send(b"quit")
            assert b"bye" == await peer.receive_rest()
            await user.until_told("lost")

            assert ["data", "lost"] == user.log

    async def test_abort_from_take(self) -> None:
        """Or abort it."""
        async with open_wire(self.kind) as (wire, user, peer):
            user.on_take = lambda _: wire.abort()
            await peer.send(BULK[:1000])
            await user.until_told("lost")

            assert ["data", "lost"] == user.log

    # Bugs of the user

    async def test_take_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        """What a user raises is logged, and ends its own connection alone."""
        async with (
            open_wire(self.kind) as (other, _, other_peer),
            open_wire(self.kind) as (_, user, peer),
        ):
            user.on_take = _fail
            await peer.send(b"poison")
            await user.until_told("lost")
            assert ["LookupError"] == tracebacks(caplog)
            other.write(b"still here")

            assert b"still here" == await other_peer.receive(10)

    async def test_take_fails_at_the_end(self, caplog: pytest.LogCaptureFixture) -> None:
        """Also if it is the end that is taken."""
        async with open_wire(self.kind) as (_, user, peer):
            user.on_take = _fail
            await peer.end_writing()
            await user.until_told("lost")

            assert ["LookupError"] == tracebacks(caplog)

    async def test_unblocked_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        """Or if it fails when it is told that it may write."""
        async with open_wire(self.kind) as (wire, user, peer):
            user.on_unblocked = _fail
            await block(wire)
            with suppress(trio.BrokenResourceError):
                await peer.receive_rest()
            await user.until_told("lost")

            assert ["LookupError"] == tracebacks(caplog)


def _fail(*_: object) -> None:
    raise LookupError


__all__ = ["Peer", "User", "WireSuite", "block", "settle"]
