"""Connecting: what the server sees, and why there is no connection."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
import trustme
from trio.testing import MockClock
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest

from tests.cli.connections import accept, answering, code_of, read_head, refuse, serving
from triows.cli._address import Offer, parse_url
from triows.cli._dial import MAX_ANSWER, MAX_TOLD, NotConnected, Wire, open_connection


@asynccontextmanager
async def dialling(
    url: str,
    *,
    offer: Offer | None = None,
    tls: ssl.SSLContext | None = None,
    patience: float = 10,
    max_size: int = 1000,
) -> AsyncGenerator[WebSocketConnection]:
    """Connect with the options that a test is not about."""
    async with open_connection(
        parse_url(url), offer or Offer(), tls=tls, patience=patience, max_size=max_size
    ) as connection:
        yield connection


async def why_not(answer: bytes, *, hang_up: bool = True, patience: float = 10) -> str:
    """Return why there is no connection to a server that answers so."""

    async def serve(stream: trio.abc.Stream) -> None:
        await read_head(stream)
        await stream.send_all(answer)
        if hang_up:
            await stream.aclose()
        await trio.sleep_forever()

    async with answering(serve) as url:
        with pytest.raises(NotConnected) as raised:
            async with dialling(url, patience=patience):
                raise AssertionError("it is connected")
    return str(raised.value)


# What the server sees


async def test_handshake() -> None:
    """The server sees the target, the headers and the subprotocols; we see which it chose."""
    seen: list[object] = []

    async def handle(request: WebSocketRequest) -> None:
        seen.extend([request.path, request.headers, request.proposed_subprotocols])
        connection = await request.accept(subprotocol="v1")
        await connection.send_message("welcome")

    offer = Offer([(b"x-token", b"a"), (b"x-token", b"b")], ["v2", "v1"])
    async with serving(handle) as url, dialling(f"{url}chat?room=ü", offer=offer) as connection:
        assert "v1" == connection.subprotocol
        assert "welcome" == await connection.get_message()

    path, headers, subprotocols = seen
    assert "/chat?room=%C3%BC" == path
    assert isinstance(headers, list)
    assert {(b"x-token", b"a"), (b"x-token", b"b")} <= set(headers)
    assert ("v2", "v1") == subprotocols


@pytest.mark.parametrize(
    ("headers", "expected"), [([], None), ([(b"host", b"example.com:1")], b"example.com:1")]
)
async def test_host(headers: list[tuple[bytes, bytes]], expected: bytes | None) -> None:
    """There is one header Host, the URL's or another."""
    heads: list[bytes] = []

    async def serve(stream: trio.abc.Stream) -> None:
        heads.append(await read_head(stream))

    async with answering(serve) as url:
        with pytest.raises(NotConnected):
            async with dialling(url, offer=Offer(headers)):
                raise AssertionError("it is connected")
        expected = expected or url[5:-1].encode()

    hosts = [line for line in heads[0].split(b"\r\n") if line.lower().startswith(b"host:")]
    assert [b"Host: " + expected] == hosts


async def test_leaving_drops_the_connection() -> None:
    """What is not closed by the block is cut, and nothing is waited for."""
    codes: list[int] = []

    async def handle(request: WebSocketRequest) -> None:
        connection = await request.accept()
        with pytest.raises(ConnectionClosed) as raised:
            await connection.get_message()
        codes.append(code_of(raised.value))
        done.set()

    done = trio.Event()
    async with serving(handle) as url:
        async with dialling(url):
            pass
        await done.wait()

    assert [1006] == codes


async def test_failure_of_the_block() -> None:
    """What the block raises comes out as it is."""

    async def handle(request: WebSocketRequest) -> None:
        await request.accept()

    async with serving(handle) as url:
        with pytest.raises(LookupError, match=r"^mine$"):
            async with dialling(url):
                raise LookupError("mine")


