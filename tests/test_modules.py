"""Modules: what they add to their routes, and to those of the modules inside of them."""

import re
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tests.support import tracebacks
from triows import (
    App,
    Close,
    ConnectionClosed,
    HandshakeRejected,
    Pipe,
    Reject,
    RouteError,
    testing,
    websocket,
)
from triows._modules import Module, ModuleGroup


def routes_of(app: App) -> list[tuple[str, str]]:
    """Return the names and paths of an app's routes."""
    return [(route.name, route.template.text) for route in app.routes]


async def f() -> None:
    """Be a handler that tells the name of its route."""
    await websocket.send(str(websocket.name))


async def name_at(client: testing.Client, path: str, **headers: str) -> str:
    """Return the name of the route that `f` was reached by."""
    async with client.websocket(path, headers=headers) as peer:
        return str(await peer.receive())


class TestNames:
    """Names of routes."""

    def test_names(self) -> None:
        """A route is called like its function, after the modules that it is in."""
        app = App(__name__)
        outer = app.module(__name__, "outer", url_prefix="outer")
        inner = outer.module(__name__, "inner", url_prefix="/inner/")

        app.websocket()(f)
        app.websocket(["/a", "b", "/c"], name="g")(f)
        outer.websocket()(f)
        inner.websocket("/")(f)
        inner.websocket(("x", "y"), name="g")(f)

        assert [
            ("f", "/f"),
            ("g", "/a"),
            ("g.1", "/b"),
            ("g.2", "/c"),
            ("outer.f", "/outer/f"),
            ("outer.inner.f", "/outer/inner/"),
            ("outer.inner.g", "/outer/inner/x"),
            ("outer.inner.g.1", "/outer/inner/y"),
        ] == routes_of(app)

    def test_the_default_path_is_the_name(self) -> None:
        """A route that was given a name, but no path, is at that name."""
        app = App(__name__)
        app.websocket(name="chat")(f)

        assert [("chat", "/chat")] == routes_of(app)

    def test_the_function_comes_back(self) -> None:
        """From a group, too."""
        app = App(__name__)
        group = app.module_group(app.module(__name__, "m"))

        assert f is group.websocket("/g")(app.websocket("/a")(f))

    def test_repr(self) -> None:
        """The repr of a module says what it is called and where it is."""
        app = App(__name__)
        outer = app.module(__name__, "outer")

        assert "<Module outer at />" == repr(outer)
        assert "<Module outer.inner at /<int:n>>" == repr(
            outer.module(__name__, "inner", url_prefix="<int:n>")
        )


