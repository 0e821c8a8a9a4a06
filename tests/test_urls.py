"""URLs of routes by their names."""

import re
import string
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.support import BareServer
from triows import (
    App,
    OutsideConnection,
    Pipe,
    RouteError,
    testing,
    url,
    websocket,
)
from triows._converters import CONVERTERS, Converter
from triows._paths import Template, parse_template
from triows._pipes import Next
from triows._routing import SCHEMES, Router
from triows._urls import Urls

ID = "12345678-1234-5678-1234-56789abcdef0"
WS, WSS = frozenset({"ws"}), frozenset({"wss"})


@dataclass(frozen=True)
class Target:
    """A route, as far as its URL needs it."""

    template: Template
    hostname: str | None = None
    schemes: frozenset[str] = field(default=SCHEMES)


def urls_of(template: str) -> Urls:
    """Return the URLs of an app with a single route, whose name is `it`."""
    return Urls({"it": Target(parse_template(template))})


# Paths


@pytest.mark.parametrize(
    ("template", "args", "expected"),
    [
        # What the arguments may be
        ("/", (), "/"),
        ("/a", None, "/a"),
        ("/a", [], "/a"),
        ("/a", {}, "/a"),
        ("/<int:n>", 7, "/7"),
        ("/<int:n>", [7], "/7"),
        ("/<int:n>", (7,), "/7"),
        ("/<int:n>", {"n": 7}, "/7"),
        ("/<str:s>", "ab", "/ab"),
        ("/<int:a>/<str:b>", (1, "x"), "/1/x"),
        ("/<int:a>/<str:b>", {"b": "x", "a": 1}, "/1/x"),
        # Types
        ("/<int:n>", 2**70, f"/{2**70}"),
        ("/<int:n>", -1, "/-1"),
        ("/<float:x>", 0.1, "/0.1"),
        ("/<float:x>", -2.5e-7, "/-2.5e-07"),
        ("/<float:x>", 1e22, "/1e+22"),
        ("/<float:x>", 3, "/3"),
        ("/<date:d>", date(2024, 2, 29), "/2024-02-29"),
        ("/<date:d>", date(1, 1, 1), "/0001-01-01"),
        ("/<uuid:u>", UUID(ID), f"/{ID}"),
        ("/<uuid:u>", ID, f"/{ID}"),
        ("/<alpha:s>", "Straße", "/Stra%C3%9Fe"),
        ("/<any:r>", "", "/"),
        ("/f/<any:r>", "", "/f/"),
        ("/f/<any:r>", "a/b c/", "/f/a/b%20c/"),
        ("/f/<any:r>", "/a", "/f//a"),
        # Quoting
        ("/<str:s>", "a b", "/a%20b"),
        ("/<str:s>", "50%", "/50%25"),
        ("/<str:s>", "%2F", "/%252F"),
        ("/<str:s>", "a?b#c", "/a%3Fb%23c"),
        ("/<str:s>", "a+b&c=d;e", "/a+b&c=d;e"),
        ("/<str:s>", "漢", "/%E6%BC%A2"),
        ("/<str:s>", "a\nb", "/a%0Ab"),
        ("/<str:s>", "a\\b", "/a%5Cb"),
        ("/<str:s>", "...", "/..."),
        ("/größe/[x]", (), "/gr%C3%B6%C3%9Fe/%5Bx%5D"),
        # Optional groups
        ("/a(/<int:n>)?", (), "/a"),
        ("/a(/<int:n>)?", None, "/a"),
        ("/a(/<int:n>)?", {"n": None}, "/a"),
        ("/a(/<int:n>)?", [None], "/a"),
        ("/a(/<int:n>)?", 0, "/a/0"),
        ("/a(/<int:n>)?(/<str:s>)?", [None, "x"], "/a/x"),
        ("/a(/<int:n>)?(/<str:s>)?", [1], "/a/1"),
        ("/f/<str:name>(.<str:ext>)?", ["a", "gz"], "/f/a.gz"),
        ("/f/<str:name>(.<str:ext>)?", ["a.tar", "gz"], "/f/a.tar.gz"),
        ("/f/<str:name>(.<str:ext>)?", ["a"], "/f/a"),
        ("(/<alpha:lang>)?/home", (), "/home"),
        ("(/<int:page>)?", (), "/"),
        ("/a(/b)?", (), "/a"),
        # Several in a segment
        ("/<str:a>-<str:b>", ("x-y", "z"), "/x-y-z"),
        ("/<int:a>-<int:b>", (1, -2), "/1--2"),
        ("/a/", (), "/a/"),
    ],
)
def test_path(template: str, args: Any, expected: str) -> None:
    """A name and arguments make the path that the route would read them from."""
    assert expected == urls_of(template).ws("it", args)


