"""What a client asked for, as a handler sees it."""

import trio
import trio.testing

from triows import App, testing, websocket
from triows._request import Request


def request_of(**scope: object) -> Request:
    """Return the request of a scope like this, as servers make them."""
    return Request({"path": "/a b", "headers": [], **scope})


async def test_a_whole_handshake(autojump_clock: trio.testing.MockClock) -> None:
    """Everything that the request said is there."""
    facts: dict[str, object] = {}
    app = App(__name__)

    @app.websocket("/room/<int:number>", name="room")
    async def handler(number: int) -> None:
        ws = websocket
        facts.update(
            scheme=ws.scheme,
            path=ws.path,
            host=ws.host,
            query=(ws.query_params.page, ws.query_params.tag, ws.query_params.nothing),
            cookies=ws.cookies,
            params=(number, ws.path_params),
            name=ws.name,
            url=ws.url,
            client=ws.client,
            server=ws.server,
            http_version=ws.http_version,
            subprotocols=ws.subprotocols,
            header=ws.headers["X-Token"],
            draining=bool(ws.draining),
            closed=ws.closed,
            is_accepted=ws.is_accepted,
        )
        await ws.accept()

    async with (
        testing.client(app) as client,
        client.websocket(
            "/room/7?page=2&tag=a&tag=b",
            headers={"Cookie": "user=joe; theme=dark", "X-Token": "t"},
            subprotocols=["v2", "v1"],
            scheme="wss",
        ),
    ):
        pass

    assert facts == {
        "scheme": "wss",
        "path": "/room/7",
        "host": "testserver",
        "query": ("2", ["a", "b"], None),
        "cookies": {"user": "joe", "theme": "dark"},
        "params": (7, {"number": 7}),
        "name": "room",
        "url": "wss://testserver/room/7?page=2&tag=a&tag=b",
        "client": ("127.0.0.1", 50000),
        "server": ("testserver", 80),
        "http_version": "1.1",
        "subprotocols": ["v2", "v1"],
        "header": "t",
        "draining": False,
        "closed": None,
        "is_accepted": False,
    }


async def test_a_bare_scope() -> None:
    """What a server left out has a default that says so."""
    ws = request_of()

    assert ("ws", "", "1.1") == (ws.scheme, ws.host, ws.http_version)
    assert ws.client is None
    assert ws.server is None
    assert [] == ws.subprotocols
    assert {} == ws.cookies
    assert ws.query_params.anything is None
    assert "ws:///a%20b" == ws.url


def test_root_path() -> None:
    """What an app is mounted at is no part of the request; "" if it is not mounted."""
    assert "/live" == request_of(root_path="/live").root_path
    assert "" == request_of().root_path


async def test_the_host_without_its_header() -> None:
    """HTTP/1.0 and some servers have no Host: the server's own address stands in."""
    assert "127.0.0.1:8000" == request_of(server=("127.0.0.1", 8000)).host


async def test_ids_are_unique() -> None:
    """Every connection has its own name, always the same."""
    ws = request_of()

    assert ws.id == ws.id
    assert ws.id != request_of().id