class TestPrefixes:
    """Paths that begin alike."""

    async def test_nested_prefixes_with_parameters(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A prefix's parameters are arguments of the handlers."""
        app = App(__name__, url_prefix="/v<int:version>")
        rooms = app.module(__name__, "rooms", url_prefix="room/<int:number>")

        @rooms.websocket("<str:tab>")
        async def handler(version: int, number: int, tab: str) -> None:
            await websocket.send(f"{version} {number} {tab}")

        async with testing.client(app) as client:
            assert "1 7 chat" == await name_at(client, "/v1/room/7/chat")

    @pytest.mark.parametrize("prefix", ["/", "", None])
    def test_no_prefix(self, prefix: str | None) -> None:
        """A slash alone adds nothing."""
        app = App(__name__, url_prefix=prefix)
        app.module(__name__, "m", url_prefix=prefix).websocket()(f)

        assert [("m.f", "/f")] == routes_of(app)

    async def test_an_optional_group_after_a_prefix(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A path that begins with an optional group is the prefix itself without it."""
        app = App(__name__)
        blog = app.module(__name__, "blog", url_prefix="/blog")

        @blog.websocket("(/<int:page>)?")
        async def handler(page: int | None) -> None:
            await websocket.send(str(page))

        async with testing.client(app) as client:
            assert ["None", "2"] == [await name_at(client, p) for p in ("/blog", "/blog/2")]

    @pytest.mark.parametrize(
        ("prefix", "message"),
        [
            ("/<int:x", "a parameter is written <type:name>$"),
            ("/<whole:x>", "unknown parameter type 'whole'"),
            ("/<int:n>", "the parameter 'n' is there twice$"),
        ],
    )
    def test_malformed(self, prefix: str, message: str) -> None:
        """A prefix is refused where it is declared, with those around it."""
        outer = App(__name__, url_prefix="/<int:n>")

        with pytest.raises(RouteError, match=message):
            outer.module(__name__, "m", url_prefix=prefix)


class TestHostnames:
    """Modules that are for one host."""

    async def test_inherited_and_overridden(self, autojump_clock: trio.testing.MockClock) -> None:
        """A module's host holds for what is inside of it, unless that has its own."""
        app = App(__name__)
        outer = app.module(__name__, "outer", hostname="a.example")
        outer.websocket("/")(f)
        outer.module(__name__, "inner").websocket("/inner")(f)
        outer.module(__name__, "other", hostname="B.example").websocket("/")(f)
        outer.websocket("/", name="own", hostname="c.example")(f)

        async with testing.client(app) as client:
            assert "outer.f" == await name_at(client, "/", host="a.example")
            assert "outer.inner.f" == await name_at(client, "/inner", host="a.example:8000")
            assert "outer.other.f" == await name_at(client, "/", host="b.example")
            assert "outer.own" == await name_at(client, "/", host="c.example")
            with pytest.raises(HandshakeRejected, match="HTTP 404"):
                await name_at(client, "/", host="d.example")


class Noting(Pipe):
    """Notes when it is opened."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    def open(self) -> None:
        """Note."""
        self.log.append(self.name)


class TestPipelines:
    """Pipes that modules add."""

    async def test_order(self, autojump_clock: trio.testing.MockClock) -> None:
        """Those of the app are outermost, those of the route innermost, whenever they came."""
        log: list[str] = []
        app = App(__name__)
        outer = app.module(__name__, "outer", pipeline=[Noting("outer", log)])
        inner = outer.module(__name__, "inner")
        inner.websocket("/", pipeline=(Noting("route", log),))(f)
        app.websocket("/app", name="g")(f)
        inner.pipeline = [Noting("inner", log)]
        app.pipeline.append(Noting("app", log))
        outer.pipeline += [Noting("late", log)]

        async with testing.client(app) as client:
            assert "outer.inner.f" == await name_at(client, "/")
            assert ["app", "outer", "late", "inner", "route"] == log
            log.clear()
            assert "g" == await name_at(client, "/app")
            assert ["app"] == log

    async def test_open_connections_keep_theirs(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A change is for later connections; what has opened is closed."""
        log: list[str] = []
        app = App(__name__)

        class Closing(Noting):
            def close(self) -> None:
                log.append(f"{self.name} closed")

        @app.websocket("/")
        async def handler() -> None:
            await websocket.receive()

        app.pipeline = [Closing("a", log)]
        async with testing.client(app) as client:
            async with client.websocket("/") as peer:
                await peer.send("")
                app.pipeline = [Closing("b", log)]
            async with client.websocket("/") as peer:
                await peer.send("")

        assert ["a", "a closed", "b", "b closed"] == log

    @pytest.mark.parametrize("wrong", [Noting, None])
    def test_what_is_no_pipe(self, wrong: Any) -> None:
        """It is refused when the pipeline is set, or the module made."""
        app = App(__name__)

        with pytest.raises(RouteError, match=r"^a pipeline is made of Pipe objects"):
            app.pipeline = [wrong]
        with pytest.raises(RouteError, match=r"^a pipeline is made of Pipe objects"):
            app.module(__name__, "m", pipeline=[wrong])
        assert [] == app.pipeline


class TestRefused:
    """What cannot be registered."""

    @pytest.mark.parametrize("name", ["", "a.b", "."])
    def test_names(self, name: str) -> None:
        """Neither an empty name nor one with a dot, of a route or of a module."""
        app = App(__name__)

        with pytest.raises(RouteError, match=rf"^'{re.escape(name)}' cannot be a name: the dots"):
            app.websocket("/", name=name)(f)
        with pytest.raises(RouteError, match=rf"^'{re.escape(name)}' cannot be a name: the dots"):
            app.module(__name__, name)

    def test_without_parentheses(self) -> None:
        """`@app.websocket` alone would register nothing."""
        with pytest.raises(RouteError, match=r"^decorate with @app\.websocket\(\), with parenthe"):
            App(__name__).websocket(f)  # type: ignore[arg-type]

    def test_no_path(self) -> None:
        """An empty list would register nothing, either."""
        with pytest.raises(RouteError, match=r"^a route needs a path: leave paths out for / and"):
            App(__name__).websocket([])(f)

    def test_a_function_without_a_name(self) -> None:
        """A partial has none; given one it can be a handler."""
        app = App(__name__)
        handler = partial(f)

        with pytest.raises(
            RouteError, match=r"^the handler functools\.partial.* has no name; give"
        ):
            app.websocket("/")(handler)
        app.websocket("/", name="g")(handler)

    def test_a_plain_function(self) -> None:
        """A handler waits, so it is async."""
        with pytest.raises(RouteError, match=r"must be an async function$"):
            App(__name__).websocket("/")(lambda: None)  # type: ignore[type-var]


async def code_at(app: App, path: str) -> int:
    """Return the close code that a peer sees."""
    async with testing.client(app) as client, client.websocket(path) as peer:
        return (await peer.wait_closed()).code


class TestErrorFunctions:
    """`on_error` of a module."""

    @staticmethod
    def failing_with(exc: Exception) -> tuple[App, Module]:
        """Return an app, and a module in one of its modules in which a handler fails."""
        app = App(__name__)
        inner = app.module(__name__, "outer").module(__name__, "inner")

        @inner.websocket("/")
        async def fail() -> None:
            await websocket.accept()
            raise exc

        return app, inner

    async def test_the_innermost_is_asked(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The module's function goes before the app's, though the app's is more specific."""
        app, inner = self.failing_with(KeyError())
        app.on_error(KeyError)(lambda _: Close(4001))
        inner.on_error(LookupError)(lambda _: Close(4002))

        assert 4002 == await code_at(app, "/")
        assert [] == tracebacks(caplog)

    async def test_the_most_specific_is_asked(self, autojump_clock: trio.testing.MockClock) -> None:
        """Within one module, in whatever order they were declared."""
        app, inner = self.failing_with(KeyError())
        inner.on_error(Exception)(lambda _: Close(4001))
        inner.on_error(KeyError)(lambda _: Close(4002))
        inner.on_error(LookupError)(lambda _: Close(4003))

        assert 4002 == await code_at(app, "/")

    async def test_further_out(self, autojump_clock: trio.testing.MockClock) -> None:
        """Where a module has no function for an exception, the one around it is asked."""
        app, inner = self.failing_with(KeyError())
        inner.on_error(ValueError)(lambda _: Close(4001))

        @app.on_error(KeyError)
        async def answer(exc: KeyError) -> Close:
            await trio.sleep(1)
            return Close(4002)

        assert 4002 == await code_at(app, "/")

    async def test_none_is_an_answer(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A function that returns None was asked; nobody further out is."""
        app, inner = self.failing_with(KeyError())
        inner.on_error(KeyError)(lambda _: None)
        app.on_error(KeyError)(lambda _: Close(4001))

        with pytest.raises(KeyError):
            await code_at(app, "/")
        assert ["KeyError"] == tracebacks(caplog)

    async def test_nobody_to_ask(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Functions of another module, or for other exceptions, are not asked."""
        app, _ = self.failing_with(KeyError())
        app.module(__name__, "other").on_error(KeyError)(lambda _: Close(4001))
        app.on_error(ConnectionClosed)(lambda _: Close(4002))

        with pytest.raises(KeyError):
            await code_at(app, "/")
        assert ["KeyError"] == tracebacks(caplog)

    async def test_failures_of_pipes(self, autojump_clock: trio.testing.MockClock) -> None:
        """A pipe around a module's route fails as its handlers do, the app's pipes included."""

        class Broken(Pipe):
            def open(self) -> None:
                raise KeyError

        app, inner = self.failing_with(ValueError())
        app.pipeline.append(Broken())
        inner.on_error(KeyError)(lambda _: Reject(418))

        with pytest.raises(HandshakeRejected, match="HTTP 418"):
            await code_at(app, "/")

    async def test_another_answer(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What is no ending is a bug of the function, and logged beside the exception."""
        app, inner = self.failing_with(KeyError())
        inner.on_error(KeyError)(lambda _: 4001)

        with pytest.RaisesGroup(
            pytest.RaisesExc(TypeError, match=r"returned 4001; return a Close, a Reject or None$"),
            KeyError,
        ):
            await code_at(app, "/")
        assert ["TypeError", "KeyError"] == tracebacks(caplog)

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            (BaseException, r"^decorate with @app.on_error\(SomeException\)$"),
            (f, r"^decorate with @app.on_error\(SomeException\)$"),
            (Close, "^Close is an ending already, not an error$"),
            (Reject, "^Reject is an ending already, not an error$"),
            (KeyError, "^there is an error function for KeyError already$"),
        ],
    )
    def test_refused(self, kind: Any, message: str) -> None:
        """What is not to be asked about, and a second function for the same."""
        module = App(__name__).module(__name__, "m")
        module.on_error(KeyError)(lambda _: None)

        with pytest.raises(RouteError, match=message):
            module.on_error(kind)


class TestGroups:
    """Several modules as one."""

    @staticmethod
    def group_of(app: App) -> ModuleGroup:
        """Return a group of two modules, at /a and /b."""
        modules = [app.module(__name__, name, url_prefix=name) for name in ("a", "b")]
        return app.module_group(*modules)

    async def test_routes(self, autojump_clock: trio.testing.MockClock) -> None:
        """A route of the group is one of each module."""
        app = App(__name__)
        self.group_of(app).websocket("/", pipeline=[Pipe()])(f)

        async with testing.client(app) as client:
            assert ["a.f", "b.f"] == [await name_at(client, path) for path in ("/a", "/b")]

    def test_modules_inside(self) -> None:
        """A module of the group is one inside of each, and a group again."""
        app = App(__name__)
        inner = self.group_of(app).module(__name__, "inner", url_prefix="in")
        inner.websocket()(f)

        assert [("a.inner.f", "/a/in/f"), ("b.inner.f", "/b/in/f")] == routes_of(app)

    def test_groups_of_groups(self) -> None:
        """A group may be in another."""
        app = App(__name__)
        group = app.module_group(self.group_of(app), app.module(__name__, "c"))
        group.websocket()(f)

        assert [("a.f", "/a/f"), ("b.f", "/b/f"), ("c.f", "/f")] == routes_of(app)

    async def test_pipes_of_each_module(self, autojump_clock: trio.testing.MockClock) -> None:
        """A route of the group has the pipes of the module that it is reached in."""
        log: list[str] = []
        app = App(__name__)
        modules = [
            app.module(__name__, name, url_prefix=name, pipeline=[Noting(name, log)])
            for name in ("a", "b")
        ]
        app.module_group(*modules).websocket("/")(f)

        async with testing.client(app) as client:
            await name_at(client, "/b")

        assert ["b"] == log

    async def test_error_functions(self, autojump_clock: trio.testing.MockClock) -> None:
        """An error function of the group is one of each module."""
        app = App(__name__)
        group = self.group_of(app)

        @group.on_error(KeyError)
        def answer(exc: KeyError) -> Close:
            return Close(4001)

        @group.websocket("/")
        async def fail() -> None:
            raise KeyError

        assert [4001, 4001] == [await code_at(app, path) for path in ("/a", "/b")]
        assert 4001 == answer(KeyError()).code


class TestGroupOfIterators:
    """What can be gone through once is for every module of a group."""

    def test_pipes(self) -> None:
        """No module of the group goes without a pipe that the others have."""
        app = App(__name__)
        group = app.module_group(
            *[app.module(__name__, name, url_prefix=name) for name in ("one", "two")]
        )
        inner = group.module(__name__, "inner", pipeline=iter([Pipe()]))
        inner.websocket("/x", "x", iter([Pipe()]), schemes=iter(["ws"]))(f)

        assert [2, 2] == [len(route.pipes) for route in app.routes]

    def test_none(self) -> None:
        """No pipeline is None, as for a route."""
        assert [] == App(__name__).module(__name__, "one", pipeline=None).pipeline