@pytest.mark.parametrize(
    ("template", "args", "message"),
    [
        ("/a", [1], "/a has 0 parameters, not 1"),
        ("/<int:n>", [1, 2], "/<int:n> has 1 parameters, not 2"),
        ("/<int:n>", (), "/<int:n> needs a value for n"),
        ("/<int:n>", None, "needs a value for n"),
        ("/<int:n>", {"n": 1, "m": 2}, "/<int:n> has no parameter m"),
        ("/<int:n>", "x", "/<int:n>: 'x' cannot be its n"),
        ("/<str:s>", "", "'' cannot be its s"),
        ("/<str:s>", "a/b", "'a/b' cannot be its s"),
        ("/<float:x>", float("inf"), "inf cannot be its x"),
        ("/<date:d>", "2023-02-29", "'2023-02-29' cannot be its d"),
        # They would be read otherwise
        ("/<str:a>-<str:b>", ("x", "y-z"), "'/x-y-z' would be read as other values than {'a': 'x'"),
        ("/<str:name>(.<str:ext>)?", ["a.b"], "'/a.b' would be read as other values than"),
        ("/a(/<int:n>)?(/<str:s>)?", [None, "7"], "'/a/7' would be read as other values than"),
        ("/<str:a>-<str:b>", ("x" * 2000, "y"), "would be read as other values than"),
        ("/<str:s>", "..", "clients would resolve the dots of /.."),
        ("/<any:r>", "a/./b", "clients would resolve the dots of /a/./b"),
        ("/<str:s>", "\ud800", "has no UTF-8"),
        # Browsers would take it for //host/path
        ("/<any:r>", "/evil.org/x", "what follows the // of //evil.org/x would be a host; give"),
        ("/<any:r>/edit", "", "what follows the // of //edit would be a host"),
    ],
)
def test_refused_arguments(template: str, args: Any, message: str) -> None:
    """A URL that would not lead to the route with just these values is not built."""
    with pytest.raises(RouteError, match=re.escape(message)):
        urls_of(template).ws("it", args)


def test_slashes_at_the_beginning_behind_a_host() -> None:
    """A path that begins with two slashes is one where a host is before it."""
    assert "ws://a.org//x" == urls_of("/<any:r>").ws("it", "/x", scheme="ws", host="a.org")


