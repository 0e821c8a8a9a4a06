"""A client that drives any ASGI app in memory: connections, requests and the lifespan."""

import math
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from trio.testing import MockClock, wait_all_tasks_blocked

from triows import (
    App,
    Close,
    CloseInfo,
    ConnectionClosed,
    HandshakeRejected,
    Limits,
    Reject,
    StateError,
    testing,
    websocket,
)
from triows._types import Receive, Scope, Send


async def fail(error: Exception) -> None:
    """Raise the error."""
    raise error


class TestConversation:
    """What a test of a handler looks like."""

    async def test_echo(self) -> None:
        """The test is the handler's peer: it sends, receives, and sees that nothing else came."""
        app = App(__name__)

        @app.websocket("/echo")
        async def echo() -> None:
            async for message in websocket:
                await websocket.send(message)

        async with testing.client(app) as client, client.websocket("/echo") as peer:
            await peer.send("hello")
            assert "hello" == await peer.receive()
            await peer.send(b"")
            assert b"" == await peer.receive()
            await peer.receive_nothing()

    async def test_two_peers(self) -> None:
        """A test may be several peers at a time."""
        app = App(__name__)
        peers: set[Any] = set()

        @app.websocket("/chat")
        async def chat() -> None:
            peers.add(websocket.unwrap())
            async for message in websocket:
                for peer in peers:
                    await peer.send(message)

        async with (
            testing.client(app) as client,
            client.websocket("/chat") as alice,
            client.websocket("/chat") as bob,
        ):
            await wait_all_tasks_blocked()
            await alice.send("hi")
            assert "hi" == await bob.receive()
            assert "hi" == await alice.receive()

    async def test_handshake(self) -> None:
        """Path, query, headers and subprotocols reach the app as a server would give them."""
        app = App(__name__)
        seen: dict[str, object] = {}

        @app.websocket("/room/<str:name>")
        async def room(name: str) -> None:
            seen.update(
                name=name,
                query=dict(websocket.query_params),
                host=websocket.host,
                origin=websocket.headers["origin"],
                url=websocket.url,
                subprotocols=websocket.subprotocols,
                client=websocket.client,
            )
            await websocket.accept("v2", {"x-room": name})

        async with (
            testing.client(app) as client,
            client.websocket(
                "/room/caf%C3%A9?q=a%20b&x=é",
                subprotocols=["v2", "v1"],
                headers={"Origin": "https://testserver"},
                scheme="wss",
            ) as peer,
        ):
            assert "v2" == peer.subprotocol
            assert "café" == peer.headers["x-room"]

        assert {
            "name": "café",
            "query": {"q": "a b", "x": "é"},
            "host": "testserver",
            "origin": "https://testserver",
            "url": "wss://testserver/room/caf%C3%A9?q=a%20b&x=%C3%A9",
            "subprotocols": ["v2", "v1"],
            "client": ("127.0.0.1", 50000),
        } == seen

    async def test_own_host(self) -> None:
        """A Host header of the test's replaces the client's."""
        app = App(__name__)
        hosts: list[str] = []

        @app.websocket("/")
        async def handler() -> None:
            hosts.append(websocket.host)
            await websocket.accept()

        headers = {"host": "example.org:8000"}
        async with testing.client(app) as client, client.websocket("/", headers=headers):
            pass

        assert ["example.org:8000"] == hosts

    async def test_rejected(self) -> None:
        """A handshake answered with HTTP raises, with what the app answered."""
        app = App(__name__)

        @app.websocket("/private")
        async def private() -> None:
            raise Reject(401, "who?", {"www-authenticate": "Bearer"})

        async with testing.client(app) as client:
            with pytest.raises(HandshakeRejected) as caught:
                async with client.websocket("/private"):
                    raise AssertionError
            with pytest.raises(HandshakeRejected, match="404"):
                async with client.websocket("/nowhere"):
                    raise AssertionError

        assert 401 == caught.value.status
        assert ("www-authenticate", "Bearer") in caught.value.headers
        assert b"who?" == caught.value.body

    async def test_work_after_a_rejection(self, autojump_clock: MockClock) -> None:
        """A handler that goes on after it has rejected is let finish, as under a server."""
        app = App(__name__)
        noted: list[str] = []

        @app.websocket("/")
        async def handler() -> None:
            await websocket.reject(403)
            await trio.sleep(1)
            noted.append("refused")

        async with testing.client(app) as client:
            with pytest.raises(HandshakeRejected):
                async with client.websocket("/"):
                    pass

        assert ["refused"] == noted

    async def test_the_app_closes(self) -> None:
        """The test sees the close; a receive that runs into it raises out of the block."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            raise Close(4404, "no such room")

        async with testing.client(app) as client:
            async with client.websocket("/") as peer:
                ending = CloseInfo(4404, "no such room", by_peer=True, clean=True)
                assert ending == await peer.wait_closed()
                assert ending == peer.closed
            with pytest.raises(ConnectionClosed) as caught:
                async with client.websocket("/") as peer:
                    await peer.receive()
            assert ending == caught.value.info

    async def test_work_after_the_close(self, autojump_clock: MockClock) -> None:
        """A handler that closes and then tidies up is let finish, though the test has ended."""
        app = App(__name__)
        noted: list[str] = []

        @app.websocket("/")
        async def handler() -> None:
            await websocket.close()
            await trio.sleep(1)
            noted.append("tidied up")

        async with testing.client(app) as client:
            with pytest.raises(ConnectionClosed):
                async with client.websocket("/") as peer:
                    await peer.receive()

        assert ["tidied up"] == noted

    @pytest.mark.parametrize(
        ("leave", "code"), [("close", 4001), ("drop", 1006), ("nothing", 1000)]
    )
    async def test_the_peer_leaves(self, leave: str, code: int) -> None:
        """Peers leave in several ways; leaving the block is an ordinary close."""
        app = App(__name__)
        endings: list[CloseInfo] = []

        @app.websocket("/")
        async def handler() -> None:
            try:
                await websocket.receive()
            except ConnectionClosed as exc:
                endings.append(exc.info)

        async with testing.client(app) as client, client.websocket("/") as peer:
            if leave == "close":
                await peer.close(4001)
            elif leave == "drop":
                peer.drop()

        assert [CloseInfo(code, "", by_peer=True)] == endings

    async def test_stall(self, autojump_clock: MockClock) -> None:
        """A peer that does not read is how bounds are tested: here `send_timeout`."""
        app = App(__name__, limits=Limits(send_timeout=20))
        seconds: list[float] = []

        @app.websocket("/")
        async def handler() -> None:
            message = await websocket.receive()
            try:
                await websocket.send(message)
            finally:
                seconds.append(trio.current_time())

        async with testing.client(app, timeout=60) as client, client.websocket("/") as peer:
            peer.stall()
            await peer.send("hello")
            await peer.wait_closed()

        assert 20 == pytest.approx(seconds[0], rel=0.25)


class TestFailures:
    """What goes wrong in the app comes out where the test can see it."""

    async def test_handler_fails(self) -> None:
        """The handler's error is raised as it is, and the wire has shown 1011."""
        app = App(__name__)
        cause = OSError("disk full")

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            raise ValueError("mine") from cause

        async with testing.client(app) as client:
            with pytest.raises(ValueError, match="mine") as caught:
                async with client.websocket("/") as peer:
                    assert 1011 == (await peer.wait_closed()).code
        assert cause is caught.value.__cause__

    async def test_instead_of_what_it_led_to(self) -> None:
        """It comes instead of the closed connection that the test ran into, or the rejection."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            if "late" in websocket.query_params:
                await websocket.accept()
            raise ValueError("mine")

        async with testing.client(app) as client:
            with pytest.raises(ValueError, match="mine") as caught:
                async with client.websocket("/?late=1") as peer:
                    await peer.receive()
            assert isinstance(caught.value.__cause__, ConnectionClosed)
            with pytest.raises(ValueError, match="mine") as caught:
                async with client.websocket("/"):
                    pass
            assert isinstance(caught.value.__cause__, HandshakeRejected)

    async def test_instead_of_what_it_led_to_in_a_nursery(self) -> None:
        """Also if the test ran into it in a task of its own, and so in a group."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            raise ValueError("mine")

        async with testing.client(app) as client:
            with pytest.raises(ValueError, match="mine"):
                async with client.websocket("/") as peer, trio.open_nursery() as nursery:
                    nursery.start_soon(peer.receive)

    async def test_what_it_was_doing_is_kept(self) -> None:
        """The error still tells which other one was being handled when it was raised."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            try:
                await fail(KeyError("first"))
            except KeyError:
                raise ValueError("second")  # noqa: B904

        async with testing.client(app) as client:
            with pytest.raises(ValueError, match="second") as caught:
                async with client.websocket("/") as peer:
                    await peer.receive()

        assert isinstance(caught.value.__context__, KeyError)

    async def test_two_failures(self) -> None:
        """Two tasks of a connection that both fail make a group; none is dropped."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            websocket.start_soon(wait_and_fail, KeyError("one"))
            await wait_and_fail(ValueError("two"))

        async def wait_and_fail(error: Exception) -> None:
            try:
                await websocket.receive()
            finally:
                raise error

        async with testing.client(app) as client:
            with pytest.RaisesGroup(KeyError, ValueError):
                async with client.websocket("/") as peer:
                    peer.drop()

    async def test_the_tests_own_failure(self) -> None:
        """An assertion of the test comes out as it is, if the app has not failed."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            await websocket.receive()

        async with testing.client(app) as client:
            with pytest.raises(AssertionError, match="mine"):
                async with client.websocket("/"):
                    raise AssertionError("mine")

    async def test_both_fail(self) -> None:
        """An assertion of the test is kept beside what the handler failed with."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            raise ValueError("the app's")

        async with testing.client(app) as client:
            with pytest.RaisesGroup(
                pytest.RaisesExc(AssertionError, match="the test's"),
                pytest.RaisesExc(ValueError, match="the app's"),
            ):
                async with client.websocket("/") as peer:
                    await peer.wait_closed()
                    raise AssertionError("the test's")

    async def test_failures_of_a_cancelled_test(self, autojump_clock: MockClock) -> None:
        """A handler that fails as the test is cancelled is heard all the same."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            try:
                await websocket.receive()
            finally:
                raise ValueError("in its cleanup")

        with pytest.RaisesGroup(ValueError, flatten_subgroups=True):
            async with testing.client(app) as client:
                with trio.move_on_after(1):
                    async with client.websocket("/"):
                        await trio.sleep_forever()

    async def test_cancelled_test(self, autojump_clock: MockClock) -> None:
        """After a test that was cancelled the app is no longer running."""
        app = App(__name__)
        ended: list[float] = []

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            try:
                await trio.sleep_forever()
            finally:
                ended.append(trio.current_time())

        async with testing.client(app) as client:
            with trio.move_on_after(1):
                async with client.websocket("/"):
                    await trio.sleep_forever()
            assert [1] == ended

    async def test_app_that_does_not_end(self, autojump_clock: MockClock) -> None:
        """A handler that stays after its peer left fails the test, which says where it is."""
        app = App(__name__)

        @app.websocket("/", on_disconnect="raise")
        async def handler() -> None:
            await websocket.accept()
            await trio.sleep_forever()

        async with testing.client(app, timeout=7) as client:
            with pytest.raises(trio.TooSlowError) as caught:
                async with client.websocket("/"):
                    pass

        assert str(caught.value).startswith("the app did not end within 7 s; the app waits at:\n")
        line = handler.__code__.co_firstlineno + 3
        assert f"{__file__}:{line} in handler" in str(caught.value)

    async def test_every_wait_ends(self, autojump_clock: MockClock) -> None:
        """A message that does not come, or an answer, is waited for as long as was said."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            if "quick" in websocket.query_params:
                await websocket.accept()
            await trio.sleep_forever()

        line = handler.__code__.co_firstlineno + 4
        where = f"{__file__}:{line} in handler"
        async with testing.client(app, timeout=7) as client:
            with pytest.raises(trio.TooSlowError, match="no message came within 7 s") as caught:
                async with client.websocket("/?quick=1") as peer:
                    await peer.receive()
            assert where in str(caught.value)
            assert 7 == trio.current_time()
            with pytest.raises(trio.TooSlowError, match="handshake was not answered") as caught:
                async with client.websocket("/"):
                    pass
            assert where in str(caught.value)
            assert 14 == trio.current_time()

    async def test_app_that_cannot_be_ended(self, autojump_clock: MockClock) -> None:
        """An app that shields itself from its end is waited for a while, and then told of."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            if scope["type"] == "lifespan":
                return
            await send({"type": "websocket.accept"})
            with trio.CancelScope(shield=True):
                await trio.sleep(25)

        with pytest.RaisesGroup(AssertionError, trio.TooSlowError):
            async with testing.client(app) as client, client.websocket("/"):
                raise AssertionError("the test's")
        assert 25 == trio.current_time()

    async def test_app_that_returns_at_once(self) -> None:
        """An app that returns without a word has refused with 500, as under a server."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            pass

        async with testing.client(app) as client:
            with pytest.raises(HandshakeRejected) as caught:
                async with client.websocket("/"):
                    pass
        assert 500 == caught.value.status

    async def test_app_that_raises(self) -> None:
        """What an app raises to the server comes out too; triows' own apps never do."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            assert "websocket" == scope["type"]
            await send({"type": "websocket.accept"})
            raise ValueError("mine")

        async with testing.client(app) as client:
            with pytest.raises(ValueError, match="mine"):
                async with client.websocket("/") as peer:
                    assert 1011 == (await peer.wait_closed()).code


class TestLifespan:
    """The app runs as long as the client's block."""

    async def test_lifespan(self) -> None:
        """It is started before the block, and shut down after it; its state is the connection's."""
        app = App(__name__)
        story: list[str] = []

        @app.lifespan
        async def lifespan() -> AsyncIterator[Mapping[str, Any]]:
            story.append("up")
            yield {"pool": "a pool"}
            story.append("down")

        @app.websocket("/")
        async def handler() -> None:
            await websocket.send(websocket.state.pool)

        async with testing.client(app) as client:
            story.append("block")
            async with client.websocket("/") as peer:
                assert "a pool" == await peer.receive()

        assert ["up", "block", "down"] == story

    async def test_fails_at_start(self) -> None:
        """An app that cannot start is no app to be tested."""
        app = App(__name__)

        @app.lifespan
        async def lifespan() -> AsyncIterator[None]:
            await fail(OSError("no database"))
            yield

        with pytest.raises(OSError, match="no database"):
            async with testing.client(app):
                raise AssertionError

    async def test_fails_at_the_end(self) -> None:
        """What the shutdown fails with comes out of the client's block."""
        app = App(__name__)

        @app.lifespan
        async def lifespan() -> AsyncIterator[None]:
            yield
            raise OSError("could not flush")

        with pytest.raises(OSError, match="could not flush"):
            async with testing.client(app):
                pass

    async def test_fails_at_the_end_of_a_failed_test(self) -> None:
        """The test's own failure is kept beside it."""
        app = App(__name__)

        @app.lifespan
        async def lifespan() -> AsyncIterator[None]:
            yield
            raise OSError("could not flush")

        with pytest.RaisesGroup(AssertionError, OSError):
            async with testing.client(app):
                raise AssertionError("the test's")

    async def test_task_of_the_app_fails(self) -> None:
        """Connections get 1011, and the failure comes out instead of what it led to."""
        app = App(__name__)
        go = trio.Event()

        async def task() -> None:
            await go.wait()
            raise OSError("the task's")

        @app.lifespan
        async def lifespan() -> AsyncIterator[None]:
            app.start_soon(task)
            yield

        @app.websocket("/")
        async def handler() -> None:
            go.set()
            await websocket.receive()

        with pytest.raises(OSError, match="the task's"):
            async with testing.client(app) as client, client.websocket("/") as peer:
                await peer.receive()

    async def test_too_slow(self, autojump_clock: MockClock) -> None:
        """An app that does not start in time fails the test."""
        app = App(__name__)

        @app.lifespan
        async def lifespan() -> AsyncIterator[None]:
            await trio.sleep(60)
            yield

        with pytest.raises(trio.TooSlowError, match="did not start within 10 s"):
            async with testing.client(app):
                raise AssertionError

    async def test_block_that_fails(self) -> None:
        """What the block fails with comes out as it is, not in a group of the client's."""
        with pytest.raises(AssertionError, match="mine"):
            async with testing.client(App(__name__)):
                raise AssertionError("mine")

    async def test_block_that_is_cancelled(self, autojump_clock: MockClock) -> None:
        """A cancelled test cancels the app, which may clean up."""
        app = App(__name__)
        story: list[str] = []

        @app.lifespan
        async def lifespan() -> AsyncIterator[None]:
            try:
                yield
            finally:
                story.append("cleaned up")

        with trio.move_on_after(1) as scope:
            async with testing.client(app):
                await trio.sleep_forever()

        assert scope.cancelled_caught
        assert ["cleaned up"] == story

    async def test_nothing_is_left(self) -> None:
        """After the block no task of app or client is left."""
        app = App(__name__)

        @app.lifespan
        async def lifespan() -> AsyncIterator[None]:
            app.start_soon(trio.sleep, math.inf)
            yield

        @app.websocket("/")
        async def handler() -> None:
            websocket.nursery.start_soon(trio.sleep_forever)
            await websocket.receive()

        before = trio.lowlevel.current_statistics().tasks_living
        async with testing.client(app) as client, client.websocket("/"):
            pass

        assert before == trio.lowlevel.current_statistics().tasks_living