async def test_cancelling() -> None:
    """Cancelling while the server is silent returns at once."""
    is_there = trio.Event()

    async def serve(stream: trio.abc.Stream) -> None:
        await read_head(stream)
        is_there.set()
        await trio.sleep_forever()

    async def dial(url: str) -> None:
        async with dialling(url):
            raise AssertionError("it is connected")

    async with answering(serve) as url, trio.open_nursery() as nursery:
        nursery.start_soon(dial, url)
        await is_there.wait()
        nursery.cancel_scope.cancel()

    assert nursery.cancel_scope.cancelled_caught


# Why there is no connection


async def test_refused() -> None:
    """Status, its name, and the body of the answer are told."""
    async with serving(refuse) as url:
        with pytest.raises(NotConnected, match=r"^the server answered 403 Forbidden: not\nyou$"):
            async with dialling(url):
                raise AssertionError("it is connected")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "the server answered 200 OK"),
        (b"HTTP/1.1 499 Gone\r\nContent-Length: 1\r\n\r\n\n", "the server answered 499"),
        (
            b"HTTP/1.1 301 Moved\r\nLocation: /new\r\nContent-Length: 0\r\n\r\n",
            "the server answered 301 Moved Permanently, go to /new",
        ),
        (
            b"HTTP/1.1 400 Bad\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000,
            f"the server answered 400 Bad Request: {'x' * MAX_TOLD} ...",
        ),
        (
            b"HTTP/1.0 403 Forbidden\r\nServer: old\r\n\r\nnot you",
            "the server hung up in its answer: HTTP/1.0 403 Forbidden: not you",
        ),
        (b"SSH-2.0-Open\xff\r\n", "the server hung up in its answer: SSH-2.0-Open\ufffd"),
        (b"", "the server hung up without an answer"),
        (
            b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            "the server's answer is no WebSocket handshake: Bad accept token",
        ),
        (
            b"HTTP/1.1 101 OK\r\nSec-WebSocket-Protocol: \xff\r\n\r\n",
            "the server's answer is no WebSocket handshake: 'ascii' codec can't decode byte",
        ),
        (
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
            "the server's answer is no WebSocket handshake: Bad HTTP message",
        ),
        (
            b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_ANSWER + 1),
            f"the server hung up in its answer: HTTP/1.1 200 OK: {'x' * MAX_TOLD} ...",
        ),
    ],
)
async def test_answer(answer: bytes, expected: str) -> None:
    """Whatever the answer is, it is told, as far as it fits."""
    told = await why_not(answer)

    assert expected == told.partition(" 0xff ")[0]


async def test_reset() -> None:
    """A server that cuts the connection has hung up."""

    async def serve(stream: trio.abc.Stream) -> None:
        assert isinstance(stream, trio.SocketStream)
        await read_head(stream)
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()

    async with answering(serve) as url:
        with pytest.raises(NotConnected, match=r"^the server hung up without an answer$"):
            async with dialling(url):
                raise AssertionError("it is connected")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", "no answer in time (--timeout)"),
        (b"SSH-2.0-Open\r\n", "no answer in time (--timeout); there is only: SSH-2.0-Open"),
    ],
)
async def test_silence(answer: bytes, expected: str, autojump_clock: MockClock) -> None:
    """A server that does not answer is left after the timeout."""
    # What is on its way through the kernel must not be taken for silence.
    autojump_clock.autojump_threshold = 0.1
    assert expected == await why_not(answer, hang_up=False, patience=5)


async def test_nobody_listens() -> None:
    """A port where nobody listens refuses."""
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(NotConnected, match=r"Connection refused$"):
            async with dialling(f"ws://127.0.0.1:{port}"):
                raise AssertionError("it is connected")


class NoNames(trio.abc.HostnameResolver):
    """A resolver that knows no name."""

    async def getaddrinfo(self, *_: object, **__: object) -> list[object]:  # type: ignore[override]
        """Raise what the system's does."""
        await trio.lowlevel.checkpoint()
        raise trio.socket.gaierror(-2, "Name or service not known")

    async def getnameinfo(self, *_: object) -> tuple[str, str]:
        """Do nothing: it is not used."""
        raise NotImplementedError


async def test_unknown_name() -> None:
    """A name that does not exist is told as such."""
    trio.socket.set_custom_hostname_resolver(NoNames())

    with pytest.raises(NotConnected, match=r"^Name or service not known$"):
        async with dialling("ws://example.invalid"):
            raise AssertionError("it is connected")