def test_own_type() -> None:
    """A type of the app's own formats its values, and they are read back."""
    converters = {**CONVERTERS, "hex": Converter("[0-9a-f]+", lambda t: int(t, 16), "{:x}".format)}
    urls = Urls({"it": Target(parse_template("/<hex:n>", converters))})

    assert "/ff" == urls.ws("it", 255)


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        ({}, "there is no route named 'x'; there are: none"),
        (
            {n: Target(parse_template(n)) for n in ("b", "a")},
            "there is no route named 'x'; there are: a, b",
        ),
    ],
)
def test_unknown_name(routes: Mapping[str, Target], message: str) -> None:
    """A name that no route has is refused, with those that there are."""
    with pytest.raises(RouteError, match=f"^{message}$"):
        Urls(routes).ws("x")


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(),
    "float": st.floats(),
    "str": st.text(max_size=6) | st.text("-./7a", max_size=4),
    "date": st.dates(),
    "alpha": st.text(max_size=4) | st.text("aß1", max_size=4),
    "any": st.text(max_size=6) | st.text("-./7a", max_size=6),
    "uuid": st.uuids(),
}


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Draw a template and values for its parameters; those of optional groups may be absent."""
    values: dict[str, Any] = {}
    template = ""
    names = iter(string.ascii_lowercase)
    for segment in draw(
        st.lists(
            st.lists(st.sampled_from([*VALUES, "a", "-", "."]), min_size=1, max_size=3),
            max_size=3,
        )
    ):
        group = "/"
        is_optional = draw(st.booleans())
        is_absent = is_optional and draw(st.booleans())
        for piece in segment:
            name = next(names)
            group += f"<{piece}:{name}>" if piece in VALUES else piece
            if piece in VALUES:
                values[name] = None if is_absent else draw(VALUES[piece])
        template += f"({group})?" if is_optional else group
    return template, values


@given(calls())
def test_round_trip(call: tuple[str, dict[str, Any]]) -> None:
    """A URL, percent-decoded by the server, gives just the values it was built from."""
    text, values = call
    template = parse_template(text)
    router: Router[None] = Router()
    router.add(template, None)
    try:
        built = Urls({"it": Target(template)}).ws("it", values)
    except RouteError:
        return

    assert built.startswith("/")
    assert built.isascii()
    assert (None, values) == router.match(unquote(built, errors="strict"))


@given(st.sampled_from(["int", "float", "date", "uuid"]), st.data())
def test_every_value_has_a_url(kind: str, data: st.DataObject) -> None:
    """What is a value of its type is never refused, and comes back to the last bit."""
    value = data.draw(
        VALUES[kind].filter(lambda v: abs(v) < float("inf")) if kind == "float" else VALUES[kind]
    )
    built = urls_of(f"/<{kind}:x>").ws("it", value)
    router: Router[None] = Router()
    router.add(parse_template(f"/<{kind}:x>"), None)
    found = router.match(built)

    assert found is not None
    assert repr({"x": value}) == repr(found[1])


# The query


@pytest.mark.parametrize(
    ("params", "query"),
    [
        (None, ""),
        ({}, ""),
        ({"a": None}, ""),
        ({"a": []}, ""),
        ({"a": 1}, "?a=1"),
        ({"a": ""}, "?a="),
        ({"a": 1, "b": None, "c": "x"}, "?a=1&c=x"),
        ({"a": [1, "x y"]}, "?a=1&a=x%20y"),
        ({"a": ("x", "y")}, "?a=x&a=y"),
        ({"a b": "c&d=e/f?g#h+i%"}, "?a%20b=c%26d%3De%2Ff%3Fg%23h%2Bi%25"),
        ({"ü": "漢"}, "?%C3%BC=%E6%BC%A2"),
    ],
)
def test_params(params: dict[str, Any] | None, query: str) -> None:
    """The query is percent-encoded; a list repeats its parameter, None leaves it out."""
    assert f"/a{query}" == urls_of("/a").ws("it", params=params)


def test_params_without_utf_8() -> None:
    """What is no Unicode text cannot be part of a query."""
    with pytest.raises(RouteError, match=r"^\{'a': '\\ud800'\} has no UTF-8$"):
        urls_of("/a").ws("it", params={"a": "\ud800"})


# Outside of a connection


@pytest.mark.parametrize(
    ("target", "options", "expected"),
    [
        (Target(parse_template("/a")), {}, "/a"),
        (Target(parse_template("/a"), schemes=WSS), {}, "/a"),
        (Target(parse_template("/a")), {"scheme": "wss", "host": "x.org:81"}, "wss://x.org:81/a"),
        (Target(parse_template("/a"), schemes=WSS), {"host": "x.org"}, "wss://x.org/a"),
        (Target(parse_template("/a"), schemes=WS), {"scheme": True, "host": "x"}, "ws://x/a"),
        (Target(parse_template("/a"), "a.org", WSS), {}, "wss://a.org/a"),
        (Target(parse_template("/a"), "a.org"), {"scheme": "ws"}, "ws://a.org/a"),
        (Target(parse_template("/a"), "a.org"), {"scheme": "ws", "host": "b.org"}, "ws://b.org/a"),
    ],
)
def test_outside(target: Target, options: dict[str, Any], expected: str) -> None:
    """Outside of a connection scheme and host are those of the route, or those that are given."""
    assert expected == Urls({"it": target}).ws("it", **options)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        (Target(parse_template("/a")), {"host": "x"}, "the scheme must be given, as scheme='wss'"),
        (Target(parse_template("/a")), {"scheme": True}, "the scheme must be given"),
        (Target(parse_template("/a")), {"scheme": "ws"}, "the host must be given, as host='exa"),
        (Target(parse_template("/a"), "a.org"), {}, "the scheme must be given"),
        (
            Target(parse_template("/a")),
            {"scheme": "https", "host": "x"},
            "the scheme of a WebSocket is ws or wss, not 'https'",
        ),
    ],
)
def test_outside_something_is_missing(
    target: Target, options: dict[str, Any], message: str
) -> None:
    """Outside of a connection nobody knows the scheme and host, unless the route has them."""
    with pytest.raises(RouteError, match=re.escape(message)):
        Urls({"it": target}).ws("it", **options)


def test_app_url_anywhere() -> None:
    """An app's own `url` works without a connection, as soon as a route is declared."""
    app = App(__name__, url_prefix="/v1")
    chat = app.module(__name__, "chat", url_prefix="/chat")

    @app.websocket(["/room/<int:n>", "/hall/<int:n>"], name="room")
    async def first(n: int) -> None:
        """Never run."""

    @chat.websocket()
    async def lobby() -> None:
        """Never run."""

    assert "/v1/room/7" == app.url.ws("room", 7)
    assert "/v1/hall/7" == app.url.ws("room.1", 7)
    assert "/v1/chat/lobby" == app.url.ws("chat.lobby")


