"""triows beside Starlette: mounted in it, around it, and driven by its test client."""

import warnings

import httpx
import pytest
from starlette.websockets import WebSocketDisconnect

from tests.e2e.apps import endings, mounts
from tests.e2e.clients import Closed, Refused, connect, read_to_end, see
from tests.e2e.servers import on_both_servers, on_every_server, serving

with warnings.catch_warnings():
    # It would rather have httpx2, and says so where it finds httpx.
    warnings.simplefilter("ignore", UserWarning)
    from starlette.testclient import TestClient, WebSocketDenialResponse


@on_every_server
async def test_in_starlette_without_running(server: str) -> None:
    """An app that has a lifespan answers 500, and the log says `running()`; others just work."""
    async with serving("mounts:without_running", server=server) as running:
        refused = await see(running.ws("/chat/asks/7"))
        async with connect(running.ws("/plain/echo")) as connection:
            await connection.send("hi")
            assert await connection.recv() == "hi"

    assert refused == Refused(500)
    assert running.log.count("NotRunning: ") == 1
    assert "async with app.running():" in running.log


@on_every_server
async def test_in_starlette_with_running(server: str) -> None:
    """Within `app.running()` the lifespan's state is there, and `path` is the whole path."""
    async with serving("mounts:with_running", server=server) as running:
        async with connect(running.ws("/chat/asks/7")) as connection:
            assert await connection.recv() == "the pool 7 /chat/asks/7"
            assert await read_to_end(connection) == Closed(1000)
        assert await see(running.ws("/chat/nothing")) == Refused(404)
        assert await see(running.ws("/plain/rejects")) == Refused(401, "who?")

    assert running.failures == []


@on_both_servers
async def test_in_starlette_at_the_end(server: str) -> None:
    """A server that ends closes connections of a mounted app with 1001 too."""
    async with (
        serving("mounts:with_running", "--graceful-timeout", "1", server=server) as running,
        connect(running.ws("/chat/waits")) as connection,
    ):
        await running.stop()
        assert await read_to_end(connection) == Closed(1001)

    assert running.failures == []


@on_every_server
async def test_around_starlette(server: str) -> None:
    """Mounted apps get the HTTP below their prefix, and WebSockets that are no routes of ours."""
    async with serving("mounts:around", server=server) as running, httpx.AsyncClient() as client:
        page = await client.get(running.http("/static/page.html"))
        hello = await client.get(running.http("/site/hello/world"))
        async with connect(running.ws("/site/shout")) as connection:
            await connection.send("hi")
            shouted = await connection.recv()
        async with connect(running.ws("/site/ours")) as connection:
            ours = await connection.recv()

    assert (page.status_code, "A page" in page.text) == (200, True)
    assert page.headers["content-type"].startswith("text/html")
    assert hello.text == "hello world, from /site/hello/world"
    assert (shouted, ours) == ("HI", "ours")
    assert running.failures == []


@on_every_server
async def test_a_static_file_that_is_missing(server: str) -> None:
    """It is 404, although StaticFiles leaves that to the Starlette that it is not in."""
    async with serving("mounts:around", server=server) as running, httpx.AsyncClient() as client:
        missing = await client.get(running.http("/static/missing.html"))

    assert missing.status_code == 404
    assert running.failures == []


def test_starlettes_test_client() -> None:
    """Starlette's TestClient drives a triows app as it drives any other."""
    client = TestClient(endings.app, backend="trio")

    with client.websocket_connect("/echo") as session:
        session.send_text("text")
        assert session.receive_text() == "text"
        session.send_bytes(b"")
        assert session.receive_bytes() == b""


def test_starlettes_test_client_sees_a_close() -> None:
    """A close is a WebSocketDisconnect with code and reason."""
    client = TestClient(endings.app, backend="trio")

    with (
        client.websocket_connect("/closes") as session,
        pytest.raises(WebSocketDisconnect) as caught,
    ):
        session.receive_text()

    assert (caught.value.code, caught.value.reason) == (4404, "no such room: größer")


def test_starlettes_test_client_sees_a_rejection() -> None:
    """A rejection is a WebSocketDenialResponse, with status, headers and body."""
    client = TestClient(endings.app, backend="trio")

    with (
        pytest.raises(WebSocketDenialResponse) as caught,
        client.websocket_connect("/rejects"),
    ):
        pass

    assert (caught.value.status_code, caught.value.text) == (401, "who?")
    assert caught.value.headers["www-authenticate"] == "Bearer"


def test_starlettes_test_client_runs_the_lifespan() -> None:
    """As a context manager the client runs the app's lifespan, so its state is there."""
    with (
        TestClient(mounts.chat, backend="trio") as client,
        client.websocket_connect("/asks/7") as session,
    ):
        assert session.receive_text() == "the pool 7 /asks/7"


def test_starlettes_test_client_without_the_lifespan() -> None:
    """Without a context manager the lifespan does not run, and who needs it answers 500."""
    client = TestClient(mounts.chat, backend="trio")

    with (
        pytest.raises(WebSocketDenialResponse) as caught,
        client.websocket_connect("/asks/7"),
    ):
        pass

    assert caught.value.status_code == 500


def test_starlettes_test_client_over_http() -> None:
    """Plain HTTP works through it too."""
    client = TestClient(mounts.around, backend="trio")

    assert client.get("/site/ours").status_code == 404
    assert client.get("/static/page.html").status_code == 200
    assert client.get("/nowhere").status_code == 404