class TestDrain:
    """How the app takes its leave."""

    async def test_drain(self, autojump_clock: MockClock) -> None:
        """Peers are told, the lifespan ends, and new connections are not taken."""
        app = App(__name__)
        story: list[str] = []

        @app.lifespan
        async def lifespan() -> AsyncIterator[None]:
            yield
            story.append("down")

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            await trio.sleep_forever()

        async with testing.client(app) as client:
            async with client.websocket("/") as peer:
                await client.drain()
                assert 1001 == (await peer.wait_closed()).code
                assert ["down"] == story
            with pytest.raises(StateError, match="was drained"):
                async with client.websocket("/"):
                    raise AssertionError
            with pytest.raises(StateError, match="was drained"):
                await client.request("GET", "/")
            await client.drain()

    async def test_too_slow(self, autojump_clock: MockClock) -> None:
        """A handler that does not end when the server goes fails the test."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            assert "websocket" == scope["type"]
            await send({"type": "websocket.accept"})
            with trio.CancelScope(shield=True):
                await trio.sleep(15)

        with pytest.raises(trio.TooSlowError, match="did not end within 10 s"):
            async with testing.client(app) as client, client.websocket("/"):
                await client.drain()

    async def test_failure(self) -> None:
        """What the shutdown fails with is raised by `drain`, and not a second time."""
        app = App(__name__)

        @app.lifespan
        async def lifespan() -> AsyncIterator[None]:
            yield
            raise OSError("could not flush")

        async with testing.client(app) as client:
            with pytest.raises(OSError, match="could not flush"):
                await client.drain()

    async def test_connection_that_is_only_being_opened(self, autojump_clock: MockClock) -> None:
        """A connection that was asked for just before the drain is not forgotten."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            await trio.sleep_forever()

        async def connect(client: testing.Client) -> None:
            # The client refuses, or the app does: which came first is the scheduler's choice.
            with pytest.raises((StateError, HandshakeRejected)):
                async with client.websocket("/"):
                    raise AssertionError

        for _ in range(20):
            async with testing.client(app) as client, trio.open_nursery() as nursery:
                nursery.start_soon(connect, client)
                nursery.start_soon(client.drain)

        assert 0 == trio.current_time()