def test_module_without_a_connection() -> None:
    """`.name` means nothing where there is no connection whose module it could be."""
    app = App(__name__)

    with pytest.raises(RouteError, match=r"^'\.x' means the module of a connection, and there is"):
        app.url.ws(".x")


def test_url_outside_of_everything() -> None:
    """`url` does not know of which app, where none is running, and says what does."""
    with pytest.raises(OutsideConnection, match=r"use `app\.url\.ws`, which works anywhere"):
        url.ws("room")


# Inside of a connection


async def test_in_a_handler() -> None:
    """In a handler `url` is that of its app, and a path is enough to come back."""
    app = App(__name__)

    @app.websocket("/room/<int:n>(/<str:tab>)?")
    async def room(n: int, tab: str | None) -> None:
        await websocket.send(url.ws("room", [n + 1, "a b"], {"from": n}))

    async with testing.client(app) as client:
        async with client.websocket("/room/7") as peer:
            following = await peer.receive()
        assert "/room/8/a%20b?from=7" == following
        async with client.websocket(str(following)) as peer:
            assert "/room/9/a%20b?from=8" == await peer.receive()


@pytest.mark.parametrize(
    ("scheme", "options", "expected"),
    [
        ("ws", {}, "/it"),
        ("ws", {"scheme": True}, "ws://a.org:81/it"),
        ("wss", {"scheme": True}, "wss://a.org:81/it"),
        ("ws", {"scheme": "wss"}, "wss://a.org:81/it"),
        ("wss", {"host": "b.org"}, "wss://b.org/it"),
        ("ws", {"scheme": "wss", "host": "b.org"}, "wss://b.org/it"),
    ],
)
async def test_scheme_and_host(scheme: str, options: dict[str, Any], expected: str) -> None:
    """Scheme and host are the connection's own, unless they are given."""
    app = App(__name__)

    @app.websocket()
    async def it() -> None:
        await websocket.send(url.ws("it", **options))

    async with (
        testing.client(app) as client,
        client.websocket("/it", scheme=scheme, headers={"host": "a.org:81"}) as peer,
    ):
        assert expected == await peer.receive()


