"""Clients that come and go: connect, shake hands, say goodbye, and see the connection closed."""

import select
import socket
import sys
import time

from benchmarks.client import (
    END_OF_HEAD,
    FAREWELL,
    GOODBYE,
    HOST,
    check_answer,
    request,
    set_no_delay,
)
from benchmarks.crowd import DRAIN_TIMEOUT, EchoFailed

PATH = "/echo"


class Visit:
    """One connection, from its first byte to its last.

    Attributes:
        sock: Not blocking.
        took: Seconds until it was open; 0 before.
        is_clean: The server has ended it with a close frame.
    """

    def __init__(self, port: int) -> None:
        self._begun = time.perf_counter()
        self.sock = socket.create_connection((HOST, port), DRAIN_TIMEOUT)
        self.took = 0.0
        self.is_clean = False
        self._received = b""
        set_no_delay(self.sock)
        self.sock.sendall(request(port, PATH))
        self.sock.settimeout(0)

    def read(self) -> bool:
        """Take what has come; return whether it was the end.

        Raises:
            EchoFailed: It was, but too early, or after something else than a close.
            HandshakeFailed: The answer was another than the 101 that was asked for.
        """
        data = self.sock.recv(4096)
        self._received += data
        if not data:
            self._check_end()
        elif not self.took and END_OF_HEAD in self._received:
            head, _, self._received = self._received.partition(END_OF_HEAD)
            check_answer(head)
            self.took = time.perf_counter() - self._begun
            self.sock.sendall(GOODBYE)
        return not data

    def _check_end(self) -> None:
        if not self.took or self._received not in (b"", FAREWELL):
            raise EchoFailed(f"expected {FAREWELL!r} and the end, received {self._received!r:.200}")
        self.is_clean = bool(self._received)


class Visitors:
    """A number of clients, each of which comes back as soon as it has gone.

    Attributes:
        done: Connections that were opened and closed.
        latencies: Seconds until each was open.
    """

    def __init__(self, port: int, *, clients: int) -> None:
        self.done = 0
        self.latencies: list[float] = []
        self._port = port
        self._unclean = 0
        self._clients = clients
        self._visits: dict[int, Visit] = {}
        self._poll = select.epoll()

    def run(self, seconds: float) -> None:
        """Let them come and go for so long, then wait until the last has gone.

        Raises:
            EchoFailed: A connection ended in another way, or nothing came for `DRAIN_TIMEOUT`.
            HandshakeFailed: An answer was another than the 101 that was asked for.
        """
        deadline = time.perf_counter() + seconds
        for _ in range(self._clients):
            self._come()
        while deadline > time.perf_counter():
            # Never asleep, as in `crowd`.
            for _ in range(self._see_off(self._poll.poll(0))):
                self._come()
        while self._visits:
            events = self._poll.poll(DRAIN_TIMEOUT)
            if not events:
                raise EchoFailed(f"{len(self._visits)} connections did not end")
            self._see_off(events)

    def close(self) -> None:
        """Leave nothing behind, and tell on stderr how many connections were not closed cleanly.

        They count all the same: websockets' server for Trio sends no close frame where the
        client's is there before its handler runs.
        """
        self._poll.close()
        if self._unclean:
            share = f"{self._unclean} of {self.done} connections"
            print(f"port {self._port}: {share} ended without a close frame", file=sys.stderr)

    def _come(self) -> None:
        visit = Visit(self._port)
        self._visits[visit.sock.fileno()] = visit
        self._poll.register(visit.sock, select.EPOLLIN)

    def _see_off(self, events: list[tuple[int, int]]) -> int:
        gone = [fd for fd, _ in events if self._visits[fd].read()]
        for fd in gone:
            visit = self._visits.pop(fd)
            visit.sock.close()
            self.latencies.append(visit.took)
            self._unclean += not visit.is_clean
        self.done += len(gone)
        return len(gone)
