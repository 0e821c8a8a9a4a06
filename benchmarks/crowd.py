"""Many WebSocket clients in one loop, that check every byte that comes to them.

Each knows what must come: one frame again and again, to be compared wherever the stream was
cut. What it sends is one frame made beforehand. That, and epoll by hand, keeps a message at a
few µs here. Echoing clients send all alike messages, but no other client's; where all get what
one of them publishes, they expect that one's.

Some of them, evenly chosen, take the time of every message.
"""

import select
import socket
import string
import time
from collections import deque

from benchmarks.client import client_frame, close_websockets, open_websockets, server_frame

CHUNK = 64 * 1024
"""Bytes read at a time."""

DRAIN_TIMEOUT = 60.0
"""Seconds without a message after which those still missing are given up.

A server on Trio reads from 10,000 clients before it answers the first."""

SETTLING = 0.2
"""Seconds until all are members: a server may answer the handshake a moment before."""

TIMED = 16
"""Clients that take the time, at least, if there are so many."""


class EchoFailed(Exception):
    """What came was not what had to come, or it did not come."""


class Client:
    """One connection.

    Args:
        sock: Where the handshake is done.
        payload: The message, to and fro.
        depth: How many of them may be in flight.
    """

    def __init__(self, sock: socket.socket, payload: bytes, depth: int) -> None:
        sock.settimeout(0)
        echo = server_frame(payload)
        self.sock = sock
        self.in_flight = 0
        self._frame = client_frame(payload)
        self._length = len(echo)
        self._expected = echo * (depth + 1)
        self._position = 0  # in the echo that is arriving
        self._unsent = b""

    def receive(self) -> int:
        """Take and check what has come; return how many messages that completes."""
        data = self.sock.recv(CHUNK)
        end = self._position + len(data)
        if not data or data != self._expected[self._position : end]:
            raise EchoFailed(f"expected echoes of {self._frame!r:.200}, received {data!r:.200}")
        done, self._position = divmod(end, self._length)
        self.in_flight -= done
        if self.in_flight < 0:
            raise EchoFailed(f"received {-self.in_flight} more messages than were sent")
        return done

    def expect(self, count: int) -> None:
        """Be ready for so many messages more."""
        self.in_flight += count

    def send(self, count: int) -> bool:
        """Send so many messages; return whether the socket took them all."""
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


class TimedClient(Client):
    """Like `Client`, but adds to a list how many seconds each message took."""

    def __init__(
        self, sock: socket.socket, payload: bytes, depth: int, latencies: list[float]
    ) -> None:
        super().__init__(sock, payload, depth)
        self._latencies = latencies
        self._sent: deque[float] = deque()

    def receive(self) -> int:
        """Take and check what has come; return how many messages that completes."""
        done = super().receive()
        now = time.perf_counter()
        self._latencies += [now - self._sent.popleft() for _ in range(done)]
        return done

    def expect(self, count: int) -> None:
        """Be ready for so many messages more."""
        super().expect(count)
        self._sent += [time.perf_counter()] * count


def make_payload(number: int, size: int) -> bytes:
    """Return a text of that size that begins with the number."""
    return f"{number:x}-{string.ascii_letters * (size // 52 + 1)}"[:size].encode()


class Crowd:
    """Clients that echo, driven by one epoll.

    Attributes:
        done: Messages that have arrived whole.
        latencies: Seconds that some of them took.
    """

    PATH = "/echo"

    def __init__(self, port: int, *, clients: int, size: int, depth: int) -> None:
        self.done = 0
        self.latencies: list[float] = []
        self._depth = depth
        self._missing = 0
        self._socks = open_websockets(port, self.PATH, clients)
        every = max(1, clients // TIMED)
        self._clients = [
            self._make_client(sock, self._payload_of(i, size), is_timed=i % every == 0)
            for i, sock in enumerate(self._socks)
        ]
        self._by_fd = {client.sock.fileno(): client for client in self._clients}
        self._poll = select.epoll()
        for sock in self._socks:
            self._poll.register(sock, select.EPOLLIN)

    def _make_client(self, sock: socket.socket, payload: bytes, *, is_timed: bool) -> Client:
        if is_timed:
            return TimedClient(sock, payload, self._depth, self.latencies)
        return Client(sock, payload, self._depth)

    def _payload_of(self, number: int, size: int) -> bytes:
        return make_payload(number, size)

    def run(self, seconds: float) -> None:
        """Keep messages in flight for so long, then wait until all have arrived.

        Raises:
            EchoFailed: One was wrong, or nothing came for `DRAIN_TIMEOUT` and some are missing.
        """
        deadline = time.perf_counter() + seconds
        self._start()
        while deadline > time.perf_counter():
            # Never asleep: the server would pay for waking this process, now and then.
            for fd, events in self._poll.poll(0):
                client = self._by_fd[fd]
                if done := self._pump(client, events):
                    self._go_on(client, done)
        self._drain()

    def close(self) -> None:
        """Close the connections."""
        close_websockets(self._socks)
        self._poll.close()

    def _start(self) -> None:
        for client in self._clients:
            self._go_on(client, self._depth)

    def _go_on(self, client: Client, count: int) -> None:
        self._expect(client, count)
        self._send(client, count)

    def _expect(self, client: Client, count: int) -> None:
        self._missing += count
        client.expect(count)

    def _send(self, client: Client, count: int) -> None:
        if not client.send(count):
            self._watch(client, is_sent=False)

    def _drain(self) -> None:
        while self._missing:
            events = self._poll.poll(DRAIN_TIMEOUT)
            if not events:
                raise EchoFailed(f"{self._missing} messages did not come")
            for fd, mask in events:
                self._pump(self._by_fd[fd], mask)

    def _pump(self, client: Client, events: int) -> int:
        if events & select.EPOLLOUT:
            self._watch(client, is_sent=client.flush())
        if events == select.EPOLLOUT:
            return 0
        done = client.receive()
        self.done += done
        self._missing -= done
        return done

    def _watch(self, client: Client, *, is_sent: bool) -> None:
        wanted = select.EPOLLIN if is_sent else select.EPOLLIN | select.EPOLLOUT
        self._poll.modify(client.sock, wanted)


class Audience(Crowd):
    """Clients that all receive what the first of them publishes, of which `depth` at a time."""

    PATH = "/fanout"

    def __init__(self, port: int, *, clients: int, size: int, depth: int) -> None:
        super().__init__(port, clients=clients, size=size, depth=depth)
        time.sleep(SETTLING)

    def _payload_of(self, _number: int, size: int) -> bytes:
        return make_payload(0, size)

    def _start(self) -> None:
        for _ in range(self._depth):
            self._publish()

    def _go_on(self, _client: Client, _count: int) -> None:
        while self._missing <= (self._depth - 1) * len(self._clients):
            self._publish()

    def _publish(self) -> None:
        for client in self._clients:
            self._expect(client, 1)
        self._send(self._clients[0], 1)
