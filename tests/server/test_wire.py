"""What both kinds of wire share."""

import runpy
import socket
import sys
from typing import Any

import pytest

from tests.server.socket_wires import tcp_pair
from triows.server import _wire
from triows.server._wire import CHUNK, RESET, undelivered


def test_reset() -> None:
    """A socket that is closed with this linger is reset: its peer does not take it for an end."""
    ours, theirs = tcp_pair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    ours.close()

    with theirs:
        theirs.settimeout(5)
        with pytest.raises(ConnectionResetError):
            theirs.recv(CHUNK)


def test_undelivered() -> None:
    """The kernel tells what it still has for the peer's; of a closed socket it has nothing."""
    ours, theirs = tcp_pair()
    with ours, theirs:
        ours.settimeout(0)
        with pytest.raises(BlockingIOError):
            while True:
                ours.send(bytes(CHUNK))
        before = undelivered(ours.fileno())
        assert before > 0
        theirs.settimeout(5)
        while undelivered(ours.fileno()) == before:
            theirs.recv(CHUNK)

    assert 0 == undelivered(ours.fileno())


def test_where_nobody_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """There it is nothing, as if the peer had it all."""
    monkeypatch.setitem(sys.modules, "termios", None)
    blind: dict[str, Any] = runpy.run_path(_wire.__file__)
    with socket.socket() as sock:
        assert 0 == blind["undelivered"](sock.fileno())
