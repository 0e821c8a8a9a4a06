"""The HTTP side of an app."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount as StarletteMount
from starlette.routing import Route

from triows import App, Reject, RouteError, testing, websocket
from triows._http import (
    Mount,
    Mounts,
    answer_plainly,
    answer_upgrade_required,
    refuse_handshake,
    route_path,
)
from triows._types import Event, Receive, Scope, Send


class Server:
    """The server's end of one scope: it gives one event, and keeps what it is sent.

    Args:
        event: The type of the event.
        fails: What sending raises.
    """

    def __init__(
        self, event: str = "websocket.connect", fails: Sequence[BaseException] = ()
    ) -> None:
        self.sent: list[Event] = []
        self._event = event
        self._fails = list(fails)

    async def receive(self) -> Event:
        """Be the app's `receive`."""
        return {"type": self._event}

    async def send(self, event: Event) -> None:
        """Be the app's `send`."""
        if self._fails:
            raise self._fails.pop()
        self.sent.append(event)


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Be an ASGI app that is there to be mounted."""


# Mounts


@pytest.mark.parametrize(
    ("prefix", "path", "is_covered"),
    [
        ("/static", "/static", True),
        ("/static", "/static/", True),
        ("/static", "/static/a/b", True),
        ("/static", "/staticfile", False),
        ("/static", "/", False),
        ("/static", "/a/static", False),
        ("/static", "/STATIC", False),
        ("", "/", True),
        ("", "", True),
        ("", "/a", True),
    ],
)
def test_mount_covers(prefix: str, path: str, is_covered: bool) -> None:
    """A mount has its prefix and what is below it, not what merely begins with the same letters."""
    assert is_covered == Mount(prefix, nothing).covers(path)


def test_longest_prefix_wins() -> None:
    """The most specific mount has a path, whichever was declared first."""
    mounts = Mounts()
    for prefix in ("/a", "/", "/a/b"):
        mounts.add(prefix, nothing)

    found = [mounts.find(path) for path in ("/a/b/c", "/a/bc", "/x")]

    assert ["/a/b", "/a", ""] == [mount.prefix for mount in found if mount is not None]


def test_nothing_is_mounted_there() -> None:
    """A path outside of all mounts belongs to none."""
    mounts = Mounts()
    assert None is mounts.find("/a")

    mounts.add("/static/", nothing)
    assert None is mounts.find("/a")


@pytest.mark.parametrize("prefix", ["", "static", "/<str:name>", "/a/<any:rest>"])
def test_malformed_prefix(prefix: str) -> None:
    """A prefix is plain text that begins with a slash."""
    with pytest.raises(RouteError, match=f"^cannot mount at '{prefix}': a prefix is plain text"):
        Mounts().add(prefix, nothing)


@pytest.mark.parametrize(("first", "second"), [("/a", "/a"), ("/a", "/a/"), ("/", "/")])
def test_prefix_is_taken(first: str, second: str) -> None:
    """There is one app below a prefix."""
    mounts = Mounts()
    mounts.add(first, nothing)

    with pytest.raises(RouteError, match=f"^there is an app mounted at {second} already$"):
        mounts.add(second, nothing)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"path": "/m/a"}, ("/m/a", "/m")),
        ({"path": "/m/a", "root_path": ""}, ("/m/a", "/m")),
        ({"path": "/api/m/a", "root_path": "/api"}, ("/api/m/a", "/api/m")),
        ({"path": "/api/m/a", "root_path": "/api/"}, ("/api/m/a", "/api/m")),
        ({"path": "/m/a", "root_path": "/api"}, ("/api/m/a", "/api/m")),
        ({"path": "/m", "root_path": "/api"}, ("/api/m", "/api/m")),
    ],
    ids=["none", "empty", "whole", "slash", "cut by a proxy", "cut by a proxy, root"],
)
async def test_mounted_scope(scope: dict[str, Any], expected: tuple[str, str]) -> None:
    """A mounted app gets the whole path and a `root_path` that it begins with (ASGI)."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    server = Server()
    before = dict(scope)

    await Mount("/m", app)(scope, server.receive, server.send)

    assert [expected] == [(inner["path"], inner["root_path"]) for inner in seen]
    assert before == scope


@pytest.mark.parametrize(
    ("root_path", "path"), [("", "/m/hi"), ("/api", "/api/m/hi"), ("/api", "/m/hi")]
)
async def test_starlette_is_mounted(root_path: str, path: str) -> None:
    """A mounted Starlette finds its routes, also behind a proxy that cuts its prefix off."""

    async def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"hello from {request.url.path}")

    app = App(__name__)
    app.mount("/m", Starlette(routes=[Route("/hi", hello)]))

    async def behind_proxy(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "root_path": root_path}, receive, send)

    async with testing.client(behind_proxy) as client:
        response = await client.request("GET", path)

    assert (200, f"hello from {root_path}/m/hi".encode()) == (response.status, response.body)


# The app's own path


