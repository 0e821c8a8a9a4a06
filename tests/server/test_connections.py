"""Connections of a server: what the config makes of them, and how all of them end."""

import logging
from typing import Any

import pytest
import trio
import trio.testing
from hypercorn.config import Config
from hypercorn.logging import Logger
from websockets.frames import Opcode

from tests.e2e.clients import Closed, Refused, encode, read_to_end
from tests.server.serving import (
    accesses,
    each_way,
    for_websockets,
    handshake,
    logging_config,
    read_head,
    serving,
)
from tests.server.wires import MemoryWire
from tests.support import tracebacks
from triows import App, Drain, Limits, websocket
from triows._types import Receive, Scope, Send
from triows.server._connections import Connections
from triows.server._request_head import parse_head
from triows.server._roster import Roster
from triows.server._wheel import Wheel


def config(**settings: Any) -> Config:
    """Return a config with these settings."""
    return Config.from_mapping(settings)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Be an ASGI app that echoes text."""
    await send({"type": "websocket.accept"})
    await receive()
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


echo_app = for_websockets(echo)


def waiting_app(**options: Any) -> App:
    """Return an app of ours whose handler only waits, below /, for the peer to leave."""
    app = App(__name__, **options)

    @app.websocket("/")
    async def handler() -> None:
        async for _ in websocket:
            pass

    return app


class TestScope:
    """What the config puts into a scope."""

    async def test_the_root_path(self, loopback_clock: trio.testing.MockClock) -> None:
        """It is what the app is mounted at, and part of the path."""
        scopes: list[Scope] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scopes.append(scope)
            await send({"type": "websocket.close"})

        async with serving(for_websockets(app), config=config(root_path="/api/")) as running:
            await running.see("/api/x?y=1")

        assert ["/api", "/api/x", b"y=1"] == [
            scopes[0][name] for name in ("root_path", "path", "query_string")
        ]

    @each_way
    async def test_the_two_ends(self, way: str, loopback_clock: trio.testing.MockClock) -> None:
        """Scheme, client and server are those of the socket."""
        scopes: list[Scope] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scopes.append(scope)
            await echo(scope, receive, send)

        async with serving(for_websockets(app), way) as running, running.connect() as peer:
            client = peer.local_address

        assert ("wss" if way == "tls" else "ws") == scopes[0]["scheme"]
        assert client == scopes[0]["client"]
        assert ("127.0.0.1", running.port) == scopes[0]["server"]

    async def test_the_state_of_the_lifespan(self, loopback_clock: trio.testing.MockClock) -> None:
        """Each connection has a copy: what it puts there is its own."""
        states: list[dict[str, Any]] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            if scope["type"] == "lifespan":
                scope["state"]["pool"] = "pool"
                await send({"type": "lifespan.startup.complete"})
            else:
                states.append(dict(scope["state"]))
                scope["state"]["mine"] = "mine"
                await send({"type": "websocket.close"})

        async with serving(app) as running:
            for _ in range(2):
                await running.see()

        assert [{"pool": "pool"}] * 2 == states


class TestServerNames:
    """`server_names`: who the server answers for."""

    @each_way
    @pytest.mark.parametrize(
        ("target", "host", "status"),
        [
            ("/", "one.example", 101),
            ("/", "other.example", 404),
            ("http://one.example/", "other.example", 101),
            ("http://other.example/", "one.example", 404),
        ],
    )
    async def test_the_host(
        self,
        way: str,
        target: str,
        host: str,
        status: int,
        loopback_clock: trio.testing.MockClock,
    ) -> None:
        """Another gets 404; the host of an absolute target is the one (RFC 9112 §3.2.2)."""
        request = handshake(target).replace(b"Host: 127.0.0.1", f"Host: {host}".encode())

        async with (
            serving(echo_app, way, config=config(server_names=["one.example"])) as running,
            running.open_stream() as stream,
        ):
            await stream.send_all(request)
            assert (await read_head(stream)).startswith(f"HTTP/1.1 {status} ")


class TestHeaders:
    """The headers that the server adds."""

    @pytest.mark.parametrize("is_refused", [False, True])
    async def test_date_and_server(
        self, is_refused: bool, loopback_clock: trio.testing.MockClock
    ) -> None:
        """They are in every answer, unless the config does not want them."""
        request = handshake().replace(b"13", b"12") if is_refused else handshake()
        heads = []
        for is_wanted in (True, False):
            settings = {"include_date_header": is_wanted, "include_server_header": is_wanted}
            async with (
                serving(echo_app, config=config(**settings)) as running,
                running.open_stream() as stream,
            ):
                await stream.send_all(request)
                heads.append(await read_head(stream))

        assert "\r\nserver: triows\r\n" in heads[0]
        assert "\r\ndate: " in heads[0]
        assert "server:" not in heads[1]
        assert "date:" not in heads[1]

    async def test_one_that_cannot_be_written(self, loopback_clock: trio.testing.MockClock) -> None:
        """The server does not start with it, instead of failing at every connection."""
        broken = config(alt_svc_headers=["a\nb"])

        with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="control character")):
            async with serving(echo_app, config=broken):
                pytest.fail("it has started")


class TestBounds:
    """What of the config bounds a connection, and what does not."""

    @each_way
    async def test_messages_of_an_asgi_app(
        self, way: str, loopback_clock: trio.testing.MockClock
    ) -> None:
        """One that is larger ends the connection with 1009."""
        small = config(websocket_max_message_size=10)

        async with serving(echo_app, way, config=small) as running, running.connect() as peer:
            await peer.send("x" * 10)
            assert "x" * 10 == await peer.recv()
            await peer.send("x" * 11)
            assert 1009 == (await read_to_end(peer)).code

    @each_way
    async def test_messages_of_a_route(
        self, way: str, loopback_clock: trio.testing.MockClock
    ) -> None:
        """The config's bound is for everybody, as under hypercorn; a route's may be smaller."""
        app = waiting_app(limits=Limits(max_message_size=100))
        ends = {}
        for size in (10, 1000):
            small = config(websocket_max_message_size=size)
            async with serving(app, way, config=small) as running:
                ends[size] = await running.see("/", "x" * 11, "x" * 101)

        assert {
            10: Closed(1009, "a message is larger than 10 bytes"),
            1000: Closed(1009, "a message is larger than 100 bytes"),
        } == ends

    @each_way
    @pytest.mark.parametrize("is_ours", [False, True])
    async def test_pings(
        self, way: str, is_ours: bool, loopback_clock: trio.testing.MockClock
    ) -> None:
        """They are sent as often as the config says, to whoever has named no interval."""
        app = waiting_app() if is_ours else echo_app

        async with (
            serving(app, way, config=config(websocket_ping_interval=3)) as running,
            running.open_upgraded() as stream,
        ):
            started_at = trio.current_time()
            assert b"\x89" == await stream.receive_some(1)
            assert 3 <= trio.current_time() - started_at < 3.2

    async def test_reads(self, loopback_clock: trio.testing.MockClock) -> None:
        """`read_timeout` ends no WebSocket: a client may be alive and have nothing to say."""
        quiet = config(read_timeout=1)

        async with serving(echo_app, config=quiet) as running, running.connect() as peer:
            await trio.sleep(10)
            await peer.send("still there?")
            assert "still there?" == await peer.recv()

    async def test_pings_that_a_route_has_named(
        self, loopback_clock: trio.testing.MockClock
    ) -> None:
        """Then the route's are sent."""
        app = waiting_app(limits=Limits(ping_interval=2))

        async with (
            serving(app, config=config(websocket_ping_interval=3)) as running,
            running.open_upgraded() as stream,
        ):
            started_at = trio.current_time()
            assert b"\x89" == await stream.receive_some(1)
            assert 2 <= trio.current_time() - started_at < 2.2


