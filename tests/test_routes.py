"""A route: what its handler is called with, and how its connections are served."""

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any

import pytest
import trio
import trio.testing

from triows import App, HandshakeRejected, Limits, Pipe, RouteError, testing, websocket
from triows._pipes import Next
from triows._routes import signature_of


async def status_of(
    client: testing.Client, path: str = "/", *, scheme: str = "ws", **headers: str
) -> int:
    """Return the HTTP status of a handshake: 101 if it was accepted."""
    try:
        async with client.websocket(path, scheme=scheme, headers=headers):
            return 101
    except HandshakeRejected as exc:
        return exc.status


async def accept() -> None:
    """Be a handler that does next to nothing."""
    await websocket.accept()


class TestSignature:
    """What a handler can be called with."""

    def test_names_and_needs(self) -> None:
        """Parameters with a default can be given, those without must be."""

        async def handler(a: int, b: int = 0, *args: int, c: int, d: int = 0) -> None:
            pass

        signature = signature_of(handler)

        assert frozenset("abcd") == signature.names
        assert {"a", "c"} == signature.needed
        assert {"a": 1, "d": 2} == signature.select({"a": 1, "d": 2, "user": 3})

    def test_anything(self) -> None:
        """A handler with `**kwargs` is given everything."""

        async def handler(a: int, **kwargs: object) -> None:
            pass

        signature = signature_of(handler)

        assert None is signature.names
        assert {"a"} == signature.needed
        assert {"a": 1, "user": 3} == signature.select({"a": 1, "user": 3})

    def test_a_method_and_a_partial(self) -> None:
        """What is bound already is not asked for."""

        class Room:
            async def handle(self, number: int) -> None:
                pass

        async def handler(room: Room, number: int) -> None:
            pass

        assert {"number"} == signature_of(Room().handle).needed
        assert {"number"} == signature_of(partial(handler, Room())).needed

    def test_a_decorator_that_passes_everything_on(self) -> None:
        """Its handler is given what that has parameters for; what is missing it may give itself."""

        def with_user(function: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
            @wraps(function)
            async def wrapper(token: str, retries: int = 0, **kwargs: object) -> None:
                await function(user=token, **kwargs)

            return wrapper

        @with_user
        async def handler(user: str, number: int) -> None:
            pass

        signature = signature_of(handler)

        assert frozenset({"token", "retries", "user", "number"}) == signature.names
        assert {"token"} == signature.needed

    def test_a_decorator_that_says_what_it_takes(self) -> None:
        """What the handler inside takes does not count."""

        async def handler(user: str, number: int) -> None:
            pass

        @wraps(handler)
        async def wrapper(number: int) -> None:
            await handler("joe", number)

        signature = signature_of(wrapper)

        assert frozenset({"number"}) == signature.names == signature.needed

    def test_no_async_function(self) -> None:
        """A plain function, or an object, is refused at once."""

        def handler() -> None:
            pass

        for wrong in (handler, None):
            with pytest.raises(RouteError, match=r"^the handler .* must be an async function$"):
                signature_of(wrong)

    def test_positional_only(self) -> None:
        """Arguments go by name; one that takes no name can only keep its default."""

        async def wrong(a: int, /) -> None:
            pass

        async def right(a: int = 0, /) -> None:
            pass

        with pytest.raises(RouteError, match=r"cannot be given a: arguments go by name$"):
            signature_of(wrong)
        assert frozenset() == signature_of(right).names


class Giving(Pipe):
    """Gives every handler a user."""

    async def pipe(self, next_pipe: Next, **kwargs: Any) -> Any:
        """Add the user."""
        return await next_pipe(user="joe", **kwargs)


class TestHandlersAndTheirPaths:
    """What does not go together."""

    def test_no_parameter_for_one_of_the_path(self) -> None:
        """It is refused at registration."""
        app = App(__name__)

        with pytest.raises(
            RouteError, match=r"accept.* has no parameter for a, c, which is in its path /<int:a>"
        ):
            app.websocket("/<int:a>/b(/<str:c>)?")(accept)
        assert [] == app.routes

    async def test_a_handler_that_takes_any(self, autojump_clock: trio.testing.MockClock) -> None:
        """Has a parameter for all of them."""
        app = App(__name__)

        @app.websocket("/<int:a>(/<str:self>)?")
        async def handler(**kwargs: object) -> None:
            await websocket.send_json(kwargs)

        async with testing.client(app) as client:
            for path, answer in (("/1", {"a": 1, "self": None}), ("/1/b", {"a": 1, "self": "b"})):
                async with client.websocket(path) as peer:
                    assert answer == await peer.receive_json()

    @pytest.mark.parametrize(
        "pipes", [[], [Pipe()], [Pipe.from_context_manager(trio.open_nursery)]]
    )
    async def test_what_nothing_can_give(
        self, autojump_clock: trio.testing.MockClock, pipes: list[Pipe]
    ) -> None:
        """The app does not start with a handler that could never be called."""
        app = App(__name__)

        @app.websocket("/<int:a>", pipeline=pipes)
        async def handler(a: int, user: str, room: str, b: int = 0) -> None:
            pass

        with pytest.raises(RouteError, match=r"needs room, user: .* path /<int:a>, and .* no pipe"):
            async with testing.client(app):
                pass

    async def test_what_a_later_pipe_gives(self, autojump_clock: trio.testing.MockClock) -> None:
        """Only at the start it is known which pipes there are."""
        app = App(__name__)

        @app.websocket("/")
        async def handler(user: str) -> None:
            await websocket.send(user)

        app.pipeline.append(Giving())
        async with testing.client(app) as client, client.websocket("/") as peer:
            assert "joe" == await peer.receive()

    async def test_a_later_pipe_that_is_none(self, autojump_clock: trio.testing.MockClock) -> None:
        """A list can be added to without a look; the app does not start with it."""
        app = App(__name__)
        app.websocket("/")(accept)
        app.pipeline.append(Giving)  # type: ignore[arg-type]

        with pytest.raises(
            RouteError, match=r"made of Pipe objects, and <class .*Giving'> is none"
        ):
            async with testing.client(app):
                pass


class TestRefusedOptions:
    """What is wrong at registration."""

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                {"on_disconnect": "ignore"},
                "^on_disconnect='ignore': choose one of 'drain', 'cancel', 'raise'$",
            ),
            ({"incoming": "drop"}, "^incoming='drop': choose one of 'queue', 'discard'$"),
            ({"schemes": "https"}, "^schemes='https': there are 'ws' and 'wss'$"),
            ({"schemes": ["ws", "http"]}, "there are 'ws' and 'wss'$"),
            ({"schemes": []}, "there are 'ws' and 'wss'$"),
            ({"subprotocols": "a b"}, "^subprotocol 'a b' is not a token"),
            ({"subprotocols": ["v1", ""]}, "^subprotocol '' is not a token"),
            ({"pipeline": [Giving]}, "^a pipeline is made of Pipe objects"),
            ({"origins": "example.org"}, "^origins: 'example.org' is not an origin"),
        ],
    )
    def test_options(self, options: dict[str, Any], message: str) -> None:
        """The error says what there is to choose from."""
        with pytest.raises(RouteError, match=message):
            App(__name__).websocket("/", **options)

    def test_a_name_that_is_taken(self) -> None:
        """Two routes cannot have one name; the second is not added."""
        app = App(__name__)
        app.websocket("/a")(accept)

        with pytest.raises(
            RouteError, match=r"^there is a route named 'accept' already; give name"
        ):
            app.websocket("/b")(accept)
        assert ["/a"] == [route.template.text for route in app.routes]

    def test_a_route_that_could_never_be_reached(self) -> None:
        """An earlier one takes all that it could; its name stays free."""
        app = App(__name__)
        app.websocket("/a")(accept)

        with pytest.raises(RouteError, match="/a/ can never be reached"):
            app.websocket("/a/", name="other")(accept)
        app.websocket("/b", name="other")(accept)

    def test_a_converter_whose_name_is_taken(self) -> None:
        """The types of path parameters have names of their own."""
        with pytest.raises(RouteError, match=r"^there is a converter 'int' already$"):
            App(__name__).converter("int", "[0-9]+", int)


