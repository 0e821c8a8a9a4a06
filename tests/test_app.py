"""The app: registration, dispatch, and what it answers to everything else."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
import trio.testing
from websockets.trio.client import connect

from tests.support import BareServer, our_server, tracebacks
from triows import (
    App,
    Close,
    CloseInfo,
    HandshakeRejected,
    InvalidMessage,
    Limits,
    Pipe,
    Reject,
    RouteError,
    StateError,
    testing,
    websocket,
)
from triows._types import Receive, Scope, Send


async def status_of(client: testing.Client, path: str, **headers: str) -> int:
    """Return the HTTP status of a handshake: 101 if it was accepted."""
    try:
        async with client.websocket(path, headers=headers):
            return 101
    except HandshakeRejected as exc:
        return exc.status


class TestRegistration:
    """`@app.websocket()`: what can be declared, and what is refused at import."""

    async def test_the_default_path_is_the_functions_name(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A handler without a path is at / and its name."""
        app = App(__name__)

        @app.websocket()
        async def echo() -> None:
            await websocket.send(str(websocket.name))

        async with testing.client(app) as client, client.websocket("/echo") as peer:
            assert "echo" == await peer.receive()

    async def test_several_paths(self, autojump_clock: trio.testing.MockClock) -> None:
        """One handler may have many paths; each is a route with a name of its own."""
        app = App(__name__)

        @app.websocket(["/a", "/b/<int:number>", "c"])
        async def f(number: int = 0) -> None:
            await websocket.send(f"{websocket.name} {number}")

        async with testing.client(app) as client:
            for path, answer in (("/a", "f 0"), ("/b/7", "f.1 7"), ("/c", "f.2 0")):
                async with client.websocket(path) as peer:
                    assert answer == await peer.receive()

    async def test_the_function_comes_back(self, autojump_clock: trio.testing.MockClock) -> None:
        """So decorators stack, and the function can be called and tested as it is."""
        app = App(__name__)

        async def handler() -> None:
            await websocket.send(str(websocket.name))

        assert handler is app.websocket("/one", name="one")(app.websocket("/two")(handler))
        async with testing.client(app) as client:
            for path, name in (("/one", "one"), ("/two", "handler")):
                async with client.websocket(path) as peer:
                    assert name == await peer.receive()

    async def test_path_parameters_are_arguments(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A handler gets the converted parameters by name."""
        app = App(__name__)

        @app.websocket("/room/<str:name>/<float:size>")
        async def room(size: float, name: str) -> None:
            await websocket.send_json([name, size])

        async with testing.client(app) as client, client.websocket("/room/blue/1.5") as peer:
            assert ["blue", 1.5] == await peer.receive_json()

    @pytest.mark.parametrize(
        ("declare", "complaint"),
        [
            (lambda app: app.websocket(handler), "with parentheses"),
            (lambda app: app.websocket()(lambda: None), "must be an async function"),
            (lambda app: app.websocket("/x", on_disconnect="drop"), "on_disconnect='drop'"),
            (lambda app: app.websocket("/x", incoming="drop"), "incoming='drop'"),
            (lambda app: app.websocket("/x", origins="example.org"), "is not an origin"),
            (lambda app: app.websocket("/<x>")(handler), "has no type"),
            (lambda app: app.websocket("/taken")(handler), "declared before"),
            (lambda app: app.websocket("/x", name="taken")(handler), "named 'taken'"),
            (lambda app: app.websocket("/<int:x>")(handler), "has no parameter for x"),
            (lambda app: app.websocket("/x", limits=5), "limits=5: give Limits(...)"),
            (lambda app: app.websocket([])(handler), "a route needs a path"),
            (lambda _: App("other", limits=5), "limits=5: give Limits(...)"),  # type: ignore[arg-type]
            (lambda app: app.mount("x", handler), "a prefix is plain text"),
            (lambda app: app.mount("/x", None), "cannot mount None: it is no ASGI app"),
            (lambda app: app.lifespan(None), "the lifespan None makes no async context manager"),
            (lambda app: app.lifespan(handler), "makes no async context manager"),
            (lambda app: app.on_error(handler), "decorate with @app.on_error"),
            (lambda app: app.on_error(BaseException), "decorate with @app.on_error"),
            (lambda app: app.on_error(Close), "Close is an ending already"),
            (lambda app: app.on_error(Reject), "Reject is an ending already"),
            (lambda app: app.on_error(KeyError), "for KeyError already"),
        ],
    )
    def test_what_is_refused(self, declare: Callable[[App], object], complaint: str) -> None:
        """Mistakes are errors where they are made, at import."""
        app = App(__name__)
        app.websocket("/taken", name="taken")(handler)
        app.on_error(KeyError)(lambda _: None)

        with pytest.raises(RouteError, match=re.escape(complaint)):
            declare(app)

    def test_a_refused_route_leaves_nothing(self) -> None:
        """After an error the name is free, and the path unknown."""
        app = App(__name__)

        with pytest.raises(RouteError):
            app.websocket("/<x>", name="x")(handler)
        app.websocket("/x", name="x")(handler)

        assert "<App tests.test_app, 1 routes>" == repr(app)


async def handler() -> None:
    """Be a handler that returns at once."""


async def needy(room: str) -> None:
    """Be a handler that needs an argument."""


class TestConverters:
    """The app's own types of path parameters."""

    async def test_converter(self, autojump_clock: trio.testing.MockClock) -> None:
        """It is known to the routes that are declared after it."""
        app = App(__name__)
        app.converter("hex", "[0-9a-f]+", lambda text: int(text, 16), "{:x}".format)

        @app.websocket("/color/<hex:color>")
        async def handler(color: int) -> None:
            await websocket.send_json([color, app.url.ws("handler", color)])

        async with testing.client(app) as client, client.websocket("/color/ff") as peer:
            assert [255, "/color/ff"] == await peer.receive_json()

    async def test_a_converter_that_fails(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Anything but ValueError is its bug: one traceback and a 500, and the server lives."""
        app = App(__name__)
        app.converter("color", "[a-z]+", {"red": 1}.__getitem__)

        @app.websocket("/<color:color>")
        async def handler(color: int) -> None:
            """Serve a color."""

        async with testing.client(app) as client:
            with pytest.raises(KeyError):
                await client.request("GET", "/mauve")
            with pytest.raises(KeyError) as failure:
                async with client.websocket("/mauve"):
                    pass

        assert isinstance(failure.value.__cause__, HandshakeRejected)
        assert 500 == failure.value.__cause__.status

        assert ["KeyError"] * 2 == tracebacks(caplog)

    async def test_a_pipeline_that_is_spoilt_later(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What is put into it while the app runs is looked at with every connection."""
        app = App(__name__)
        app.websocket("/")(handler)

        async with testing.client(app) as client:
            app.pipeline.append(Pipe)  # type: ignore[arg-type]
            with pytest.raises(RouteError, match="made of Pipe objects") as failure:
                async with client.websocket("/"):
                    pass

        assert isinstance(failure.value.__cause__, HandshakeRejected)
        assert 500 == failure.value.__cause__.status
        assert ["RouteError"] == tracebacks(caplog)

    def test_groups_and_lists(self) -> None:
        """A group declares into each of its modules; the app lists all routes."""
        app = App(__name__)
        group = app.module_group(app.module(__name__, "one"), app.module(__name__, "two"))
        with pytest.raises(RouteError, match="can never be reached"):
            group.websocket("/x", name="x")(handler)

        assert ["one.x"] == [route.name for route in app.routes]


class TestSettings:
    """What a route inherits from its app."""

    async def test_limits_of_a_route_go_over_the_apps(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A route names what differs; the rest is the app's."""
        app = App(__name__, limits=Limits(accept_timeout=2, close_timeout=1))

        @app.websocket(limits=Limits(close_timeout=3))
        async def slow() -> None:
            await trio.sleep_forever()

        async with testing.client(app) as client:
            started = trio.current_time()
            assert 503 == await status_of(client, "/slow")

        assert 2 == pytest.approx(trio.current_time() - started, abs=0.1)

    async def test_origins(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Pages of the same origin only, by default; the refusal's line names the setting."""
        app = App(__name__)
        app.websocket("/same", name="same")(accepting)
        app.websocket("/any", name="any", origins="*")(accepting)
        app.websocket("/some", name="some", origins=["https://example.org"])(accepting)

        async with testing.client(app) as client:
            seen = [
                [
                    await status_of(client, path, Origin=origin)
                    for path in ("/same", "/any", "/some")
                ]
                for origin in ("http://testserver", "http://testserver:3000", "https://example.org")
            ]
            assert 101 == await status_of(client, "/same")

        assert [[101, 101, 403], [403, 101, 403], [403, 101, 101]] == seen
        assert (
            "origin 'http://testserver:3000' is not allowed to connect to host 'testserver' "
            "by origins='same'"
        ) in caplog.text
        assert {"WARNING"} == {record.levelname for record in caplog.records}

    async def test_origins_of_the_app(self, autojump_clock: trio.testing.MockClock) -> None:
        """A route without a setting has the app's."""
        app = App(__name__, origins="https://example.org")
        app.websocket("/")(accepting)

        async with testing.client(app) as client:
            assert 403 == await status_of(client, "/", Origin="http://testserver")
            assert 101 == await status_of(client, "/", Origin="https://example.org")


async def accepting() -> None:
    """Accept, and return."""
    await websocket.accept()


class TestDispatch:
    """Which scope goes where."""

    async def test_no_route(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A connection to nowhere is 404, with an access line."""
        caplog.set_level(logging.INFO)

        async with testing.client(App(__name__)) as client:
            assert 404 == await status_of(client, "/nowhere%0a")

        assert '"WS /nowhere%0A" 404 - no route' in caplog.text

    async def test_a_peer_that_left_before_it_was_refused(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """Nothing is sent to nobody."""
        server = BareServer("websocket.disconnect")

        await server.serve(App(__name__))

        assert [] == server.sent

    async def test_a_server_that_can_only_say_403(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """Without the denial extension every refusal is a close before accept."""
        server = BareServer("websocket.connect")

        await server.serve(App(__name__))

        assert ["websocket.close"] == server.sent_types

    async def test_plain_http(self, autojump_clock: trio.testing.MockClock) -> None:
        """On a WebSocket route it is 426 and says which upgrade; elsewhere it is 404."""
        app = App(__name__)
        app.websocket("/room/<int:number>")(with_number)

        async with testing.client(app) as client:
            on_route = await client.request("GET", "/room/7")
            elsewhere = await client.request("GET", "/room/blue")

        assert 426 == on_route.status
        assert ("websocket", "upgrade") == (
            on_route.headers["upgrade"],
            on_route.headers["connection"],
        )
        assert 404 == elsewhere.status

    async def test_plain_http_2(self, autojump_clock: trio.testing.MockClock) -> None:
        """Over HTTP/2 connection headers are illegal."""
        app = App(__name__)
        app.websocket("/")(accepting)
        server = BareServer()

        await server.serve(app, type="http", http_version="2")

        names = [name for name, _ in server.sent[0]["headers"]]
        assert 426 == server.sent[0]["status"]
        assert b"upgrade" not in names
        assert b"connection" not in names

    async def test_other_scopes(self) -> None:
        """A scope that no server should send is an error."""
        with pytest.raises(StateError, match="no scope of type 'telnet'"):
            await BareServer().serve(App(__name__), type="telnet")

    def test_another_event_loop(self) -> None:
        """Started on asyncio, the app says which worker it needs."""

        class Server(BareServer):
            async def _receive(self) -> dict[str, Any]:
                return {"type": "lifespan.startup"}

            async def _send(self, event: Any) -> None:
                self.sent.append(event)

        server = Server()

        asyncio.run(server.serve(App(__name__), type="lifespan"))
        with pytest.raises(StateError, match="--worker-class trio"):
            asyncio.run(server.serve(App(__name__)))

        assert ["lifespan.startup.failed"] == server.sent_types
        assert "--worker-class trio" in server.sent[0]["message"]


async def with_number(number: int) -> None:
    """Accept a connection to a numbered room."""
    await websocket.send(str(number))


class TestMounts:
    """`app.mount()`: other ASGI apps below a prefix, and this one below another."""

    async def test_requests_below_a_prefix(self, autojump_clock: trio.testing.MockClock) -> None:
        """They go to the mounted app, with `path` whole and `root_path` grown."""
        scopes: list[tuple[str, str]] = []
        app = App(__name__)
        app.mount("/static", recording(scopes))
        app.mount("/static/deep/", recording(scopes))

        async with testing.client(app) as client:
            for path in ("/static", "/static/a.js", "/static/deep/b.js"):
                assert 204 == (await client.request("GET", path)).status
            assert 404 == (await client.request("GET", "/statics")).status

        assert [
            ("/static", "/static"),
            ("/static/a.js", "/static"),
            ("/static/deep/b.js", "/static/deep"),
        ] == scopes

    async def test_http_goes_to_mounts_first_and_websockets_to_routes(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A page and the socket that it talks to may share a path."""
        scopes: list[tuple[str, str]] = []
        app = App(__name__)
        app.mount("/", recording(scopes))
        app.websocket("/chat", name="chat")(accepting)

        async with testing.client(app) as client:
            assert 204 == (await client.request("GET", "/chat")).status
            assert 101 == await status_of(client, "/chat")
            assert 403 == await status_of(client, "/elsewhere")

        assert [("/chat", ""), ("/elsewhere", "")] == scopes

    async def test_below_another_app(self, autojump_clock: trio.testing.MockClock) -> None:
        """Routes match what comes after `root_path`; a proxy may have cut it off already."""
        app = App(__name__)
        app.websocket("/room/<int:number>")(with_number)

        for path in ("/outer/room/7", "/room/7"):
            server = BareServer("websocket.connect", "websocket.disconnect")
            await server.serve(app, path=path, root_path="/outer")
            assert "websocket.accept" in server.sent_types

    async def test_the_middle_app(self, autojump_clock: trio.testing.MockClock) -> None:
        """An app that is mounted mounts others below its own prefix."""
        scopes: list[tuple[str, str]] = []
        app = App(__name__)
        app.mount("/static", recording(scopes))

        await BareServer().serve(app, type="http", path="/outer/static/x", root_path="/outer")

        assert [("/outer/static/x", "/outer/static")] == scopes


def recording(scopes: list[tuple[str, str]]) -> Any:
    """Return an ASGI app that notes where it was asked, and has nothing to say."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append((scope["path"], scope["root_path"]))
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
            return
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    return app


class TestLife:
    """The app's lifespan, tasks and drain; more of it is in test_lifespan."""

    async def test_the_life_of_an_app(self, autojump_clock: trio.testing.MockClock) -> None:
        """It has a lifespan, tasks of two kinds, and a flag that says when it ends."""
        events: list[object] = []
        app = App(__name__, limits=Limits(max_connections=1))

        async def task(name: str) -> None:
            await app.draining
            events.append(name)

        @app.lifespan
        async def lifespan() -> AsyncIterator[dict[str, str]]:
            app.start_soon(task, "started early")
            yield {"pool": "pool"}

        @app.websocket("/")
        async def handler() -> None:
            app.nursery.start_soon(task, websocket.state.pool)
            await websocket.accept()
            assert 503 == await status_of(client, "/")
            await websocket.draining

        async with testing.client(app) as client, client.websocket("/"):
            await trio.testing.wait_all_tasks_blocked()
            assert not app.draining
            await client.drain()

        assert ["pool", "started early"] == sorted(map(str, events))

    async def test_an_app_in_another(self, autojump_clock: trio.testing.MockClock) -> None:
        """Mounted where nobody runs its lifespan, it is run by hand."""
        app = App(__name__)

        async with app.running():
            app.start_soon(trio.sleep_forever)

        assert app.draining

    async def test_an_app_that_does_not_run(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One that has a lifespan needs it: connections are 500, with the reason in the log."""
        app = App(__name__)
        app.websocket("/")(accepting)

        @app.lifespan
        async def lifespan() -> AsyncIterator[None]:
            yield

        server = BareServer("websocket.connect")
        await server.serve(app, extensions={"websocket.http.response": {}})

        assert 500 == server.sent[0]["status"]
        assert ["NotRunning"] == tracebacks(caplog)


class TestErrorFunctions:
    """`@app.on_error()`: more of it is in test_connection."""

    async def test_a_peers_fault_may_be_answered_otherwise(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """Bad JSON is 1007 unless the app says otherwise."""
        app = App(__name__)

        @app.websocket("/")
        async def strict() -> None:
            await websocket.receive_json()

        @app.on_error(InvalidMessage)
        def explain(exc: InvalidMessage) -> Close:
            return Close(4400, "send JSON")

        async with testing.client(app) as client, client.websocket("/") as peer:
            await peer.send("{")
            info = await peer.wait_closed()

        assert (4400, "send JSON") == (info.code, info.reason)

    async def test_an_async_function(self, autojump_clock: trio.testing.MockClock) -> None:
        """It may wait, and an exception of a kind that nobody asked for goes by it."""
        app = App(__name__)

        @app.on_error(LookupError)
        async def look_it_up(exc: LookupError) -> Close:
            await trio.sleep(1)
            return Close(4404, str(exc))

        @app.websocket("/<str:kind>")
        async def failing(kind: str) -> None:
            await websocket.accept()
            raise {"index": IndexError, "value": ValueError}[kind](kind)

        async with testing.client(app) as client:
            async with client.websocket("/index") as peer:
                assert 4404 == (await peer.wait_closed()).code
            with pytest.raises(ValueError, match="value"):
                async with client.websocket("/value") as peer:
                    assert 1011 == (await peer.wait_closed()).code

    async def test_an_answer_that_is_none(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Returning anything but a `Close`, a `Reject` or None is a bug of the function."""
        app = App(__name__)
        app.on_error(KeyError)(lambda _: 4400)

        @app.websocket("/")
        async def failing() -> None:
            raise KeyError

        with pytest.RaisesGroup(TypeError, KeyError):
            async with testing.client(app) as client, client.websocket("/"):
                pass

        assert ["TypeError", "KeyError"] == tracebacks(caplog)
        assert "return a Close, a Reject or None" in caplog.text


class TestOurServer:
    """An app on triows' own server."""

    async def test_it_takes_the_transport(self) -> None:
        """Of the close it knows more than ASGI can tell: that it was clean."""
        app = App(__name__)
        endings: list[CloseInfo | None] = []

        @app.websocket("/")
        async def handler() -> None:
            async for message in websocket:
                await websocket.send(message)
            endings.append(websocket.closed)

        async with our_server(app) as url:
            client: Any
            async with connect(url, proxy=None) as client:
                await client.send("hi")
                assert "hi" == await client.recv()
                await client.aclose(4001, "bye")
            while not endings:
                await trio.lowlevel.checkpoint()

        assert [CloseInfo(4001, "bye", by_peer=True, clean=True)] == endings

    async def test_a_wrapped_receive_sees_the_events(self) -> None:
        """Middleware that puts itself between gets every event; the connection goes over ASGI."""
        app = App(__name__)
        seen: list[str] = []

        @app.websocket("/")
        async def handler() -> None:
            await websocket.send(await websocket.receive())

        async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
            async def noting_receive() -> Any:
                event = await receive()
                seen.append(event["type"])
                return event

            await app(scope, noting_receive, send)

        async with our_server(middleware) as url:
            client: Any
            async with connect(url, proxy=None) as client:
                await client.send("hi")
                assert "hi" == await client.recv()

        assert ["websocket.connect", "websocket.receive"] == [
            kind for kind in seen if kind in ("websocket.connect", "websocket.receive")
        ]
