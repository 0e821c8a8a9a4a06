"""Plain HTTP on the port of the WebSockets, and WebSockets over TLS."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import trio
import trustme

from tests.e2e.clients import Closed, connect, read_to_end, upgrade
from tests.e2e.servers import Server, on_both_servers, on_every_server, serving


@on_every_server
async def test_http_on_a_websocket_route(server: str) -> None:
    """It is answered with 426, and with what to upgrade to (RFC 9110 §15.5.22)."""
    async with (
        serving("endings:app", server=server) as running,
        httpx.AsyncClient() as client,
    ):
        responses = [
            await client.request(method, running.http("/echo"), content=content)
            for method, content in [("GET", b""), ("POST", b"a body"), ("HEAD", b"")]
        ]

    for response in responses:
        assert response.status_code == 426
        assert response.headers["upgrade"] == "websocket"
        assert "upgrade" in response.headers["connection"].lower()
    assert "WebSocket" in responses[0].text
    assert responses[2].content == b""
    assert running.failures == []


@on_every_server
async def test_http_elsewhere(server: str) -> None:
    """It is answered with 404, and the connection is kept alive for the next request."""
    async with (
        serving("endings:app", server=server) as running,
        httpx.AsyncClient() as client,
    ):
        for path in ("/", "/nowhere", "/echo/nowhere", "/%00", "/../../etc/passwd"):
            response = await client.get(running.http(path))
            assert (path, response.status_code) == (path, 404)

    assert running.failures == []


@asynccontextmanager
async def serving_tls(
    server: str, folder: Path, app: str = "endings:app", *options: str
) -> AsyncGenerator[tuple[Server, ssl.SSLContext]]:
    """Serve over TLS; gives the server, and what a client needs to trust it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    pem = str(folder / "server.pem")
    async with serving(
        app, "--certfile", pem, "--keyfile", pem, *options, server=server
    ) as running:
        yield running, trust


@on_both_servers
async def test_http_2(server: str, tmp_path: Path) -> None:
    """Over HTTP/2 the answers are the same, without headers that are illegal there."""
    async with (
        serving_tls(server, tmp_path) as (running, trust),
        httpx.AsyncClient(http2=True, verify=trust) as client,
    ):
        upgrade = await client.get(running.http("/echo"))
        missing = await client.get(running.http("/nowhere"))

    assert (upgrade.http_version, upgrade.status_code) == ("HTTP/2", 426)
    assert "connection" not in upgrade.headers
    assert "upgrade" not in upgrade.headers
    assert missing.status_code == 404
    assert running.failures == []


@on_every_server
async def test_websockets_over_tls(server: str, tmp_path: Path) -> None:
    """A wss:// connection is the same as any other, and knows its scheme."""
    async with serving_tls(server, tmp_path) as (running, trust):
        async with connect(running.ws("/echo"), ssl=trust) as connection:
            await connection.send("hi")
            assert await connection.recv() == "hi"
        async with connect(running.ws("/closes"), ssl=trust) as connection:
            assert await read_to_end(connection) == Closed(4404, "no such room: größer")

    assert running.failures == []


async def test_tls_clients_that_do_not_read(tmp_path: Path) -> None:
    """A TLS client that has not read for `send_timeout` holds up neither server nor shutdown."""
    async with serving_tls("hypercorn", tmp_path, "shutdown:app", "--graceful-timeout", "1") as (
        running,
        trust,
    ):
        stream = await trio.open_ssl_over_tcp_stream(
            "127.0.0.1", running.port, ssl_context=trust, https_compatible=True
        )
        async with stream:
            await stream.send_all(upgrade(running, "/floods"))
            await stream.receive_some(1)
            taken = await running.stop()

    assert taken < 2 + 2
    assert running.failures == []
