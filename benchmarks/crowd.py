"""Many WebSocket clients in one loop, that check every byte that comes back.

Each client keeps a number of messages in flight: it sends one for each that has come back
whole. Its messages are all alike, and no other client's are: what it sends is one frame made
beforehand, and what comes back is one frame again and again, to be compared wherever the
stream was cut. That, and epoll by hand, keeps a message at a few µs here.
"""

import select
import socket
import string
import time
from collections.abc import Iterable

from benchmarks.client import client_frame, server_frame

CHUNK = 64 * 1024
"""Bytes read at a time."""

DRAIN_TIMEOUT = 10.0
"""Seconds without an echo after which those still missing are given up."""


class EchoFailed(Exception):
    """An echo was not what was sent, or did not come."""


class Client:
    """One connection; `number` tells its messages from those of others, `size` is in bytes."""

    def __init__(self, sock: socket.socket, number: int, size: int) -> None:
        sock.settimeout(0)
        payload = make_payload(number, size)
        echo = server_frame(payload)
        self.sock = sock
        self.in_flight = 0
        self._frame = client_frame(payload)
        self._length = len(echo)
        self._expected = echo * (CHUNK // len(echo) + 2)
        self._position = 0  # in the echo that is arriving
        self._unsent = b""

    def receive(self) -> int:
        """Take and check what has come; return how many echoes that completes."""
        data = self.sock.recv(CHUNK)
        end = self._position + len(data)
        if not data or data != self._expected[self._position : end]:
            raise EchoFailed(f"expected echoes of {self._frame!r:.200}, received {data!r:.200}")
        done, self._position = divmod(end, self._length)
        self.in_flight -= done
        if self.in_flight < 0:
            raise EchoFailed(f"received {-self.in_flight} more echoes than messages were sent")
        return done

    def send(self, count: int) -> bool:
        """Send so many messages more; return whether the socket took them all."""
        self.in_flight += count
        self._unsent += self._frame * count
        return self.flush()

    def flush(self) -> bool:
        """Like `send`, with what the socket has not taken so far."""
        try:
            sent = self.sock.send(self._unsent)
        except BlockingIOError:
            return False
        self._unsent = self._unsent[sent:]
        return not self._unsent


def make_payload(number: int, size: int) -> bytes:
    """Return a text of that size that begins with the number."""
    return f"{number:x}-{string.ascii_letters * (size // 52 + 1)}"[:size].encode()


class Crowd:
    """All clients, driven by one epoll. Closing the sockets is left to the caller."""

    def __init__(self, socks: Iterable[socket.socket], size: int) -> None:
        self.echoes = 0
        self._clients: dict[int, Client] = {}
        self._poll = select.epoll()
        for number, sock in enumerate(socks):
            self._clients[sock.fileno()] = Client(sock, number, size)
            self._poll.register(sock, select.EPOLLIN)

    def start(self, depth: int) -> None:
        """Put so many messages of each client in flight."""
        for client in self._clients.values():
            self._watch(client, is_sent=client.send(depth))

    def run(self, seconds: float) -> None:
        """Keep them in flight for so long."""
        deadline = time.perf_counter() + seconds
        while deadline > time.perf_counter():
            # Never asleep: the server would pay for waking this process, now and then.
            for fd, events in self._poll.poll(0):
                client = self._clients[fd]
                if done := self._pump(client, events):
                    self._send(client, done)

    def drain(self) -> None:
        """Wait until everything that was sent has come back.

        Raises:
            EchoFailed: Nothing came for `DRAIN_TIMEOUT`, and some are missing.
        """
        while missing := sum(client.in_flight for client in self._clients.values()):
            events = self._poll.poll(DRAIN_TIMEOUT)
            if not events:
                raise EchoFailed(f"{missing} messages did not come back")
            for fd, mask in events:
                self._pump(self._clients[fd], mask)

    def _pump(self, client: Client, events: int) -> int:
        if events & select.EPOLLOUT:
            self._watch(client, is_sent=client.flush())
        if events == select.EPOLLOUT:
            return 0
        done = client.receive()
        self.echoes += done
        return done

    def _send(self, client: Client, count: int) -> None:
        if not client.send(count):
            self._watch(client, is_sent=False)

    def _watch(self, client: Client, *, is_sent: bool) -> None:
        wanted = select.EPOLLIN if is_sent else select.EPOLLIN | select.EPOLLOUT
        self._poll.modify(client.sock, wanted)