@pytest.mark.parametrize(
    ("scheme", "host", "expected"),
    [
        ("ws", "a.org", ["/plain", "wss://a.org/safe", "/here", "ws://b.org:81/there"]),
        ("wss", "A.org:80", ["/plain", "/safe", "/here", "wss://b.org:81/there"]),
        (
            "ws",
            "b.org:81",
            ["/plain", "wss://b.org:81/safe", "ws://a.org/here", "/there"],
        ),
    ],
)
async def test_routes_for_other_hosts_and_schemes(
    scheme: str, host: str, expected: list[str]
) -> None:
    """Where a path would not lead to a route, its scheme and host are there by themselves."""
    app = App(__name__)

    @app.websocket()
    async def plain() -> None:
        names = ("plain", "safe", "here", "there")
        await websocket.send_json([url.ws(name) for name in names])

    @app.websocket(schemes="wss")
    async def safe() -> None:
        """Never run."""

    @app.websocket(hostname="a.org")
    async def here() -> None:
        """Never run."""

    @app.websocket(hostname="B.org:81")
    async def there() -> None:
        """Never run."""

    async with (
        testing.client(app) as client,
        client.websocket("/plain", scheme=scheme, headers={"host": host}) as peer,
    ):
        assert expected == await peer.receive_json()


async def test_scheme_of_a_route_for_one() -> None:
    """`scheme=True` is the connection's only where the route has it."""
    app = App(__name__)

    @app.websocket(schemes="wss")
    async def safe() -> None:
        """Never run."""

    @app.websocket()
    async def plain() -> None:
        await websocket.send(url.ws("safe", scheme=True))

    async with testing.client(app) as client, client.websocket("/plain") as peer:
        assert "wss://testserver/safe" == await peer.receive()


async def test_name_in_the_same_module() -> None:
    """`.name` is a route of the module that the connection's route is in, nested or the app."""
    app = App(__name__)
    chat = app.module(__name__, "chat", url_prefix="/chat")
    rooms = chat.module(__name__, "rooms", url_prefix="/rooms")

    async def tell() -> None:
        await websocket.send(url.ws(".tell"))

    for module in (app, chat, rooms):
        module.websocket()(tell)

    async with testing.client(app) as client:
        for path in ("/tell", "/chat/tell", "/chat/rooms/tell"):
            async with client.websocket(path) as peer:
                assert path == await peer.receive()


async def test_name_in_a_group_of_modules() -> None:
    """A handler of several modules finds the routes of the one that the connection came by."""
    app = App(__name__)
    modules = [app.module(__name__, name, url_prefix=name) for name in ("v1", "v2")]

    @app.module_group(*modules).websocket()
    async def tell() -> None:
        await websocket.send(f"{url.ws('.tell')} {app.url.ws('.tell')}")

    async with testing.client(app) as client:
        for name in ("v1", "v2"):
            async with client.websocket(f"/{name}/tell") as peer:
                assert f"/{name}/tell /{name}/tell" == await peer.receive()


async def test_in_a_pipe() -> None:
    """Every hook of a pipe knows the connection, and so `url` and `.name`."""
    app = App(__name__)
    seen: list[str] = []

    class Notes(Pipe):
        """Note where everything happens."""

        def open(self) -> None:
            seen.append(f"open {url.ws('.room')}")

        async def pipe(self, next_pipe: Next, **kwargs: Any) -> Any:
            seen.append(f"pipe {url.ws('.room')}")
            return await next_pipe(**kwargs)

        def on_send(self, data: str) -> str:
            return f"{data} {url.ws('.room')}"

        def close(self) -> None:
            seen.append(f"close {url.ws('.room')}")

    chat = app.module(__name__, "chat", url_prefix="chat", pipeline=[Notes()])

    @chat.websocket()
    async def room() -> None:
        await websocket.send("you are at")

    async with testing.client(app) as client, client.websocket("/chat/room") as peer:
        assert "you are at /chat/room" == await peer.receive()

    assert ["open /chat/room", "pipe /chat/room", "close /chat/room"] == seen