# The stream


async def test_sending_to_who_has_hung_up() -> None:
    """During the handshake it is for the next read to tell; afterwards it is an error."""
    near, far = trio.testing.memory_stream_pair()
    await far.aclose()
    wire = Wire(near)

    await wire.send_all(b"GET")
    with pytest.raises(NotConnected, match=r"^the server hung up without an answer$"):
        await wire.receive_some()
    wire.is_open = True
    with pytest.raises(trio.BrokenResourceError):
        await wire.send_all(b"hi")
    assert b"" == await wire.receive_some()


async def test_stream_is_passed_on() -> None:
    """Once the handshake is done it is a stream like the one that it is made of."""
    near, far = trio.testing.memory_stream_pair()
    wire = Wire(near)
    wire.is_open = True

    await wire.wait_send_all_might_not_block()
    await wire.send_all(b"hi")
    assert b"hi" == await far.receive_some()
    await far.send_all(b"hello")
    assert b"hello" == await wire.receive_some()
    await wire.aclose()
    assert b"" == await far.receive_some()


# TLS


@asynccontextmanager
async def serving_tls(authority: trustme.CA, name: str) -> AsyncGenerator[str]:
    """Serve a greeting over TLS, with a certificate for a name."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)

    async def handle(request: WebSocketRequest) -> None:
        connection = await request.accept()
        await connection.send_message("welcome")

    async with serving(handle, tls=context) as url:
        yield url


async def test_trusted_server() -> None:
    """A certificate of an authority that is trusted lets the handshake begin."""
    authority = trustme.CA()
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    async with serving_tls(authority, "127.0.0.1") as url, dialling(url, tls=tls) as connection:
        assert "welcome" == await connection.get_message()


@pytest.mark.parametrize(
    ("name", "is_known", "expected"),
    [
        ("127.0.0.1", False, "unable to get local issuer certificate (--cafile, --insecure)"),
        ("10.0.0.1", True, "IP address mismatch, certificate is not valid for '127.0.0.1'."),
    ],
)
async def test_untrusted_server(name: str, is_known: bool, expected: str) -> None:
    """What is wrong with the certificate is told, and which options are about it."""
    authority = trustme.CA()
    tls = ssl.create_default_context()
    if is_known:
        authority.configure_trust(tls)
    async with serving_tls(authority, name) as url:
        with pytest.raises(NotConnected, match=r"^TLS failed: ") as raised:
            async with dialling(url, tls=tls):
                raise AssertionError("it is connected")

    assert expected in str(raised.value)


async def test_server_without_tls() -> None:
    """A server that speaks no TLS is told from one that is not trusted."""

    async def serve(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with answering(serve) as url:
        with pytest.raises(NotConnected, match=r"^TLS failed: .*(?i:version|record)"):
            async with dialling(url.replace("ws:", "wss:"), tls=ssl.create_default_context()):
                raise AssertionError("it is connected")


# Peers that break the protocol


@pytest.mark.parametrize("number", range(20))
async def test_server_that_ends_at_once(number: int) -> None:
    """An accept, a message, a close frame and the end in one piece are all seen."""

    async def serve(stream: trio.abc.Stream) -> None:
        await stream.send_all(accept(await read_head(stream)) + b"\x81\x02hi\x88\x02\x03\xe8")

    async with answering(serve) as url, dialling(url) as connection:
        assert "hi" == await connection.get_message()
        with pytest.raises(ConnectionClosed) as raised:
            await connection.get_message()

    assert 1000 == code_of(raised.value)


async def test_server_that_goes_on_after_a_fault() -> None:
    """A second message that is too large changes nothing: the block is cancelled."""

    async def serve(stream: trio.abc.Stream) -> None:
        too_large = b"\x82\x7e\x04\x00" + bytes(1024)
        await stream.send_all(accept(await read_head(stream)) + too_large * 2)
        await trio.sleep_forever()

    async with answering(serve) as url, dialling(url) as connection:
        await trio.Event().wait()

    assert connection.closed is not None
    assert 1009 == connection.closed.code
