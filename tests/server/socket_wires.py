"""A connection for tests of wires: our end, its user, and the peer."""

import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Literal, TypeAlias

import trio
import trustme

from triows.server._pump import Pump
from triows.server._pump_wire import PumpWire
from triows.server._stream_wire import Stream, StreamWire
from triows.server._wire import Wire

Kind: TypeAlias = Literal["pump", "stream", "tls"]

BUFFER = 64 * 1024
"""Bytes that the kernel is asked to keep, at each end."""

BULK = b"".join(struct.pack(">I", i) for i in range(2**19))
"""More than fits into all buffers, and no two parts of it are alike."""


class User:
    """Notes what a wire tells; a `WireUser`.

    Attributes:
        log: What was told; several reads in a row are one "data".
        data: What was taken.
        on_take: Called with every read.
        on_unblocked: Called when the wire is unblocked.
    """

    def __init__(self) -> None:
        self.log: list[str] = []
        self.data = b""
        self.on_take: Callable[[bytes], None] = lambda _: None
        self.on_unblocked: Callable[[], None] = lambda: None
        self._changed = trio.lowlevel.ParkingLot()

    def take(self, data: bytes) -> None:
        """Note that data came, or the end of it."""
        self._note("data" if data else "end")
        self.data += data
        self.on_take(data)

    def blocked(self) -> None:
        """Note it."""
        self._note("blocked")

    def unblocked(self) -> None:
        """Note it."""
        self._note("unblocked")
        self.on_unblocked()

    def lost(self) -> None:
        """Note it."""
        self._note("lost")

    def _note(self, what: str) -> None:
        if [what] != self.log[-1:] or what != "data":
            self.log.append(what)
        self._changed.unpark_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, which is looked at whenever the wire tells something."""
        while not condition():
            await self._changed.park()

    async def until_told(self, what: str) -> None:
        """Wait until the wire has told that."""
        await self.until(lambda: what in self.log)

    async def until_taken(self, count: int) -> None:
        """Wait until that many bytes have come."""
        await self.until(lambda: len(self.data) >= count)


class Peer:
    """The other end."""

    def __init__(self, sock: socket.socket, stream: Stream) -> None:
        self._sock = sock
        self.stream = stream

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        await self.stream.send_all(data)

    async def receive(self, count: int) -> bytes:
        """Return exactly so many bytes, if there are as many before the end."""
        data = bytearray()
        try:
            while len(data) < count:
                more = await self.stream.receive_some(min(count - len(data), BUFFER))
                if not more:
                    break
                data += more
        except trio.BrokenResourceError as exc:
            # For those who do HTTPS, the end of the socket is the end.
            if not isinstance(exc.__cause__, ssl.SSLEOFError):
                raise
        return bytes(data)

    async def receive_rest(self) -> bytes:
        """Return everything up to the end."""
        return await self.receive(2**62)

    async def end_writing(self) -> None:
        """Send nothing more, but go on reading if the kind of connection allows it."""
        if isinstance(self.stream, trio.SSLStream):
            await self.stream.aclose()
        else:
            await self.stream.send_eof()

    def reset(self) -> None:
        """Be gone without a word."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close the socket under whatever is on top of it."""
        _plain(self.stream).socket.close()


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return our end and the peer's of a connection with small buffers."""
    with socket.socket() as listener, socket.socket() as first:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        first.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        first.connect(listener.getsockname())
        ours, _ = listener.accept()
        theirs = socket.socket(fileno=first.detach())
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ours.settimeout(0)
    theirs.settimeout(0)
    return ours, theirs


def stream_of(sock: socket.socket) -> trio.SocketStream:
    """Return a Trio stream over a socket."""
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))


def _plain(stream: Stream) -> trio.SocketStream:
    return stream.transport_stream if isinstance(stream, trio.SSLStream) else stream


@cache
def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    ca = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    ca.configure_trust(client)
    return server, client


async def tls_pair() -> tuple[Stream, socket.socket, Stream]:
    """Return our end, the peer's socket and its end, after the handshake."""
    ours, theirs = tcp_pair()
    for_server, for_client = _contexts()
    server = trio.SSLStream(stream_of(ours), for_server, server_side=True, https_compatible=True)
    client = trio.SSLStream(stream_of(theirs), for_client, server_hostname="localhost")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        nursery.start_soon(client.do_handshake)
    return server, theirs, client


@asynccontextmanager
async def open_pump() -> AsyncGenerator[Pump]:
    """Run a pump around a block."""
    pump = Pump()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump.run)
            nursery.start_soon(pump.run_flusher)
            yield pump
            nursery.cancel_scope.cancel()
    finally:
        pump.close()


@asynccontextmanager
async def open_wire(kind: Kind) -> AsyncGenerator[tuple[Wire, User, Peer]]:
    """Open a connection of a kind; at the end look whether it was left as it should be."""
    opened = _open_pump_wire() if kind == "pump" else _open_stream_wire(kind)
    async with opened as (wire, user, peer):
        yield wire, user, peer
        wire.abort()
        await user.until_told("lost")
        # However it ended: told once, and nothing after it.
        assert ["lost"] == user.log[user.log.index("lost") :]
        assert (0, False) == (wire.unsent, wire.is_blocked)
        peer.close()


@asynccontextmanager
async def _open_pump_wire() -> AsyncGenerator[tuple[Wire, User, Peer]]:
    async with open_pump() as pump:
        ours, theirs = tcp_pair()
        wire, user = PumpWire(pump, ours), User()
        wire.user = user
        pump.register(ours.fileno(), wire)
        yield wire, user, Peer(theirs, stream_of(theirs))
        assert -1 == ours.fileno()
        assert 0 == len(pump)


@asynccontextmanager
async def _open_stream_wire(kind: Kind) -> AsyncGenerator[tuple[Wire, User, Peer]]:
    async with trio.open_nursery() as nursery:
        stream: Stream
        peer: Stream
        if kind == "tls":
            stream, theirs, peer = await tls_pair()
        else:
            ours, theirs = tcp_pair()
            stream, peer = stream_of(ours), stream_of(theirs)
        wire, user = StreamWire(stream), User()
        wire.user = user
        nursery.start_soon(wire.run)
        yield wire, user, Peer(theirs, peer)
        assert -1 == _plain(stream).socket.fileno()