class TestRequest:
    """Plain HTTP, for what an app serves beside its connections."""

    async def test_request(self) -> None:
        """Method, path, headers and body reach the app, and the whole answer comes back."""

        async def endpoint(request: Request) -> PlainTextResponse:
            body = (await request.body()).decode()
            text = f"{request.method} {request.url} {request.headers['x-a']} {body}"
            return PlainTextResponse(text, 201, {"x-b": "2"})

        app = Starlette(routes=[Route("/a b", endpoint, methods=["PUT"])])
        async with testing.client(app) as client:
            response = await client.request(
                "PUT", "/a%20b?q=1", headers={"X-A": "1"}, body=b"content"
            )

        assert 201 == response.status
        assert "2" == response.headers["X-B"]
        assert b"PUT http://testserver/a b?q=1 1 content" == response.body

    async def test_websocket_route(self) -> None:
        """Plain HTTP on a websocket route is told to upgrade."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            raise AssertionError

        async with testing.client(app) as client:
            assert 426 == (await client.request("GET", "/")).status
            assert 404 == (await client.request("GET", "/nowhere")).status

    async def test_answer_in_pieces(self) -> None:
        """A body that comes in pieces is put together."""

        async def pieces() -> AsyncGenerator[str]:
            for piece in ("one ", "two"):
                await trio.lowlevel.checkpoint()
                yield piece

        async def endpoint(_: Request) -> StreamingResponse:
            return StreamingResponse(pieces())

        async with testing.client(Starlette(routes=[Route("/", endpoint)])) as client:
            assert b"one two" == (await client.request("GET", "/")).body

    async def test_disconnect_after_the_answer(self, autojump_clock: MockClock) -> None:
        """An app that waits for the end of the request is told of it, as ASGI has it."""
        heard: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            assert "http" == scope["type"]
            await receive()
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})
            heard.append((await receive())["type"])

        async with testing.client(app) as client:
            response = await client.request("GET", "/")

        assert 204 == response.status
        assert b"" == response.body
        assert ["http.disconnect"] == heard

    async def test_app_that_fails(self) -> None:
        """What the app fails with is raised, whatever it has answered."""

        async def endpoint(_: Request) -> PlainTextResponse:
            raise KeyError("mine")

        async with testing.client(Starlette(routes=[Route("/", endpoint)])) as client:
            with pytest.raises(KeyError, match="mine"):
                await client.request("GET", "/")

    async def test_app_that_does_not_answer(self, autojump_clock: MockClock) -> None:
        """An answer is waited for as long as was said, and the error says where the app is."""

        async def endpoint(_: Request) -> PlainTextResponse:
            await trio.sleep(60)
            raise AssertionError

        app = Starlette(routes=[Route("/", endpoint)])
        async with testing.client(app, timeout=7) as client:
            with pytest.raises(trio.TooSlowError, match="did not end within 7 s") as caught:
                await client.request("GET", "/")
        line = endpoint.__code__.co_firstlineno + 1
        assert f"{__file__}:{line} in endpoint" in str(caught.value)

    async def test_app_that_answers_nothing(self) -> None:
        """An app that returns without a response has a bug."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            pass

        async with testing.client(app) as client:
            with pytest.raises(StateError, match="the app sent no response"):
                await client.request("GET", "/")

    async def test_given_up(self, autojump_clock: MockClock) -> None:
        """A request that the test gives up is cancelled in the app."""
        cancelled: list[float] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            assert "http" == scope["type"]
            await receive()
            try:
                await receive()
            finally:
                cancelled.append(trio.current_time())

        async with testing.client(app) as client:
            with trio.move_on_after(1):
                await client.request("GET", "/")
            await wait_all_tasks_blocked()
            assert [1] == cancelled


