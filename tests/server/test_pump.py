"""One task for the sockets of all connections."""

import socket
from collections.abc import Callable, Generator

import pytest
import trio
import trio.testing

from tests.server.socket_wires import open_pump
from tests.server.wire_suite import settle
from tests.support import tracebacks
from triows.server._pump import Pump


class Target:
    """A socket that notes its events; `then` is called with each."""

    def __init__(self, sock: socket.socket) -> None:
        self.since = -1
        self.sock = sock
        self.turns: list[str] = []
        self.then: Callable[[], None] = lambda: None

    def ready(self, _: int) -> None:
        """Take what is there."""
        self.turns.append("ready")
        self.sock.recv(100)
        self.then()

    def flush(self) -> None:
        """Note it."""
        self.turns.append("flush")
        self.then()

    def abort(self) -> None:
        """Note it."""
        self.turns.append("abort")


def fail() -> None:
    """Be a mistake."""
    raise LookupError("no such thing")


@pytest.fixture
def pairs() -> Generator[list[tuple[Target, socket.socket]]]:
    """Make targets, each with the other end of its socket."""
    made = []
    for _ in range(3):
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        made.append((Target(ours), theirs))
    yield made
    for target, other in made:
        target.sock.close()
        other.close()


def watch(pump: Pump, pairs: list[tuple[Target, socket.socket]]) -> list[Target]:
    """Register all targets, and let something be ready on each."""
    for target, theirs in pairs:
        pump.register(target.sock.fileno(), target)
        theirs.send(b"x")
    return [target for target, _ in pairs]


async def test_all_that_is_ready(pairs: list[tuple[Target, socket.socket]]) -> None:
    """Each ready socket has one turn, and none has one without being ready."""
    async with open_pump() as pump:
        targets = watch(pump, pairs)
        assert 3 == len(pump)
        await settle()
        assert [["ready"]] * 3 == [target.turns for target in targets]
        pump.forget(targets[0].sock.fileno())
        pump.forget(targets[0].sock.fileno())
        pairs[0][1].send(b"x")
        await settle()
        assert targets[1:] == pump.targets()

    assert [["ready"], ["ready", "abort"], ["ready", "abort"]] == [t.turns for t in targets]


async def test_one_that_fails(
    pairs: list[tuple[Target, socket.socket]], caplog: pytest.LogCaptureFixture
) -> None:
    """It is aborted, whatever comes of that, and the others have their turn."""
    async with open_pump() as pump:
        targets = watch(pump, pairs)
        targets[0].then = fail
        await settle()
        pump.forget(targets[0].sock.fileno())
        pump.flush_soon(targets[0])
        pump.flush_soon(targets[1])
        await settle()

    assert ["ready", "abort", "flush", "abort"] == targets[0].turns
    assert ["ready", "flush", "abort"] == targets[1].turns
    assert ["LookupError", "LookupError"] == tracebacks(caplog)


async def test_an_abort_that_fails(
    pairs: list[tuple[Target, socket.socket]], caplog: pytest.LogCaptureFixture
) -> None:
    """That is logged too, and ends nothing."""

    class Hopeless(Target):
        def abort(self) -> None:
            fail()

    async with open_pump() as pump:
        hopeless = Hopeless(pairs[0][0].sock)
        hopeless.then = fail
        pairs[0] = (hopeless, pairs[0][1])
        targets = watch(pump, pairs)
        await settle()
        pump.forget(hopeless.sock.fileno())

    assert ["ready", "abort"] == targets[1].turns
    assert ["LookupError", "LookupError"] == tracebacks(caplog)


async def test_a_number_that_was_given_again(pairs: list[tuple[Target, socket.socket]]) -> None:
    """A socket that got the number of one closed in this turn does not get its events."""
    async with open_pump() as pump:
        targets = watch(pump, pairs)
        late = Target(targets[0].sock)

        def replace_the_others() -> None:
            for other in targets:
                other.then = lambda: None
                pump.forget(other.sock.fileno())
            pump.register(late.sock.fileno(), late)

        for target in targets:
            target.then = replace_the_others
        await settle()
        total = sum(target.turns.count("ready") for target in targets)
        pump.forget(late.sock.fileno())

    assert 1 == total


async def test_a_socket_handed_over(pairs: list[tuple[Target, socket.socket]]) -> None:
    """The events of a socket go to whoever it was handed to last, and can be chosen."""
    async with open_pump() as pump:
        first, theirs = pairs[0]
        fd = first.sock.fileno()
        pump.register(fd, first, 0)
        theirs.send(b"x")
        await settle()
        assert [] == first.turns
        second = Target(first.sock)
        pump.hand_over(fd, second)
        pump.modify(fd, 1)
        await settle()
        pump.forget(fd)

    assert ([], ["ready"]) == (first.turns, second.turns)


async def test_what_is_kept_leaves_after_this_turn(
    pairs: list[tuple[Target, socket.socket]],
) -> None:
    """It is flushed when the tasks that run now have run, in order; more may be kept then."""
    async with open_pump() as pump:
        first, second = (target for target, _ in pairs[:2])
        order: list[str] = []

        def keep_more() -> None:
            order.append("first")
            pump.flush_soon(second)

        first.then = keep_more
        second.then = lambda: order.append("second")
        pump.flush_soon(first)
        assert [] == order
        await settle()

    assert ["first", "second"] == order


async def test_ctrl_c_does_not_land_in_it(pairs: list[tuple[Target, socket.socket]]) -> None:
    """Reading and flushing are protected: half of a turn would be lost."""
    protected: list[bool] = []
    async with open_pump() as pump:
        target, theirs = pairs[0]
        target.then = lambda: protected.append(trio.lowlevel.currently_ki_protected())
        pump.register(target.sock.fileno(), target)
        theirs.send(b"x")
        pump.flush_soon(target)
        await settle()
        pump.forget(target.sock.fileno())

    assert [True, True] == protected