async def test_in_a_task_of_a_connection() -> None:
    """A task that a handler starts belongs to the handler's app and module."""
    app = App(__name__)
    chat = app.module(__name__, "chat", url_prefix="chat")

    async def tell() -> None:
        await websocket.send(url.ws(".room"))

    @chat.websocket()
    async def room() -> None:
        websocket.nursery.start_soon(tell)
        await websocket.receive()

    async with testing.client(app) as client, client.websocket("/chat/room") as peer:
        assert "/chat/room" == await peer.receive()


# The app's own tasks


async def test_in_the_lifespan() -> None:
    """The lifespan knows its app, before and after; scheme and host it has to give."""
    app = App(__name__)
    seen: list[str] = []

    @app.lifespan
    async def lifespan() -> AsyncIterator[None]:
        seen.append(url.ws("room", 1))
        yield
        seen.append(url.ws("room", 2, scheme="ws", host="a.org"))

    @app.websocket("/room/<int:n>")
    async def room(n: int) -> None:
        """Never run."""

    async with testing.client(app):
        assert ["/room/1"] == seen

    assert ["/room/1", "ws://a.org/room/2"] == seen


async def test_in_a_task_of_the_app() -> None:
    """A task of the app knows its app, but no connection, also if a handler asked for it."""
    app = App(__name__)
    seen: list[str] = []

    async def note() -> None:
        seen.append(url.ws("room"))
        with pytest.raises(RouteError, match="and there is none"):
            url.ws(".room")

    @app.websocket()
    async def room() -> None:
        await websocket.accept()
        app.start_soon(note)

    async with testing.client(app) as client, client.websocket("/room"):
        pass

    assert ["/room"] == seen


# Mounted


async def test_mounted_in_a_triows_app() -> None:
    """A mounted app's URLs lie below its mount; those of the app around it do not."""
    outer, inner = App(__name__), App(__name__)
    outer.mount("/in ner", inner)

    @outer.websocket()
    async def room() -> None:
        """Never run."""

    @inner.websocket("/<int:n>")
    async def number(n: int) -> None:
        names = [url.ws("number", 8), inner.url.ws("number", 9), outer.url.ws("room")]
        await websocket.send_json([*names, url.ws("number", 1, scheme=True)])

    async with testing.client(outer) as client, client.websocket("/in%20ner/7") as peer:
        assert [
            "/in%20ner/8",
            "/in%20ner/9",
            "/room",
            "ws://testserver/in%20ner/1",
        ] == await peer.receive_json()


async def test_mounted_in_starlette() -> None:
    """In a Starlette too a path leads back to the mounted app."""
    inner = App(__name__)

    @inner.websocket("/<int:n>")
    async def number(n: int) -> None:
        await websocket.send(url.ws("number", n + 1))

    app = Starlette(routes=[Mount("/a", routes=[Mount("/b", app=inner)])])

    async with testing.client(app) as client:
        async with client.websocket("/a/b/7") as peer:
            following = str(await peer.receive())
        assert "/a/b/8" == following
        async with client.websocket(following) as peer:
            assert "/a/b/9" == await peer.receive()


@pytest.mark.parametrize("root_path", ["/api", "/api/"])
@pytest.mark.parametrize("path", ["/api/room", "/room"])
async def test_behind_a_proxy(root_path: str, path: str) -> None:
    """What the server says is before the app's paths comes before them, cut off or not."""
    app = App(__name__)
    seen: list[str] = []

    @app.websocket()
    async def room() -> None:
        seen.append(url.ws("room"))

    server = BareServer("websocket.connect")
    await server.serve(app, path=path, root_path=root_path)

    assert ["/api/room"] == seen


async def test_slashes_at_the_beginning_below_a_mount() -> None:
    """Behind a mount's prefix a path may go on with two slashes: that is no host."""
    outer, inner = App(__name__), App(__name__)
    outer.mount("/in", inner)

    @inner.websocket("/<any:rest>")
    async def deep(rest: str) -> None:
        await websocket.send(url.ws("deep", "/x"))

    async with testing.client(outer) as client, client.websocket("/in/") as peer:
        assert "/in//x" == await peer.receive()
