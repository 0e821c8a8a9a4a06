"""Clients of which one publishes and another receives, on two servers or one."""

import socket

from benchmarks.client import (
    HANDSHAKE_TIMEOUT,
    HandshakeFailed,
    close_websockets,
    open_websockets,
    read_text,
)
from benchmarks.crowd import Crowd, TimedClient

JOINED = b"joined"
"""What a listener is told once everything that is published reaches it."""


class Pair(TimedClient):
    """Like `TimedClient`, but what it receives was sent on another connection.

    There a send waits for the server. That reads all it is sent, for only one message is in flight.
    """

    def __init__(
        self, listener: socket.socket, publisher: socket.socket, payload: bytes, took: list[float]
    ) -> None:
        super().__init__(listener, payload, 1, took)
        self._publisher = publisher

    def flush(self) -> bool:
        """Send what was not sent so far."""
        self._publisher.sendall(self._unsent)
        self._unsent = b""
        return True


class Pairs(Crowd):
    """Pairs, each with a topic and one message in flight.

    Args:
        publishing: The port of the server where all publish.
        delivering: That of the server where all listen.
        clients: How many pairs.
        size: Bytes of a message.
    """

    PATH = "/listen/{}"

    def __init__(self, publishing: int, delivering: int, *, clients: int, size: int) -> None:
        self._publishers = open_websockets(publishing, "/publish/{}", clients)
        self._free = iter(self._publishers)
        super().__init__(delivering, clients=clients, size=size, depth=1)

    def _make_client(self, sock: socket.socket, payload: bytes, *, is_timed: bool) -> Pair:  # noqa: ARG002 - all are
        sock.settimeout(HANDSHAKE_TIMEOUT)
        if (said := read_text(sock)) != JOINED:
            raise HandshakeFailed(f"expected {JOINED!r}, received {said!r:.200}")
        return Pair(sock, next(self._free), payload, self.latencies)

    def close(self) -> None:
        """Close the connections."""
        super().close()
        close_websockets(self._publishers)