class TestStarlette:
    """The client knows nothing of triows' own apps: it drives any."""

    async def test_websocket(self) -> None:
        """An endpoint of Starlette's is tested like a handler."""

        async def echo(websocket: WebSocket) -> None:
            await websocket.accept(subprotocol="v1")
            try:
                while True:
                    await websocket.send_text(await websocket.receive_text() + "!")
            except WebSocketDisconnect as exc:
                codes.append(exc.code)

        codes: list[int] = []
        app = Starlette(routes=[WebSocketRoute("/echo", echo)])
        async with (
            testing.client(app) as client,
            client.websocket("/echo", subprotocols=["v1"]) as peer,
        ):
            assert "v1" == peer.subprotocol
            await peer.send("hello")
            assert "hello!" == await peer.receive()
            await peer.receive_nothing()
            await peer.close(4001)

        assert [4001] == codes

    async def test_rejected(self) -> None:
        """Its refusals are raised, with the response that it made of them."""

        async def closes(websocket: WebSocket) -> None:
            await websocket.close()

        async def refuses(_: WebSocket) -> None:
            raise HTTPException(401, "who?")

        app = Starlette(
            routes=[WebSocketRoute("/closes", closes), WebSocketRoute("/refuses", refuses)]
        )
        async with testing.client(app) as client:
            for path, status in (("/closes", 403), ("/refuses", 401), ("/nowhere", 403)):
                with pytest.raises(HandshakeRejected) as caught:
                    async with client.websocket(path):
                        raise AssertionError
                assert status == caught.value.status

    async def test_failure(self) -> None:
        """What its endpoints fail with comes out, too."""

        async def fail(websocket: WebSocket) -> None:
            await websocket.accept()
            raise KeyError("mine")

        app = Starlette(routes=[WebSocketRoute("/", fail)])
        async with testing.client(app) as client:
            with pytest.raises(KeyError, match="mine"):
                async with client.websocket("/") as peer:
                    await peer.receive()

    async def test_lifespan(self) -> None:
        """Its lifespan runs, and its state reaches its endpoints."""
        story: list[str] = []

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[dict[str, str]]:
            story.append("up")
            yield {"pool": "a pool"}
            story.append("down")

        async def endpoint(websocket: WebSocket) -> None:
            await websocket.accept()
            await websocket.send_text(websocket.state.pool)

        app = Starlette(routes=[WebSocketRoute("/", endpoint)], lifespan=lifespan)
        async with testing.client(app) as client, client.websocket("/") as peer:
            assert "a pool" == await peer.receive()

        assert ["up", "down"] == story

    async def test_lifespan_that_fails(self) -> None:
        """What its lifespan fails with is raised as it is."""

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            await fail(OSError("no database"))
            yield

        with pytest.raises(OSError, match="no database"):
            async with testing.client(Starlette(lifespan=lifespan)):
                raise AssertionError
