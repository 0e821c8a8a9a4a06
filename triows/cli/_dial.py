"""From a URL and options to an open connection, or to a sentence that says why there is none.

trio-websocket waits for an answer even where none can come any more: after the server has hung
up, or has answered what is no handshake. So the stream that it is given raises in these cases.
"""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http.client import responses

import trio
from trio_websocket import ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import ProtocolError, RemoteProtocolError

from triows._groups import parts_of, unwrap
from triows.cli._address import Address, Offer

MAX_ANSWER = 1 << 20
"""Bytes of the longest answer to a handshake that is read, its body included."""

MAX_TOLD = 1000
"""Bytes of a part of such an answer that the user is told."""


class NotConnected(Exception):
    """There is no connection; the message says why, with what the server answered."""


@asynccontextmanager
async def open_connection(
    address: Address,
    offer: Offer,
    *,
    tls: ssl.SSLContext | None,
    patience: float,
    max_size: int,
) -> AsyncGenerator[WebSocketConnection]:
    """Connect, and when the block ends drop what is still open, without a closing handshake.

    The block is cancelled if the connection breaks in a way that its methods do not tell.

    Args:
        address: Where to.
        offer: What else to send.
        tls: How a server of `wss` is checked; None for not at all, with `ws`.
        patience: Seconds until the handshake must be complete.
        max_size: Bytes of the longest message; a longer one ends the connection with 1009.

    Raises:
        NotConnected: There is no connection.
    """
    deadline = trio.current_time() + patience
    try:
        with trio.fail_at(deadline):
            stream = await _open_stream(address, tls)
    except (OSError, trio.BrokenResourceError, trio.TooSlowError) as exc:
        raise NotConnected(_explain(exc, b"")) from exc
    wire = Wire(stream)
    try:
        async with trio.open_nursery() as nursery:
            with trio.fail_at(deadline):
                connection = await _shake_hands(nursery, wire, address, offer, max_size)
            wire.is_open = True
            yield connection
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # trio-websocket's reader raises these when a peer goes on after a fault of its own.
        expected = ProtocolError if wire.is_open else Exception
        others = group.split(expected)[1]
        if others is not None:
            raise unwrap(others) from None
        if not wire.is_open:
            raise NotConnected(_explain(unwrap(group), wire.answer)) from group
    finally:
        await trio.aclose_forcefully(stream)


async def _open_stream(address: Address, tls: ssl.SSLContext | None) -> trio.abc.Stream:
    if not address.is_secure:
        return await trio.open_tcp_stream(address.host, address.port)
    stream = await trio.open_ssl_over_tcp_stream(
        address.host, address.port, ssl_context=tls, https_compatible=True
    )
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def _shake_hands(
    nursery: trio.Nursery, wire: "Wire", address: Address, offer: Offer, max_size: int
) -> WebSocketConnection:
    headers = [(name, value) for name, value in offer.headers if name != b"host"]
    hosts = [value.decode("latin-1") for name, value in offer.headers if name == b"host"]
    return await wrap_client_stream(
        nursery,
        wire,  # type: ignore[arg-type] # any stream will do
        hosts[-1] if hosts else address.authority,
        address.target,
        subprotocols=offer.subprotocols,
        extra_headers=headers,
        max_message_size=max_size,
    )


class Wire(trio.abc.Stream):
    """A stream that raises, until the handshake is done, where no answer can come any more.

    Attributes:
        is_open: The handshake is done.
        answer: What came until then, and perhaps a little more.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.is_open = False
        self._stream = stream
        self.answer = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return bytes of the peer's, and b"" at the end.

        Raises:
            NotConnected: This is the end, or too much, of an answer to the handshake.
        """
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            # To trio-websocket it is the same, and there is nothing else to tell about it.
            data = b""
        if not self.is_open:
            self.answer += data
        if not data or len(self.answer) > MAX_ANSWER:
            await self._fail_unless_open()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes to the peer.

        A failure during the handshake is left to `receive_some`: there may be an answer.
        """
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            if self.is_open:
                raise

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there may be room; trio-websocket does not ask."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()

    async def _fail_unless_open(self) -> None:
        # Whoever waits for the handshake may have been told of its end in this very moment,
        # and says so in `is_open` once it runs.
        await trio.lowlevel.checkpoint()
        if not self.is_open:
            part = f"in its answer: {_sum_up(self.answer)}" if self.answer else "without an answer"
            raise NotConnected(f"the server hung up {part}")


# Why there is no connection


def _explain(exc: BaseException, answer: bytes) -> str:
    match exc:
        case NotConnected():
            return str(exc)
        case trio.TooSlowError():
            came = f"; there is only: {_sum_up(answer)}" if answer else ""
            return f"no answer in time (--timeout){came}"
        case ConnectionRejected():
            return _explain_rejection(exc)
        case trio.BrokenResourceError():
            return f"TLS failed: {_reason(exc.__cause__ or exc)}"
        case OSError():
            return "; ".join(dict.fromkeys(map(_reason, parts_of(exc.__cause__ or exc))))
    # trio-websocket's attempt to answer failed, and what it would have answered is the context.
    fault = exc
    while not isinstance(fault, RemoteProtocolError) and fault.__context__ is not None:
        fault = fault.__context__
    return f"the server's answer is no WebSocket handshake: {fault}"


def _explain_rejection(rejection: ConnectionRejected) -> str:
    status = rejection.status_code
    text = f"the server answered {status} {responses.get(status, '')}".rstrip()
    location = dict(rejection.headers).get(b"location")
    if location is not None:
        text += f", go to {location.decode(errors='replace')}"
    return _with_body(text, rejection.body or b"")


def _sum_up(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    return _with_body(_cut(head.partition(b"\r\n")[0]), body)


def _with_body(text: str, body: bytes) -> str:
    return f"{text}: {_cut(body)}" if body.strip() else text


def _cut(data: bytes) -> str:
    text = data[:MAX_TOLD].decode(errors="replace").strip()
    return text if len(data) <= MAX_TOLD else f"{text} ..."


def _reason(exc: BaseException) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"{exc.verify_message} (--cafile, --insecure)"
    return getattr(exc, "strerror", None) or str(exc)
