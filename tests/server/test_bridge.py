"""The way to hypercorn: what it serves, what it cannot hurt, and how it ends.

Clients are at the other end of a socket pair, and so inside of Trio's clock.
"""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, TypeAlias

import h2.config
import h2.connection
import h2.events
import h2.settings
import httpx
import pytest
import trio
import trio.testing
import trustme
from hypercorn.config import Config
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream
from websockets.frames import Frame, Opcode

from tests.server.bridges import H2Client, HTTPClient, served
from tests.support import lines
from triows._types import ASGIApp, Receive, Scope, Send
from triows.server._bridge import (
    FAREWELL,
    GRACE,
    PIECE,
    Bridge,
    PlainReplayStream,
    ReplayStream,
    TLSReplayStream,
    Turns,
)
from triows.server._roster import Roster

Contexts: TypeAlias = tuple[ssl.SSLContext, ssl.SSLContext]

HEAD = b"POST /post?a=b HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\n\r\n"
REQUEST = HEAD + b"hello"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with its path and body, and a WebSocket with what it says."""
    if scope["type"] == "websocket":
        await echo(receive, send)
        return
    body = b""
    more = True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    answer = scope["path"].encode() + b" " + body
    headers = [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


LENGTH_1 = [(b"content-length", b"1")]

FLOOD = bytes(50_000_000)
"""More than any socket takes before somebody reads."""


async def flood(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer any request with too much."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": FLOOD})


async def echo(receive: Receive, send: Send) -> None:
    """Accept, and send back what comes."""
    assert "websocket.connect" == (await receive())["type"]
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


async def is_at_end(stream: trio.SocketStream) -> bool:
    """Return whether the server has closed the connection, with nothing left to read."""
    return await stream.receive_some() == b""


@pytest.fixture(scope="module")
def contexts() -> Contexts:
    """The server's context, with a certificate for localhost, and that of a client that trusts it.

    The server would rather have HTTP/2; the client says what it can.
    """
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.set_alpn_protocols(["h2", "http/1.1"])
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    client.set_alpn_protocols(["http/1.1"])
    authority.configure_trust(client)
    return server, client


@asynccontextmanager
async def secured(contexts: Contexts) -> AsyncGenerator[trio.SSLStream[trio.SocketStream]]:
    """Open a TLS connection around a block, which gets the server's end; the other one is still."""
    ours, theirs = (trio.SocketStream(end) for end in trio.socket.socketpair())
    server = trio.SSLStream(ours, contexts[0], server_side=True, https_compatible=True)
    client = trio.SSLStream(theirs, contexts[1], server_hostname="localhost")
    async with ours, theirs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            await server.do_handshake()
        yield server


class TestReplay:
    """Bytes that were read already."""

    async def test_they_come_first(self) -> None:
        """They are given back, in pieces if asked for pieces, and then what else comes."""
        ours, theirs = trio.testing.memory_stream_pair()
        stream: Any = ours
        replay = ReplayStream(stream, b"already", Turns())
        await theirs.send_all(b"more")

        with trio.testing.assert_checkpoints():
            assert b"alre" == await replay.receive_some(4)
        assert b"ady" == await replay.receive_some(2**16)
        assert b"mo" == await replay.receive_some(2)
        assert b"re" == await replay.receive_some(2**16)

    async def test_all_else_is_the_streams(self) -> None:
        """What is sent goes out, and closing closes."""
        ours, theirs = trio.testing.memory_stream_pair()
        stream: Any = ours
        replay = ReplayStream(stream, b"already", Turns())

        await replay.send_all(b"hello")
        assert b"hello" == await theirs.receive_some()

        await replay.aclose()
        assert b"" == await theirs.receive_some()

    async def test_of_a_socket(self) -> None:
        """A plain one can be half closed, and has nothing that only TLS has."""
        ours, theirs = trio.socket.socketpair()
        async with trio.SocketStream(ours) as stream, trio.SocketStream(theirs) as client:
            replay = PlainReplayStream(stream, b"", Turns())
            await replay.send_eof()

            assert await is_at_end(client)
            assert ours is replay.socket
        assert not hasattr(replay, "do_handshake")
        assert not hasattr(replay, "transport_stream")

    async def test_of_tls(self, contexts: Contexts) -> None:
        """One over TLS shakes no hands again, and has nothing that only sockets have."""
        async with secured(contexts) as server:
            replay = TLSReplayStream(server, b"", Turns())
            with trio.testing.assert_checkpoints():
                await replay.do_handshake()

            assert server.transport_stream is replay.transport_stream
            assert "http/1.1" == replay.selected_alpn_protocol()
        assert not hasattr(replay, "socket")
        assert not hasattr(replay, "send_eof")


