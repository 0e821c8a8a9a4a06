"""Middleware and apps that others wrote, on our own server: all of ASGI, and nothing bypassed."""

import httpx
import pytest

from tests.e2e.clients import Closed, connect, open_socket, read_head, read_to_end, see, upgrade
from tests.e2e.servers import Server, running

pytestmark = pytest.mark.timeout(60)

SENT = 3
"""Messages, each of which comes back."""

RECEIVES = f"middleware has seen come: {{'websocket.connect': 1, 'websocket.receive': {SENT}, "
SENDS = f"middleware has seen go: {{'websocket.accept': 1, 'websocket.send': {SENT}"


async def converse(server: Server) -> str:
    """Exchange a few messages, close with 4999, and return the header that middleware adds."""
    async with connect(server.ws("/echo")) as connection:
        for i in range(SENT):
            await connection.send(f"{i}")
            assert await connection.recv() == f"{i}"
        await connection.aclose(4999, "as I say")
        assert connection.response is not None
        return connection.response.headers.get("x-middleware", "")


@pytest.mark.parametrize("target", ["both", "receiving", "sending", "starlette"])
async def test_middleware_sees_everything(target: str) -> None:
    """It sees each event of the ways it looks at, and the handler is told the true close."""
    async with running(f"middlewares:{target}") as server:
        header = await converse(server)
        await server.wait_for("triows.access")
        await server.wait_for("the handler was told")

    assert server.log.count("the handler was told peer closed 4999 'as I say'") == 1
    assert header == ("" if target == "receiving" else "was here")
    assert (SENDS in server.log) == (target != "receiving")
    assert (RECEIVES in server.log) == (target != "sending")
    assert ("middleware was told 4999 'as I say'" in server.log) == (target != "sending")
    assert server.failures == []
    assert "Traceback" not in server.log


@pytest.mark.parametrize("target", ["both", "starlette"])
async def test_who_only_sends(target: str) -> None:
    """A send is told the true close, too, and what the client had sent before is received."""
    async with running(f"middlewares:{target}") as server:
        async with connect(server.ws("/talks")) as connection:
            await connection.recv()
            for i in range(SENT):
                await connection.send(f"{i}")
            await connection.aclose(4999, "as I say")
        await server.wait_for("triows.access")

    ending = "was told peer closed 4999 'as I say', and was left ['0', '1', '2']"
    assert ending in server.log
    assert '"WS /talks" 101 4999 ' in server.log
    assert "Traceback" not in server.log


@pytest.mark.parametrize("target", ["both", "starlette"])
async def test_middleware_sees_a_rejection(target: str) -> None:
    """The response that refuses a handshake passes through it, too."""
    async with running(f"middlewares:{target}") as server, open_socket(server) as stream:
        await stream.send_all(upgrade(server, "/rejects"))
        head = await read_head(stream)

    assert head.startswith("HTTP/1.1 401 ")
    assert "x-middleware: was here" in head
    assert "'websocket.http.response.start': 1" in server.log


async def test_quart_trio() -> None:
    """Its apps run as they are: WebSockets, closes and HTTP."""
    async with running("quarts:app") as server, httpx.AsyncClient() as client:
        await converse(server)
        assert await see(server.ws("/closes")) == Closed(4000, "enough")
        assert (await client.get(server.http("/hello"))).text == "hello"

    assert server.failures == []
    assert "Traceback" not in server.log


async def test_starlette() -> None:
    """So do those of Starlette."""
    async with running("mounts:site") as server, httpx.AsyncClient() as client:
        async with connect(server.ws("/shout")) as connection:
            await connection.send("hi")
            assert await connection.recv() == "HI"
        page = await client.get(server.http("/hello/world"))
        async with connect(server.ws("/shout")) as connection:
            await server.stop()
            ending = await read_to_end(connection)

    assert page.text == "hello world, from /hello/world"
    assert ending == Closed(1001, "server draining")
    assert server.failures == []
    assert "Traceback" not in server.log
