"""What both kinds of wire share."""

import socket

import pytest

from tests.server.socket_wires import tcp_pair
from triows.server._wire import CHUNK, RESET


def test_reset() -> None:
    """A socket that is closed with this linger is reset: its peer does not take it for an end."""
    ours, theirs = tcp_pair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    ours.close()

    with theirs:
        theirs.settimeout(5)
        with pytest.raises(ConnectionResetError):
            theirs.recv(CHUNK)
