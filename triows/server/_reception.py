"""Who serves a socket: its first bytes decide.

A WebSocket handshake over HTTP/1.1 goes the fast lane, everything else to hypercorn. A socket
in the pump has no task until then. Under TLS, and where there is no epoll, each has one.
"""

import socket
from typing import Any

import trio
from hypercorn.config import Config

from triows._headers import RawHeaders
from triows._logs import log_failure
from triows._types import Address
from triows.server._arrivals import FIRST_BYTES, LINGER, Arrival, Farewell, PumpListener
from triows.server._bridge import FAREWELL, Bridge
from triows.server._connections import Connections
from triows.server._handshake import http_response
from triows.server._pump import Pump
from triows.server._pump_wire import PumpWire
from triows.server._request_head import (
    BadRequest,
    RequestHead,
    end_of_head,
    parse_head,
    wants_websocket,
)
from triows.server._stream_wire import Stream, StreamWire
from triows.server._wheel import Wheel
from triows.server._wire import CHUNK

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class Reception:
    """Takes sockets, and starts who serves them in a nursery."""

    def __init__(
        self,
        connections: Connections,
        bridge: Bridge,
        wheel: Wheel,
        nursery: trio.Nursery,
        *,
        config: Config,
    ) -> None:
        self._connections = connections
        self._bridge = bridge
        self._wheel = wheel
        self._nursery = nursery
        self._max_head = config.h11_max_incomplete_size
        self._tls_timeout = config.ssl_handshake_timeout
        self._waiting: set[trio.CancelScope] = set()  # for a first request, in a task

    # In the pump

    def listen(self, pump: Pump, sock: socket.socket) -> PumpListener:
        """Accept connections of a listening socket by the pump."""
        if sock.family != socket.AF_UNIX:
            # Those that it accepts inherit it; one from `fd://` may be without.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def admit(client: socket.socket, address: Any) -> None:
            Arrival(pump, self._wheel, client, address, max_head=self._max_head, on_head=dispatch)

        def dispatch(arrival: Arrival, end: int) -> None:
            self._dispatch(pump, arrival, end)

        return PumpListener(pump, self._wheel, sock, admit)

    def _dispatch(self, pump: Pump, arrival: Arrival, end: int) -> None:
        sock = arrival.sock
        try:
            head = self._parse(arrival.data, end)
            if head is None:
                self._wheel.discard(arrival.timer)
                pump.forget(sock.fileno())
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
                self._nursery.start_soon(self._bridge.serve, stream, arrival.data)
                return
            wire = PumpWire(pump, sock)
            serve = self._connections.open(
                head,
                wire,
                arrival.timer,
                is_secure=False,
                client=_address_of(arrival.address),
                server=_address_of(sock.getsockname()),
                rest=arrival.data[end:],
            )
        except BadRequest as fault:
            answer = self._answer(fault)
            wire = PumpWire(pump, sock)
            pump.hand_over(sock.fileno(), wire)
            Farewell(wire, self._wheel, arrival.timer, answer)
            return
        pump.hand_over(sock.fileno(), wire)
        self._nursery.start_soon(serve, name="triows connection")

    def _parse(self, data: bytes, end: int) -> RequestHead | None:
        """Return the head of a handshake; None if it is for hypercorn."""
        if not 0 <= end <= self._max_head:
            raise BadRequest(431, f"The head of a request has at most {self._max_head} bytes here.")
        head = parse_head(data[:end])
        return head if wants_websocket(head) else None

    def _answer(self, fault: BadRequest) -> bytes:
        headers: RawHeaders = [
            *self._connections.headers.raw,
            *fault.headers,
            (b"content-type", b"text/plain; charset=utf-8"),
        ]
        return http_response(fault.status, headers, f"{fault.message}\n".encode())

    # In a task

    async def welcome(self, stream: Stream) -> None:
        """Serve a stream to its end; raises nothing but cancellation."""
        try:
            data = await self._read_first(stream)
            if data:
                await self._serve_stream(stream, data)
        except* _GONE:
            pass
        except* Exception as group:
            log_failure("a connection failed", failure=group)
        finally:
            await trio.aclose_forcefully(stream)

    async def _read_first(self, stream: Stream) -> bytes:
        """Return what comes first, up to a whole head, too much for one, or HTTP/2; b"" if late."""
        with trio.CancelScope() as patience:
            self._waiting.add(patience)
            try:
                if isinstance(stream, trio.SSLStream):
                    patience.deadline = trio.current_time() + self._tls_timeout
                    await stream.do_handshake()
                patience.deadline = trio.current_time() + FIRST_BYTES
                return await self._read_head(stream)
            finally:
                self._waiting.discard(patience)
        return b""

    async def _read_head(self, stream: Stream) -> bytes:
        data, seen = b"", 0
        while end_of_head(data, seen) < 0 and len(data) <= self._max_head:
            seen = len(data)
            chunk = await stream.receive_some(CHUNK)
            if not chunk:
                return b""
            data += chunk
        return data

    async def _serve_stream(self, stream: Stream, data: bytes) -> None:
        is_secure = isinstance(stream, trio.SSLStream)
        plain = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        end = end_of_head(data)
        wire = StreamWire(stream)
        timer = self._wheel.add()
        try:
            head = self._parse(data, end)
            if head is None:
                await self._bridge.serve(stream, data)
                return
            serve = self._connections.open(
                head,
                wire,
                timer,
                is_secure=is_secure,
                client=_address_of(plain.socket.getpeername()),
                server=_address_of(plain.socket.getsockname()),
                rest=data[end:],
            )
        except BadRequest as fault:
            await self._refuse(stream, fault)
            return
        shelter = trio.CancelScope(shield=True)

        async def run_wire() -> None:
            with shelter:
                await wire.run()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_wire)
            try:
                await serve()
            finally:
                shelter.deadline = trio.current_time() + FAREWELL

    async def _refuse(self, stream: Stream, fault: BadRequest) -> None:
        with trio.move_on_after(LINGER):
            await stream.send_all(self._answer(fault))
            if isinstance(stream, trio.SocketStream):
                await stream.send_eof()
            # Closed at once, what the client still sends would reset it, and lose the answer.
            while await stream.receive_some(CHUNK):
                pass

    # The end

    def close(self, pump: Pump | None) -> None:
        """Accept no more, and close the sockets on which no whole request has come."""
        for patience in self._waiting:
            patience.cancel(reason="the server has stopped listening")
        for target in [] if pump is None else pump.targets():
            if isinstance(target, PumpListener):
                target.close()
            elif isinstance(target, Arrival):
                target.abort()


def _address_of(name: Any) -> Address | None:
    """Return host and port of an internet socket; a Unix socket's peer has none."""
    return (name[0], name[1]) if isinstance(name, tuple) else None