class TestTurns:
    """How much of what clients send is parsed at a time."""

    async def test_a_piece_in_a_turn(self) -> None:
        """However many hand bytes on, somebody else has a turn after each `PIECE`."""
        turns = Turns()
        passed: list[int] = [0]

        async def hand_on(size: int) -> None:
            for _ in range(5):
                await turns.wait(size)
                passed[-1] += size

        async def bystander() -> None:
            while sum(passed) < 5 * 8 * (PIECE + 100):
                await trio.lowlevel.checkpoint()
                passed.append(0)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(bystander)
            for _ in range(8):
                nursery.start_soon(hand_on, PIECE)
                nursery.start_soon(hand_on, 100)

        # Within one pass of the scheduler the bystander is anywhere between the others.
        assert max(a + b for a, b in pairwise(passed)) <= 3 * PIECE

    async def test_cancelled(self) -> None:
        """Whoever gives its turn up passes it on."""
        turns = Turns()
        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(2):
                await turns.wait(PIECE)
        assert scope.cancelled_caught

        with trio.fail_after(60):
            await turns.wait(PIECE)

    async def test_what_is_parsed_comes_in_pieces(self) -> None:
        """It takes hypercorn long: a body in tiny chunks does."""
        chunks = b"1\r\na\r\n" * 10_000 + b"0\r\n\r\n"
        head = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

        # Beside a piece it may be the rest of a chunk.
        assert {PIECE, PIECE + 1} >= set(await asked_for(head + chunks))

    @pytest.mark.parametrize("framing", [b"Content-Length: 60000", b"Transfer-Encoding: chunked"])
    async def test_a_body_comes_as_it_is(self, framing: bytes) -> None:
        """It is handed on unparsed, up to its end, as is a chunk of one."""
        head = b"POST /a HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n"
        body = bytes(60_000)
        if b"chunked" in framing:
            body = b"ea60\r\n" + body + b"\r\n0\r\n\r\n"

        assert max(await asked_for(head + body)) > 50_000

    async def test_a_frame_of_data_comes_as_it_is(self) -> None:
        """HTTP/2 as well."""
        nowhere, _ = trio.testing.memory_stream_pair()
        client = H2Client(nowhere)
        pairs = [(":method", "POST"), (":scheme", "http"), (":path", "/a"), (":authority", "a")]
        client.h2.send_headers(1, pairs)
        client.h2.send_data(1, bytes(16_000), end_stream=True)

        assert max(await asked_for(client.h2.data_to_send())) > 10_000


async def asked_for(request: bytes) -> list[int]:
    """Send a request to the app, read the answer, and return how much was read at a time."""
    ours, theirs = trio.socket.socketpair()
    sizes: list[int] = []
    stream = trio.SocketStream(ours)
    receive_some = stream.receive_some

    async def spy(max_bytes: int | None = None) -> bytes:
        assert max_bytes is not None
        sizes.append(max_bytes)
        return bytes(await receive_some(max_bytes))

    stream.receive_some = spy  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery, trio.SocketStream(theirs) as client:
        nursery.start_soon(Bridge(app, Config(), {}, Roster()).serve, stream, b"")  # noqa: ASYNC113
        await client.send_all(request)
        received = b""
        with trio.fail_after(60):
            while b"/a " not in received:
                received += await client.receive_some()
    return sizes


