"""Who serves a socket: its first bytes decide."""

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypercorn.config import Config

from tests.server.serving import each_way, handshake, read_all, read_head, serving
from tests.support import tracebacks
from triows import App, websocket
from triows._types import Receive, Scope, Send
from triows.server._arrivals import FIRST_BYTES, LINGER


def talking_app() -> App:
    """Return an app with an echo, and a page below /page."""
    app = App(__name__)

    @app.websocket("/")
    async def echo() -> None:
        async for message in websocket:
            await websocket.send(message)

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"4")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"page"})

    app.mount("/page", page)
    return app


class TestLanes:
    """A handshake goes one way, and everything else the other."""

    @each_way
    async def test_both(self, way: str, loopback_clock: trio.testing.MockClock) -> None:
        """WebSockets are served beside plain HTTP, kept alive, on one port."""
        async with serving(talking_app(), way) as running:
            async with running.connect() as client:
                await client.send("hi")
                assert "hi" == await client.recv()
            async with running.http() as http:
                assert "page" == (await http.get("/page")).text
                assert "page" == (await http.get("/page")).text
                assert 426 == (await http.get("/")).status_code

    @each_way
    async def test_a_message_behind_the_handshake(
        self, way: str, loopback_clock: trio.testing.MockClock
    ) -> None:
        """What came with the head is not lost."""
        frame = b"\x81\x82\0\0\0\0hi"
        async with serving(talking_app(), way) as running, running.open_stream() as stream:
            await stream.send_all(handshake() + frame)
            await read_head(stream)
            received = b""
            while len(received) < 4:
                received += await stream.receive_some()

        assert b"\x81\x02hi" == received

    @each_way
    @pytest.mark.parametrize(
        ("request_", "status"),
        [
            (handshake().replace(b"GET", b"POST"), 405),
            (handshake().replace(b": 13", b": 12"), 426),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, 431),
        ],
        ids=["method", "version", "host", "size"],
    )
    async def test_what_is_refused(
        self, way: str, loopback_clock: trio.testing.MockClock, request_: bytes, status: int
    ) -> None:
        """The answer says what was wrong, and the connection ends with it."""
        async with serving(talking_app(), way) as running, running.open_stream() as stream:
            await stream.send_all(request_)
            head = await read_head(stream)
            # A client that only reads is let go after a while.
            began = trio.current_time()
            await read_all(stream)

            assert head.startswith(f"HTTP/1.1 {status} ")
            assert trio.current_time() - began < LINGER + 1

    @each_way
    async def test_the_rest_of_a_refused_request_is_read(
        self, way: str, loopback_clock: trio.testing.MockClock
    ) -> None:
        """Or the answer would be lost in a reset."""
        async with serving(talking_app(), way) as running, running.open_stream() as stream:
            await stream.send_all(b"nonsense\r\n\r\n" + b"x" * 100_000)

            assert (await read_head(stream)).startswith("HTTP/1.1 400 ")

    @each_way
    async def test_who_never_asks(self, way: str, loopback_clock: trio.testing.MockClock) -> None:
        """Half a request is waited for, but not for ever; one that ends early is no error."""
        async with serving(talking_app(), way) as running:
            async with running.open_stream() as stream:
                await stream.send_all(b"GET / HT")
            async with running.open_stream() as stream:
                began = trio.current_time()
                await stream.send_all(b"GET / HT")
                assert b"" == await read_all(stream)
                assert trio.current_time() - began < FIRST_BYTES + 1

    @each_way
    async def test_at_the_end(self, way: str, loopback_clock: trio.testing.MockClock) -> None:
        """A server that ends waits for no first request."""
        async with serving(talking_app(), way) as running, running.open_stream() as stream:
            await stream.send_all(b"GET / HT")
            async with running.connect():
                began = trio.current_time()
                running.stop()
                await running.has_ended.wait()

        assert trio.current_time() - began < 1

    async def test_a_unix_socket(
        self, loopback_clock: trio.testing.MockClock, tmp_path: Path
    ) -> None:
        """It is served as well; its clients have no address."""
        app = App(__name__)

        @app.websocket("/")
        async def tell() -> None:
            await websocket.send(str(websocket.client))

        path = tmp_path / "socket"
        async with serving(app, bind=f"unix:{path}") as running:
            assert [f"unix:{path}"] == running.addresses
            async with await trio.open_unix_socket(path) as stream:
                await stream.send_all(handshake())
                received = await read_all(stream)

        assert b"\x81\x04None" in received
        assert not path.exists()

    @each_way
    async def test_a_failure_of_our_own(
        self,
        way: str,
        loopback_clock: trio.testing.MockClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It ends that connection, and is logged."""

        class BrokenConfig(Config):
            @property
            def server_names(self) -> Any:
                raise LookupError("no such name")

            @server_names.setter
            def server_names(self, _: object) -> None:
                pass

        async with serving(talking_app(), way, config=BrokenConfig()) as running:
            assert "" == await running.exchange(handshake())

        assert ["LookupError" if way == "pump" else "ExceptionGroup"] == tracebacks(caplog)

    @each_way
    async def test_cancelled(self, way: str, loopback_clock: trio.testing.MockClock) -> None:
        """Clients of a server that is cancelled are told 1001 on their streams."""
        async with serving(talking_app(), way) as running, running.connect() as client:
            await client.send("hi")
            assert "hi" == await client.recv()
            running.scope.cancel()
            await client.wait_closed()

        assert 1001 == client.close_code