class TestOptions:
    """How the connections of a route are served."""

    @pytest.mark.parametrize(
        ("schemes", "statuses"),
        [
            (None, [101, 101]),
            ("ws", [101, 404]),
            ("wss", [404, 101]),
            (["ws", "wss"], [101, 101]),
        ],
    )
    async def test_schemes(
        self,
        autojump_clock: trio.testing.MockClock,
        schemes: str | list[str] | None,
        statuses: list[int],
    ) -> None:
        """A route may be for TLS only, or for everything else."""
        app = App(__name__)
        app.websocket("/", schemes=schemes)(accept)

        async with testing.client(app) as client:
            assert statuses == [await status_of(client, scheme=s) for s in ("ws", "wss")]

    async def test_hostname(self, autojump_clock: trio.testing.MockClock) -> None:
        """Hosts are compared without case, and without a port unless one is given."""
        app = App(__name__)
        app.websocket("/", name="plain", hostname="Chat.Example.org")(accept)
        app.websocket("/port", name="port", hostname="chat.example.org:81")(accept)

        async with testing.client(app) as client:
            assert 101 == await status_of(client, host="chat.EXAMPLE.org")
            assert 101 == await status_of(client, host="chat.example.org:8000")
            assert 404 == await status_of(client, host="example.org")
            assert 101 == await status_of(client, "/port", host="chat.example.org:81")
            assert 404 == await status_of(client, "/port", host="chat.example.org")

    @pytest.mark.parametrize(
        ("subprotocols", "offered", "chosen"),
        [
            (["v2", "v1"], ["v1", "v2"], "v2"),
            ("v1", ["v0", "v1"], "v1"),
            (["v2", "v1"], ["v0"], None),
            (["v2", "v1"], [], None),
            ((), ["v1"], None),
        ],
    )
    async def test_subprotocols(
        self,
        autojump_clock: trio.testing.MockClock,
        subprotocols: str | list[str],
        offered: list[str],
        chosen: str | None,
    ) -> None:
        """The first of the route's that was offered is accepted, by the first send or receive."""
        app = App(__name__)

        @app.websocket("/", subprotocols=subprotocols)
        async def handler() -> None:
            await websocket.receive()
            await websocket.send(str(websocket.subprotocol))

        async with (
            testing.client(app) as client,
            client.websocket("/", subprotocols=offered) as peer,
        ):
            assert chosen == peer.subprotocol
            await peer.send("")
            assert str(chosen) == await peer.receive()

    @pytest.mark.parametrize("subprotocol", ["v1", "v0"])
    async def test_explicit_accept_chooses_otherwise(
        self, autojump_clock: trio.testing.MockClock, subprotocol: str
    ) -> None:
        """What the handler accepts goes before what its route prefers."""
        app = App(__name__)

        @app.websocket("/", subprotocols=["v2", "v1"])
        async def handler() -> None:
            await websocket.accept(subprotocol)

        async with (
            testing.client(app) as client,
            client.websocket("/", subprotocols=["v0", "v1", "v2"]) as peer,
        ):
            assert subprotocol == peer.subprotocol

    async def test_origins(self, autojump_clock: trio.testing.MockClock) -> None:
        """A route's own go in the place of the app's."""
        app = App(__name__, origins="https://a.example")
        app.websocket("/", name="of the app")(accept)
        app.websocket("/b", name="own", origins="https://b.example")(accept)

        async with testing.client(app) as client:
            assert 101 == await status_of(client, origin="https://a.example")
            assert 403 == await status_of(client, "/b", origin="https://a.example")
            assert 101 == await status_of(client, "/b", origin="https://b.example")

    def test_limits_that_are_none(self) -> None:
        """A bare number, say, is refused where it is written."""
        with pytest.raises(RouteError, match=r"^limits=5: give Limits"):
            App(__name__).websocket("/", limits=5)  # type: ignore[arg-type]

    def test_a_limit_of_the_app(self) -> None:
        """Of connections there is one number for all routes; a route may repeat it."""
        limits = Limits(max_connections=9)
        with pytest.raises(RouteError, match=r"^max_connections is of the whole app"):
            App(__name__).websocket("/", limits=limits)
        App(__name__, limits=limits).websocket("/", limits=limits)(accept)

    def test_limits(self) -> None:
        """Those that a route names go over the app's, which are there for the rest."""
        app = App(__name__, limits=Limits(idle_timeout=60, inbox_messages=5))
        app.websocket("/", limits=Limits(inbox_messages=7))(accept)

        limits = app.routes[0].options.limits

        assert (60, 7) == (limits.idle_timeout, limits.inbox_messages)

    async def test_converters_of_the_app(self, autojump_clock: trio.testing.MockClock) -> None:
        """A type that was added converts the parameters of later routes."""
        app = App(__name__)
        app.converter("hex", "[0-9a-f]+", partial(int, base=16))

        @app.websocket("/<hex:number>")
        async def handler(number: int) -> None:
            await websocket.send(str(number))

        async with testing.client(app) as client, client.websocket("/ff") as peer:
            assert "255" == await peer.receive()