class TestHTTP:
    """What comes over the bridge without TLS."""

    async def test_keep_alive(self) -> None:
        """A connection has as many requests as the client likes."""
        async with served(Bridge(app, Config(), {}, Roster())) as stream:
            client = HTTPClient(stream)

            assert b"/first a" == await client.post("/first", b"a")
            assert b"/second b" == await client.post("/second", b"b")

    @pytest.mark.parametrize("cut", range(0, len(REQUEST) + 1, 3))
    async def test_bytes_already_read(self, cut: int) -> None:
        """However much of the request was read before, hypercorn reads it whole."""
        async with served(Bridge(app, Config(), {}, Roster()), REQUEST[:cut]) as stream:
            client = HTTPClient(stream)
            if cut < len(REQUEST):
                await stream.send_all(REQUEST[cut:])

            assert b"/post hello" == await client.post("/post", b"hello", is_sent=True)
            assert b"/next " == await client.post("/next")

    async def test_addresses(self) -> None:
        """The app sees the two ends of the socket, and a copy of the lifespan's state."""
        scopes: list[Scope] = []

        async def look(scope: Scope, receive: Receive, send: Send) -> None:
            scopes.append(scope)
            scope["state"]["mine"] = True
            await app(scope, receive, send)

        state = {"database": "open"}
        bridge = Bridge(look, Config(), state, Roster())

        async def serve(stream: trio.SocketStream) -> None:
            await bridge.serve(stream, b"")

        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(
                lambda task_status: trio.serve_tcp(
                    serve, 0, host="127.0.0.1", task_status=task_status
                )
            )
            server = listeners[0].socket.getsockname()
            async with await trio.open_tcp_stream(*server) as stream:
                await HTTPClient(stream).post("/")
                client = stream.socket.getsockname()
            nursery.cancel_scope.cancel()

        assert [(client, server)] == [(scope["client"], scope["server"]) for scope in scopes]
        assert {"database": "open", "mine": True} == scopes[0]["state"]
        assert {"database": "open"} == state

    async def test_a_websocket_after_a_request(self) -> None:
        """An upgrade on a kept-alive connection opens a WebSocket, which hypercorn serves."""
        async with (
            served(Bridge(app, Config(), {}, Roster())) as stream,
            trio.open_nursery() as nursery,
        ):
            await HTTPClient(stream).post("/first")
            websocket = await wrap_client_stream(nursery, stream, "example.org", "/chat")
            async with websocket:
                await websocket.send_message("hello")

                assert "hello" == await websocket.get_message()

    async def test_the_config_holds(self, autojump_clock: trio.testing.MockClock) -> None:
        """A connection waits for a request as long as the config says."""
        config = Config()
        config.keep_alive_timeout = 7
        async with served(Bridge(app, config, {}, Roster())) as stream:
            await HTTPClient(stream).post("/")
            started = trio.current_time()

            assert await is_at_end(stream)
            assert 7 == pytest.approx(trio.current_time() - started)

    async def test_an_app_that_listens_while_it_responds(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """One that cancels its response when it hears that it is over, as Starlette's files do.

        hypercorn tells it in the midst of its last send, and would lose what comes behind that:
        the next request, or the end of a connection that has none.
        """

        async def listening(scope: Scope, receive: Receive, send: Send) -> None:
            async def respond() -> None:
                await trio.sleep(1)
                await send({"type": "http.response.start", "status": 200, "headers": LENGTH_1})
                await send({"type": "http.response.body", "body": b"x"})

            async with trio.open_nursery() as nursery:
                nursery.start_soon(respond)
                while (await receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()

        config = Config()
        config.keep_alive_timeout = 7
        async with served(Bridge(listening, config, {}, Roster())) as stream:
            client = HTTPClient(stream)
            assert b"x" == await client.post("/first")
            assert b"x" == await client.post("/second")
            started = trio.current_time()

            with trio.fail_after(60):
                assert await is_at_end(stream)
            assert 7 == pytest.approx(trio.current_time() - started)


class TestHTTP2:
    """Clients that know that HTTP/2 is spoken here."""

    @pytest.mark.parametrize("cut", [0, 18, 24, 30])
    async def test_prior_knowledge(self, cut: int) -> None:
        """The preface alone is enough, wherever it was cut (RFC 9113 §3.3)."""
        nowhere, _ = trio.testing.memory_stream_pair()
        preface = H2Client(nowhere).h2.data_to_send()
        async with served(Bridge(app, Config(), {}, Roster()), preface[:cut]) as stream:
            client = H2Client(stream)
            client.h2.clear_outbound_data_buffer()
            await stream.send_all(preface[cut:])
            await client.open(1, ends=True, method="GET")

            assert b"/chat " == (await client.wait_for(h2.events.DataReceived)).data

    async def test_websocket(self) -> None:
        """A WebSocket is a stream of the connection (RFC 8441)."""
        async with served(Bridge(app, Config(), {}, Roster())) as stream:
            client = H2Client(stream)
            await client.flush()
            settings = await client.wait_for(h2.events.RemoteSettingsChanged)
            assert h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL in settings.changed_settings
            await client.open(1, ends=False, method="CONNECT", protocol="websocket")
            response = await client.wait_for(h2.events.ResponseReceived)
            client.h2.send_data(1, Frame(Opcode.TEXT, b"hello").serialize(mask=True))
            await client.flush()

            assert (":status", "200") in response.headers
            assert b"\x81\x05hello" == (await client.wait_for(h2.events.DataReceived)).data

    async def test_a_client_that_left(self, autojump_clock: trio.testing.MockClock) -> None:
        """The window of its stream never opens: what waits for that is cancelled after a grace."""
        began = trio.current_time()
        async with served(Bridge(flood, Config(), {}, Roster())) as stream:
            client = H2Client(stream)
            await client.open(1, ends=True, method="GET")
            await client.wait_for(h2.events.DataReceived)

        assert began + GRACE == trio.current_time()


@asynccontextmanager
async def serving_tls(
    application: ASGIApp, context: ssl.SSLContext, *, peeked: int = 0
) -> AsyncGenerator[str]:
    """Serve TLS on a port around a block, which gets the URL.

    Args:
        application: The app.
        context: The server's.
        peeked: Bytes of each connection that are read before it goes over the bridge.
    """
    bridge = Bridge(application, Config(), {}, Roster())

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        await stream.do_handshake()
        data = await stream.receive_some(peeked) if peeked else b""
        await bridge.serve(stream, bytes(data))

    (listener,) = await trio.open_ssl_over_tcp_listeners(
        0, context, host="127.0.0.1", https_compatible=True
    )
    port = listener.transport_listener.socket.getsockname()[1]  # type: ignore[attr-defined]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve, [listener])
        yield f"https://localhost:{port}"
        nursery.cancel_scope.cancel()


class TestTLS:
    """What comes over the bridge with TLS."""

    @pytest.mark.parametrize("peeked", [0, 1, 100_000])
    @pytest.mark.parametrize(("http2", "version"), [(True, "HTTP/2"), (False, "HTTP/1.1")])
    async def test_what_was_agreed_on(
        self, contexts: Contexts, http2: bool, version: str, peeked: int
    ) -> None:
        """It is HTTP/2 if client and server agreed on it (ALPN), and else HTTP/1.1."""
        async with (
            serving_tls(app, contexts[0], peeked=peeked) as url,
            httpx.AsyncClient(verify=contexts[1], http2=http2, trust_env=False) as client,
        ):
            first = await client.post(url + "/first", content=b"a")
            second = await client.post(url + "/second", content=b"b")

        assert ("/first a", "/second b") == (first.text, second.text)
        assert (version, version) == (first.http_version, second.http_version)

    async def test_scheme(self, contexts: Contexts) -> None:
        """The app is told that there is TLS."""
        schemes: list[str] = []

        async def look(scope: Scope, receive: Receive, send: Send) -> None:
            schemes.append(scope["scheme"])
            await app(scope, receive, send)

        async with (
            serving_tls(look, contexts[0]) as url,
            httpx.AsyncClient(verify=contexts[1], trust_env=False) as client,
        ):
            await client.get(url)

        assert ["https"] == schemes


class TestIsolation:
    """One connection, and the others."""

    async def test_what_fails_ends_that_connection_alone(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A header that hypercorn fails at is a line in the log; the bystander goes on."""
        bridge = Bridge(app, Config(), {}, Roster())
        hostile = (
            b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
            b"Sec-WebSocket-Protocol: \xff\r\n\r\n"
        )
        async with served(bridge) as bystander:
            async with served(bridge, hostile) as stream:
                assert await is_at_end(stream)

            assert b"/still there" == await HTTPClient(bystander).post("/still", b"there")
        (line,) = lines(caplog, 30)
        assert line.startswith("hypercorn failed, and ended one connection for it: UnicodeDecode")

    async def test_a_client_that_never_reads(self, autojump_clock: trio.testing.MockClock) -> None:
        """It is cut off after `send_timeout`, however much there is to send."""
        started = trio.current_time()
        async with served(Bridge(flood, Config(), {}, Roster(), send_timeout=8), REQUEST) as stream:
            await trio.sleep(11)

            received = 0
            with pytest.raises(trio.BrokenResourceError):
                while data := await stream.receive_some():
                    received += len(data)
                raise trio.BrokenResourceError  # An end without a reset does as well.
            assert 11 == trio.current_time() - started

        assert received < len(FLOOD)
        assert 11 == trio.current_time() - started

    async def test_a_tls_client_that_never_reads(
        self, contexts: Contexts, autojump_clock: trio.testing.MockClock
    ) -> None:
        """TLS makes no difference."""
        bridge = Bridge(flood, Config(), {}, Roster(), send_timeout=8)
        async with secured(contexts) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(bridge.serve, stream, REQUEST)
            await trio.sleep(7)
            assert -1 != stream.transport_stream.socket.fileno()

            await trio.sleep(4)
            assert -1 == stream.transport_stream.socket.fileno()

    async def test_cancelled(self) -> None:
        """Cancellation passes, and the socket is closed behind it, whatever hypercorn was at."""
        ours, theirs = trio.socket.socketpair()
        async with trio.SocketStream(theirs) as client:
            async with trio.open_nursery() as nursery:
                bridge = Bridge(app, Config(), {}, Roster())
                nursery.start_soon(bridge.serve, trio.SocketStream(ours), b"")
                await HTTPClient(client).post("/")
                nursery.cancel_scope.cancel()

            assert nursery.cancel_scope.cancelled_caught
            assert -1 == ours.fileno()
            assert await is_at_end(client)

    @pytest.mark.parametrize("piece", [0, 100_000])
    async def test_cancelled_in_a_write(
        self, autojump_clock: trio.testing.MockClock, piece: int
    ) -> None:
        """A client that reads nothing, or a little, is cut off: it has the time of a farewell."""
        ours, theirs = trio.socket.socketpair()

        async def read_slowly() -> None:
            while True:
                await trio.sleep(0.25)
                await theirs.recv(piece)

        with theirs:
            async with trio.open_nursery() as nursery:
                if piece:
                    nursery.start_soon(read_slowly)
                with trio.move_on_after(1):
                    await Bridge(flood, Config(), {}, Roster()).serve(
                        trio.SocketStream(ours), REQUEST
                    )
                nursery.cancel_scope.cancel()

        assert 1 + FAREWELL == trio.current_time()

    async def test_cancelled_in_a_write_of_tls(
        self, contexts: Contexts, autojump_clock: trio.testing.MockClock
    ) -> None:
        """TLS makes no difference."""
        async with secured(contexts) as stream:
            began = trio.current_time()
            with trio.move_on_after(1):
                await Bridge(flood, Config(), {}, Roster()).serve(stream, REQUEST)

            assert began + 1 + FAREWELL == trio.current_time()
            assert -1 == stream.transport_stream.socket.fileno()

    @pytest.mark.parametrize("already_read", [b"", HEAD, REQUEST])
    async def test_a_client_that_left(
        self, autojump_clock: trio.testing.MockClock, already_read: bytes
    ) -> None:
        """A connection whose client has gone is over, and no error: nobody waits for more."""
        started = trio.current_time()
        async with served(Bridge(app, Config(), {}, Roster()), already_read):
            await trio.sleep(1)

        assert 1 == trio.current_time() - started


class TestEnds:
    """How the server has its connections end."""

    async def test_idle_connections_are_closed_at_once(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """Whoever waits for a next request is not waited for."""
        bridge = Bridge(app, Config(), {}, Roster())
        async with served(bridge) as fresh, served(bridge) as used:
            await HTTPClient(used).post("/")
            started = trio.current_time()
            await bridge.close_idle()

            assert await is_at_end(fresh)
            assert await is_at_end(used)
            assert started == trio.current_time()

    async def test_others_after_their_response(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A response that is being made goes out whole; there is no other after it."""

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await trio.sleep(3)
            await app(scope, receive, send)

        bridge = Bridge(slow, Config(), {}, Roster())
        async with served(bridge, REQUEST) as stream:
            await trio.sleep(1)
            await bridge.close_idle()

            assert b"/post hello" == await HTTPClient(stream).post("/post", b"hello", is_sent=True)
            assert await is_at_end(stream)

    async def test_websockets_stay(self, autojump_clock: trio.testing.MockClock) -> None:
        """A WebSocket is never idle in that sense: it is let go by the roster."""
        bridge = Bridge(app, Config(), {}, Roster())
        async with served(bridge) as stream, trio.open_nursery() as nursery:
            websocket: WebSocketConnection
            websocket = await wrap_client_stream(nursery, stream, "example.org", "/chat")
            async with websocket:
                await bridge.close_idle()
                await trio.sleep(30)
                await websocket.send_message("still there?")

                assert "still there?" == await websocket.get_message()
            with pytest.raises(ConnectionClosed):
                await websocket.get_message()

    async def test_max_requests(self, autojump_clock: trio.testing.MockClock) -> None:
        """With one request more than the config allows, the server is to end; others may."""
        config = Config()
        config.max_requests = 2
        config.max_requests_jitter = 0
        bridge = Bridge(app, config, {}, Roster())
        async with served(bridge) as stream:
            client = HTTPClient(stream)
            for _ in range(2):
                await client.post("/")
            assert not bridge.terminate.is_set()

            await client.post("/")
            await bridge.terminate.wait()
            assert b"/more " == await client.post("/more")