@pytest.mark.parametrize(
    ("path", "root_path", "own"),
    [
        ("/a", "", "/a"),
        ("/a", "/", "/a"),
        ("/api/a", "/api", "/a"),
        ("/api/a", "/api/", "/a"),
        ("/api", "/api", ""),
        ("/api/", "/api", "/"),
        ("/apis/a", "/api", "/apis/a"),
        ("/a", "/api", "/a"),
        ("/api/api/a", "/api", "/api/a"),
    ],
)
def test_route_path(path: str, root_path: str, own: str) -> None:
    """An app's own path is what comes after `root_path`, if a proxy has not cut that off."""
    assert own == route_path({"path": path, "root_path": root_path})


def test_route_path_without_a_root() -> None:
    """A server that says nothing of a `root_path` has none."""
    assert "/a" == route_path({"path": "/a"})


async def test_app_is_mounted() -> None:
    """A triows app below another finds its routes after the prefix, and shows the whole path."""
    inner = App("inner")

    @inner.websocket("/where")
    async def where() -> None:
        await websocket.send(websocket.path)

    outer = Starlette(routes=[StarletteMount("/m", inner)], lifespan=lambda _: inner.running())
    async with testing.client(outer) as client, client.websocket("/m/where") as peer:
        assert "/m/where" == await peer.receive()


# Answers


async def test_refused_handshake() -> None:
    """A handshake that no handler sees is answered with the response that it deserves."""
    server = Server()
    scope = {"type": "websocket", "extensions": {"websocket.http.response": {}}}

    await refuse_handshake(scope, server.receive, server.send, Reject(404, "no such room"))

    start, body = server.sent
    assert ("websocket.http.response.start", 404) == (start["type"], start["status"])
    assert (b"content-length", b"12") in start["headers"]
    assert ("websocket.http.response.body", b"no such room") == (body["type"], body["body"])


async def test_refused_handshake_without_the_extension() -> None:
    """A server without the extension is told to close, which it makes a 403 of."""
    server = Server()

    await refuse_handshake({"type": "websocket"}, server.receive, server.send, Reject(404))

    assert ["websocket.close"] == [event["type"] for event in server.sent]


async def test_refused_handshake_of_a_peer_that_has_left() -> None:
    """Nothing is said to a peer that is gone."""
    server = Server("websocket.disconnect")

    await refuse_handshake({"type": "websocket"}, server.receive, server.send, Reject(404))

    assert [] == server.sent


@pytest.mark.parametrize(
    "failure", [trio.BrokenResourceError(), trio.BusyResourceError(), ConnectionResetError()]
)
async def test_peer_leaves_while_it_is_refused(failure: Exception) -> None:
    """A peer that leaves in this moment is no failure of the app, and not worth a traceback."""
    server = Server(fails=[failure])

    await refuse_handshake({"type": "websocket"}, server.receive, server.send, Reject(404))

    assert [] == server.sent


@pytest.mark.parametrize("scope", [{}, {"http_version": "1.1"}])
async def test_upgrade_required(scope: dict[str, Any]) -> None:
    """Plain HTTP on a WebSocket route is 426, and names the protocol to change to."""
    server = Server()

    await answer_upgrade_required(scope, server.send)

    start, body = server.sent
    assert 426 == start["status"]
    assert [
        (b"upgrade", b"websocket"),
        (b"connection", b"upgrade"),
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"30"),
    ] == start["headers"]
    assert (b"This is a WebSocket endpoint.\n", False) == (body["body"], body["more_body"])


@pytest.mark.parametrize("version", ["1.0", "2", "3"])
async def test_upgrade_required_without_connection_headers(version: str) -> None:
    """Only HTTP/1.1 can upgrade a connection; in HTTP/2 the very headers are illegal."""
    server = Server()

    await answer_upgrade_required({"http_version": version}, server.send)

    names = [name for name, _ in server.sent[0]["headers"]]
    assert (426, [b"content-type", b"content-length"]) == (server.sent[0]["status"], names)


async def test_not_found() -> None:
    """Plain HTTP that belongs to nobody is 404."""
    server = Server()

    await answer_plainly(server.send, 404)

    start, body = server.sent
    assert ("http.response.start", 404) == (start["type"], start["status"])
    assert (b"content-length", b"10") in start["headers"]
    assert ("http.response.body", b"Not Found\n") == (body["type"], body["body"])


class StatusError(Exception):
    """What Starlette's parts raise instead of an answer, as `starlette.exceptions` has it."""

    status_code = 404
    detail = "no such file"


def failing(error: Exception) -> Mount:
    """Return a mounted app that fails."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return Mount("/static", app)


async def test_mounted_part_of_starlette() -> None:
    """An exception that stands for an answer is answered, as a Starlette around it would."""
    server = Server()

    await failing(StatusError())({"type": "http", "path": "/static/x"}, server.receive, server.send)

    start, body = server.sent
    assert 404 == start["status"]
    assert b"no such file\n" == body["body"]


@pytest.mark.parametrize(("kind", "error"), [("http", ValueError()), ("websocket", StatusError())])
async def test_mounted_app_that_fails(kind: str, error: Exception) -> None:
    """Any other failure is the server's to see."""
    server = Server()

    with pytest.raises(type(error)):
        await failing(error)({"type": kind, "path": "/static/x"}, server.receive, server.send)

    assert [] == server.sent
