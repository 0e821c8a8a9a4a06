"""A Trio stream as a wire: what every wire does, without TLS and with it."""

import socket

import pytest
import trio

from tests.server.socket_wires import User, stream_of, tcp_pair
from tests.server.wire_suite import WireSuite
from tests.support import tracebacks
from triows.server._stream_wire import StreamWire
from triows.server._wire import RESET


class TestPlain(WireSuite):
    """Over a socket."""

    kind = "stream"


class TestTLS(WireSuite):
    """Over TLS."""

    kind = "tls"


async def test_several_failures(caplog: pytest.LogCaptureFixture) -> None:
    """What the user of a wire raises ends that wire alone, and each failure is logged."""
    ours, theirs = tcp_pair()
    wire, user = StreamWire(stream_of(ours)), User()
    wire.user = user

    def fail(_: bytes) -> None:
        raise LookupError("no such thing")

    user.on_take = fail
    theirs.send(b"x")
    await wire.run()
    theirs.close()

    assert ["data", "lost"] == user.log
    assert ["LookupError"] == tracebacks(caplog)


async def test_cancelled_from_outside() -> None:
    """The stream is closed, and the user is told."""
    ours, theirs = tcp_pair()
    wire, user = StreamWire(stream_of(ours)), User()
    wire.user = user
    with trio.move_on_after(0):
        await wire.run()
    theirs.close()

    assert ["lost"] == user.log
    assert -1 == ours.fileno()


async def test_a_peer_that_is_gone_when_writing_ends() -> None:
    """Shutting down a socket that was reset meanwhile ends the wire, and raises nothing."""
    ours, theirs = tcp_pair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    theirs.close()
    wire, user = StreamWire(stream_of(ours)), User()
    wire.user = user
    wire.set_reading(False)
    wire.end_writing()
    with trio.fail_after(5):
        await wire.run()

    assert ["lost"] == user.log