class TestAccessLog:
    """`accesslog` of the config."""

    async def test_of_an_app_of_ours(
        self, loopback_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It has its own line, in `triows.access`, and no second one."""
        async with (
            serving(waiting_app(), config=logging_config(caplog)) as running,
            running.connect(),
        ):
            pass

        assert [] == accesses(caplog)
        assert ["triows.access"] == [r.name for r in caplog.records if "access" in r.name]

    async def test_that_is_not_wanted(
        self, loopback_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """By default an app that is not ours has none."""
        caplog.set_level(logging.DEBUG, "hypercorn")

        async with serving(echo_app) as running, running.connect():
            pass

        assert [] == [r for r in caplog.records if r.name.startswith("hypercorn")]

    async def test_that_fails(
        self, loopback_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged, and neither the server nor another connection is hurt."""

        class BrokenLogger(Logger):
            async def access(self, request: Any, response: Any, request_time: float) -> None:
                raise ValueError("the disk is full")

        broken = logging_config(caplog, logger_class=BrokenLogger)
        async with serving(echo_app, config=broken) as running, running.connect() as bystander:
            async with running.connect():
                pass
            await bystander.send("still there?")
            assert "still there?" == await bystander.recv()

        assert ["ValueError", "ValueError"] == tracebacks(caplog)
        assert "the access log failed" in caplog.text


class TestFailures:
    """What apps raise."""

    async def test_in_groups(
        self, loopback_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Each leaf is logged by itself."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise ExceptionGroup("", [ValueError("one"), ExceptionGroup("", [KeyError("two")])])

        async with serving(for_websockets(app)) as running:
            assert Refused(500, "Internal Server Error") == await running.see()

        assert ["ValueError", "KeyError"] == tracebacks(caplog)

    async def test_beside_a_cancellation(
        self, loopback_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """They are logged too, and the cancellation goes on up."""

        async def fail_at_the_end() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("not saved")

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_at_the_end)
                await trio.sleep_forever()

        async with serving(for_websockets(app)) as running, running.connect() as peer:
            running.scope.cancel()
            assert Closed(1001) == await read_to_end(peer)

        assert running.scope.cancelled_caught
        assert ["ValueError"] == tracebacks(caplog)

    async def test_that_are_no_exceptions(self, loopback_clock: trio.testing.MockClock) -> None:
        """What is meant to end the program does; its peer is told 1001."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await receive()
            await receive()
            raise SystemExit(3)

        ends = []
        with pytest.RaisesGroup(SystemExit):
            async with serving(for_websockets(app)) as running:
                with trio.CancelScope(shield=True):
                    ends.append(await running.see("/", "go"))

        assert [Closed(1001)] == ends


class TestDrain:
    """All connections are closed; in which order is told by `test_roster`."""

    async def test_a_connection_that_has_ended_meanwhile(
        self, loopback_clock: trio.testing.MockClock
    ) -> None:
        """Its own ending stands."""
        drain = Drain(batch=1, interval=1)
        async with (
            serving(echo_app, drain=drain) as running,
            running.connect() as first,
            running.connect() as second,
        ):
            running.stop()
            await trio.testing.wait_all_tasks_blocked()
            await second.aclose(4001)
            assert Closed(1001, "server draining") == await read_to_end(first)
            assert 4001 == second.close_code

    async def test_a_peer_that_hears_nothing(self, loopback_clock: trio.testing.MockClock) -> None:
        """One that never reads its close is dropped after `close_timeout`."""
        async with serving(echo_app) as running, running.open_upgraded() as stream:
            await stream.send_all(encode(Opcode.TEXT, b"anybody?"))
            started_at = trio.current_time()
            running.stop()
            await running.has_ended.wait()

        assert 5 <= trio.current_time() - started_at < 5.5


class BrokenWire(MemoryWire):
    """A wire whose socket cannot be told to pause."""

    def set_reading(self, reading: bool) -> None:
        """Fail to."""
        raise LookupError


class TestBehindTheHead:
    """A client may send on before its handshake is answered."""

    @each_way
    async def test_it_is_kept(self, way: str, loopback_clock: trio.testing.MockClock) -> None:
        """What has come with the head is received first."""
        async with serving(echo_app, way) as running, running.open_stream() as stream:
            await stream.send_all(handshake() + encode(Opcode.TEXT, b"early"))
            received = b""
            while not received.endswith(b"\r\n\r\n\x81\x05early"):
                data = await stream.receive_some()
                assert data
                received += data

    async def test_a_failure_there(self) -> None:
        """A connection that could not begin is none: nobody waits for it at the end."""
        roster = Roster()
        connections = Connections(echo_app, Config(), Wheel(), roster, state={}, compression=None)
        with pytest.raises(LookupError):
            connections.open(
                parse_head(handshake()),
                BrokenWire(),
                Wheel().add(),
                is_secure=False,
                client=None,
                server=None,
                rest=b"early",
            )

        assert 0 == len(roster)
