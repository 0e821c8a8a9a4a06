"""ASGI events of a connection: what an app sees, what it may send, and how it ends."""

import logging
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from websockets.frames import Opcode

from tests.e2e.clients import (
    Closed,
    Refused,
    encode,
    read_to_end,
    reset_on_close,
)
from tests.server.serving import (
    accesses,
    each_way,
    for_websockets,
    handshake,
    logging_config,
    serving,
)
from tests.support import lines, tracebacks
from triows import StateError
from triows._limits import Limits
from triows._native import claim_native
from triows._types import Event, Receive, Scope, Send

Script = Callable[[Receive, Send], Awaitable[None]]


class Recorder:
    """An app that accepts, then receives until the disconnect.

    Attributes:
        events: What it has received.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.is_done = trio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Be the app."""
        await send({"type": "websocket.accept"})
        while not self.events or self.events[-1]["type"] != "websocket.disconnect":
            self.events.append(await receive())
        self.is_done.set()


def scripted(script: Script) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """Return an app whose connections have begun, and which then does this."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert {"type": "websocket.connect"} == await receive()
        await script(receive, send)

    return for_websockets(app)


def accepting(script: Script) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """Return an app that accepts, and then does this."""

    async def accept_first(receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await script(receive, send)

    return scripted(accept_first)


class TestMessages:
    """What comes and goes while the connection is open."""

    @each_way
    async def test_events_of_the_peer(
        self, way: str, loopback_clock: trio.testing.MockClock
    ) -> None:
        """The connect, each message as text or bytes, the empty too, and the disconnect."""
        app = Recorder()

        async with serving(for_websockets(app), way) as running, running.connect() as peer:
            await peer.send("text")
            await peer.send(b"bytes")
            await peer.send("")
            await peer.send(b"")
            await peer.aclose(4001, "bye")
            await app.is_done.wait()

        assert [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "bytes": None, "text": "text"},
            {"type": "websocket.receive", "bytes": b"bytes", "text": None},
            {"type": "websocket.receive", "bytes": None, "text": ""},
            {"type": "websocket.receive", "bytes": b"", "text": None},
            {
                "type": "websocket.disconnect",
                "code": 4001,
                "reason": "bye",
                "triows.by_peer": True,
            },
        ] == app.events

    @each_way
    async def test_messages_of_the_app(
        self, way: str, loopback_clock: trio.testing.MockClock
    ) -> None:
        """Text or bytes, whichever is not None; an empty one is a message."""

        async def script(receive: Receive, send: Send) -> None:
            await send({"type": "websocket.send", "text": "text"})
            await send({"type": "websocket.send", "text": None, "bytes": b"bytes"})
            await send({"type": "websocket.send", "bytes": bytearray(b"array"), "text": None})
            await send({"type": "websocket.send", "bytes": None, "text": ""})

        async with serving(accepting(script), way) as running, running.connect() as peer:
            assert ["text", b"bytes", b"array", ""] == [message async for message in peer]

    async def test_the_answer_to_the_handshake(
        self, loopback_clock: trio.testing.MockClock
    ) -> None:
        """The app chooses the subprotocol, and adds headers."""

        async def script(receive: Receive, send: Send) -> None:
            headers = [(b"X-Seen", b"yes"), (b"x-seen", b"twice")]
            await send({"type": "websocket.accept", "subprotocol": "v2", "headers": headers})

        async with (
            serving(scripted(script)) as running,
            running.connect(subprotocols=["v1", "v2"]) as peer,
        ):
            assert "v2" == peer.subprotocol
            assert peer.response is not None
            assert ["yes", "twice"] == peer.response.headers.get_all("x-seen")

    async def test_what_is_no_message(
        self, loopback_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An event without one, or with half a character, is the app's mistake."""

        async def script(receive: Receive, send: Send) -> None:
            with pytest.raises(TypeError, match="cannot send a NoneType"):
                await send({"type": "websocket.send"})
            with pytest.raises(UnicodeEncodeError):
                await send({"type": "websocket.send", "text": "\ud800"})
            await send({"type": "websocket.send", "text": "still open"})

        async with serving(accepting(script)) as running, running.connect() as peer:
            assert "still open" == await peer.recv()

        assert [] == tracebacks(caplog)


class TestDisconnect:
    """How an app learns that the peer has left."""

    @each_way
    @pytest.mark.parametrize(
        ("frame", "code"), [(encode(Opcode.CLOSE, b""), 1005), (b"", 1006)], ids=["empty", "none"]
    )
    async def test_codes_that_are_never_sent(
        self, way: str, frame: bytes, code: int, loopback_clock: trio.testing.MockClock
    ) -> None:
        """1005 stands for a close without a code, 1006 for an end without a close."""
        app = Recorder()

        async with serving(for_websockets(app), way) as running:
            async with running.open_upgraded() as stream:
                await stream.send_all(frame or b"\x81")
            await app.is_done.wait()

        assert (code, "") == (app.events[-1]["code"], app.events[-1]["reason"])

    async def test_a_reset(self, loopback_clock: trio.testing.MockClock) -> None:
        """A peer whose process died is 1006 too."""
        app = Recorder()

        async with serving(for_websockets(app)) as running:
            async with running.open_upgraded() as stream:
                assert isinstance(stream, trio.SocketStream)
                reset_on_close(stream)
            await app.is_done.wait()

        assert 1006 == app.events[-1]["code"]

    @each_way
    async def test_it_is_said_again(self, way: str, loopback_clock: trio.testing.MockClock) -> None:
        """Whoever receives after the disconnect gets it again, and does not wait for ever."""
        codes: list[int] = []

        async def script(receive: Receive, send: Send) -> None:
            codes.extend([(await receive())["code"] for _ in range(3)])

        async with serving(accepting(script), way) as running, running.connect() as peer:
            await peer.aclose(4002)

        assert [4002] * 3 == codes

    async def test_before_the_accept(self, loopback_clock: trio.testing.MockClock) -> None:
        """A peer that does not wait for its answer is 1006."""
        codes: list[int] = []

        async def script(receive: Receive, send: Send) -> None:
            codes.append((await receive())["code"])
            with pytest.raises(OSError, match="the connection has ended"):
                await send({"type": "websocket.accept"})

        async with serving(scripted(script)) as running, running.open_stream() as stream:
            await stream.send_all(handshake())

        assert [1006] == codes

    @each_way
    async def test_a_send_after_it(
        self,
        way: str,
        loopback_clock: trio.testing.MockClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It raises an OSError, which may leave the app: nobody is to blame."""
        raised: list[OSError] = []

        async def script(receive: Receive, send: Send) -> None:
            await receive()
            try:
                await send({"type": "websocket.send", "text": "too late"})
            except OSError as exc:
                raised.append(exc)
                raise

        async with serving(accepting(script), way) as running, running.connect() as peer:
            await peer.aclose(4003, "gone")

        assert ["the connection has ended: peer closed 4003 'gone'"] == [str(e) for e in raised]
        assert [] == tracebacks(caplog)

    async def test_a_send_to_another_that_is_gone(
        self, loopback_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The same error out of another's connection is a failure: this one is open."""
        sends: list[Send] = []

        async def script(receive: Receive, send: Send) -> None:
            sends.append(send)
            await receive()
            await sends[0]({"type": "websocket.send", "text": "to the first"})

        async with (
            serving(accepting(script)) as running,
            running.connect() as first,
            running.connect() as second,
        ):
            await first.aclose()
            await second.send("relay this")
            assert Closed(1011) == await read_to_end(second)

        assert ["ClientDisconnected"] == tracebacks(caplog)


class TestClose:
    """How an app ends a connection."""

    @each_way
    @pytest.mark.parametrize(
        ("event", "ending"),
        [
            ({}, Closed(1000)),
            ({"code": None, "reason": None}, Closed(1000)),
            ({"code": 4404, "reason": "no such room"}, Closed(4404, "no such room")),
            ({"code": 1001, "reason": "ä" * 100}, Closed(1001, "ä" * 61)),
        ],
        ids=str,
    )
    async def test_with_a_close_frame(
        self, way: str, event: Event, ending: Closed, loopback_clock: trio.testing.MockClock
    ) -> None:
        """The code is 1000 if none is given; a reason that is too long is cut."""

        async def script(receive: Receive, send: Send) -> None:
            await send({"type": "websocket.close", **event})

        async with serving(accepting(script), way) as running:
            assert ending == await running.see()

    async def test_with_a_code_that_cannot_be_sent(
        self, loopback_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is the app's failure, and the peer gets 1011."""

        async def script(receive: Receive, send: Send) -> None:
            await send({"type": "websocket.close", "code": 1006})

        async with serving(accepting(script)) as running:
            assert Closed(1011) == await running.see()

        assert ["ValueError"] == tracebacks(caplog)

    async def test_what_follows(self, loopback_clock: trio.testing.MockClock) -> None:
        """Once closed the app sees its own close, may close again, and can send no more."""
        received: list[Event] = []

        async def script(receive: Receive, send: Send) -> None:
            await send({"type": "websocket.close", "code": 4000, "reason": "mine"})
            await send({"type": "websocket.close", "code": 4999})
            received.append(await receive())
            with pytest.raises(OSError, match="closed 4000 'mine'"):
                await send({"type": "websocket.send", "text": "one more"})

        async with serving(accepting(script)) as running:
            assert Closed(4000, "mine") == await running.see()

        assert [
            {
                "type": "websocket.disconnect",
                "code": 4000,
                "reason": "mine",
                "triows.by_peer": False,
            }
        ] == received

    @each_way
    async def test_before_the_accept(
        self, way: str, loopback_clock: trio.testing.MockClock
    ) -> None:
        """It refuses the handshake, with 403 and no more."""

        async def script(receive: Receive, send: Send) -> None:
            await send({"type": "websocket.close", "code": 4000})

        async with serving(scripted(script), way) as running:
            assert Refused(403) == await running.see()


class TestDenial:
    """`websocket.http.response`: the handshake is answered with an HTTP response."""

    @each_way
    async def test_a_whole_response(self, way: str, loopback_clock: trio.testing.MockClock) -> None:
        """Status, headers and a body in pieces arrive as one response, and that is the end."""

        async def script(receive: Receive, send: Send) -> None:
            headers = [(b"WWW-Authenticate", b"Bearer"), (b"content-length", b"999")]
            await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
            await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b"are you?"})
            with pytest.raises(OSError, match="answered with HTTP 401"):
                await send({"type": "websocket.http.response.body"})

        async with serving(scripted(script), way) as running:
            answer = await running.exchange(handshake())

        assert answer.startswith("HTTP/1.1 401 Unauthorized\r\n")
        assert "\r\nwww-authenticate: Bearer\r\n" in answer
        assert "\r\nconnection: close\r\n" in answer
        assert answer.endswith("\r\ncontent-length: 12\r\n\r\nwho are you?")

    async def test_one_that_is_never_finished(
        self, loopback_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An app that only begins a response has not answered."""

        async def script(receive: Receive, send: Send) -> None:
            await send({"type": "websocket.http.response.start", "status": 401})

        async with serving(scripted(script)) as running:
            assert Refused(500, "Internal Server Error") == await running.see()

        assert "returned without an answer" in caplog.text

    async def test_accepted_after_all(self, loopback_clock: trio.testing.MockClock) -> None:
        """What has begun is forgotten then: no HTTP goes into an open WebSocket."""

        async def script(receive: Receive, send: Send) -> None:
            await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
            await send({"type": "websocket.accept"})
            with pytest.raises(StateError, match="the handshake was accepted before"):
                await send({"type": "websocket.http.response.body", "body": b"who?"})
            await send({"type": "websocket.send", "text": "welcome"})

        async with serving(scripted(script)) as running, running.connect() as peer:
            assert "welcome" == await peer.recv()


class TestMistakes:
    """Events that are not for now."""

    @pytest.mark.parametrize(
        "kind",
        [
            "websocket.send",
            "websocket.http.response.body",
            "websocket.receive",
            "http.response.start",
        ],
    )
    async def test_before_the_accept(
        self, kind: str, loopback_clock: trio.testing.MockClock
    ) -> None:
        """They raise, and the handshake is still to be answered."""

        async def script(receive: Receive, send: Send) -> None:
            with pytest.raises(StateError, match=f"cannot send '{kind}'.*not accepted before"):
                await send({"type": kind, "text": ""})
            await send({"type": "websocket.accept"})

        async with serving(scripted(script)) as running:
            assert Closed(1000) == await running.see()

    @pytest.mark.parametrize(
        "kind", ["websocket.accept", "websocket.http.response.start", "nonsense"]
    )
    async def test_after_the_accept(
        self, kind: str, loopback_clock: trio.testing.MockClock
    ) -> None:
        """They raise, and the connection goes on."""

        async def script(receive: Receive, send: Send) -> None:
            with pytest.raises(StateError, match=f"cannot send '{kind}'.*was accepted before"):
                await send({"type": kind, "status": 403})

        async with serving(accepting(script)) as running:
            assert Closed(1000) == await running.see()

    async def test_headers_that_split_the_response(
        self, loopback_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """They are refused before a byte of them is on the wire."""

        async def script(receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept", "headers": [(b"x", b"1\r\nSet-Cookie: a=b")]})

        async with serving(scripted(script)) as running:
            assert Refused(500, "Internal Server Error") == await running.see()

        assert ["ValueError"] == tracebacks(caplog)

    @each_way
    async def test_an_app_that_has_taken_the_transport(
        self, way: str, loopback_clock: trio.testing.MockClock
    ) -> None:
        """It has given up the events: two who read from one connection would lose messages."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            transport = claim_native(scope, receive, send, Limits(), discard=False)
            assert transport is not None
            with pytest.raises(StateError, match="has taken the transport"):
                await receive()
            with pytest.raises(StateError, match="has taken the transport"):
                await send({"type": "websocket.accept"})
            await transport.accept(None, [])

        async with serving(for_websockets(app), way) as running:
            assert Closed(1000) == await running.see()


class TestApps:
    """What an app leaves open is ended for it."""

    @each_way
    async def test_one_that_fails(
        self,
        way: str,
        loopback_clock: trio.testing.MockClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Before the accept it is 500, after it 1011; nothing is told, and all is logged once."""

        async def fail(receive: Receive, send: Send) -> None:
            raise ValueError("a secret")

        async with serving(scripted(fail), way) as running:
            assert Refused(500, "Internal Server Error") == await running.see()
        async with serving(accepting(fail), way) as running:
            assert Closed(1011) == await running.see()

        assert ["ValueError"] * 2 == tracebacks(caplog)

    @each_way
    async def test_one_that_returns(
        self,
        way: str,
        loopback_clock: trio.testing.MockClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Before the accept it is 500, and an error; after it, an ordinary end."""

        async def do_nothing(receive: Receive, send: Send) -> None:
            """Return."""

        async def not_even_receive(scope: Scope, receive: Receive, send: Send) -> None:
            """Return at once."""

        for app in (scripted(do_nothing), for_websockets(not_even_receive)):
            async with serving(app, way) as running:
                assert Refused(500, "Internal Server Error") == await running.see()
        async with serving(accepting(do_nothing), way) as running:
            assert Closed(1000) == await running.see()

        errors = lines(caplog, logging.ERROR)
        assert 2 == len(errors)
        assert "is refused: the app returned without an answer (peer 127.0.0.1:" in errors[0]


class TestStatus:
    """The HTTP status in the access log is that of the answer."""

    @pytest.mark.parametrize(
        ("events", "status"),
        [
            (["websocket.accept"], 101),
            (["websocket.close"], 403),
            (["websocket.http.response.start", "websocket.http.response.body"], 401),
            ([], 500),
        ],
    )
    async def test_of_an_answer(
        self,
        events: list[str],
        status: int,
        loopback_clock: trio.testing.MockClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Accepted, refused by a close or a response, or not answered at all."""

        async def script(receive: Receive, send: Send) -> None:
            for kind in events:
                await send({"type": kind, "status": 401})

        async with serving(scripted(script), config=logging_config(caplog)) as running:
            await running.see("/it")

        assert [f"GET /it {status}"] == accesses(caplog)

    async def test_of_none(
        self, loopback_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A peer that did not wait for the answer is 499."""

        async def script(receive: Receive, send: Send) -> None:
            await receive()

        async with (
            serving(scripted(script), config=logging_config(caplog)) as running,
            running.open_stream() as stream,
        ):
            await stream.send_all(handshake("/it"))

        assert ["GET /it 499"] == accesses(caplog)

    async def test_of_the_server(
        self, loopback_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A handshake that is unanswered when the server drains gets 503."""

        async def script(receive: Receive, send: Send) -> None:
            running.stop()
            assert "websocket.disconnect" == (await receive())["type"]

        async with serving(scripted(script), config=logging_config(caplog)) as running:
            assert Refused(503) == await running.see("/it")

        assert ["GET /it 503"] == accesses(caplog)


class TestBounds:
    """What the server watches over, for apps that do not."""

    @each_way
    async def test_a_peer_that_breaks_the_protocol(
        self,
        way: str,
        loopback_clock: trio.testing.MockClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It is told the code, as is the app; the log has one line."""
        app = Recorder()

        async with serving(for_websockets(app), way) as running:
            async with running.open_upgraded() as stream:
                await stream.send_all(encode(Opcode.TEXT, b"\xff"))
                assert b"\x88" == await stream.receive_some(1)
            await app.is_done.wait()

        assert 1007 == app.events[-1]["code"]
        warnings = lines(caplog, logging.WARNING)
        assert 1 == len(warnings)
        assert "a connection was sent what it must not: " in warnings[0]

    @each_way
    async def test_a_peer_that_is_dead(
        self,
        way: str,
        loopback_clock: trio.testing.MockClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """One that answers no ping is gone after `ping_interval` and `ping_timeout`."""
        caplog.set_level(logging.INFO)
        app = Recorder()

        async with serving(for_websockets(app), way) as running, running.open_upgraded():
            started_at = trio.current_time()
            await app.is_done.wait()
            took = trio.current_time() - started_at

        assert 39 < took < 42
        assert 1011 == app.events[-1]["code"]
        assert "a connection ends: no pong for 20 s" in lines(caplog, logging.INFO)[0]

    @each_way
    async def test_a_peer_that_never_reads(
        self,
        way: str,
        loopback_clock: trio.testing.MockClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A send without progress for `send_timeout` is an end, and the app is told."""
        ended = trio.Event()

        async def script(receive: Receive, send: Send) -> None:
            with pytest.raises(OSError, match="the connection has ended"):
                while True:
                    await send({"type": "websocket.send", "bytes": bytes(1024 * 1024)})
            ended.set()

        async with (
            serving(accepting(script), way) as running,
            running.open_upgraded(),
        ):
            await ended.wait()

        assert "a connection ends: peer has not read for 20 s" in lines(caplog, logging.WARNING)[0]

    @each_way
    async def test_an_app_that_never_reads(
        self,
        way: str,
        loopback_clock: trio.testing.MockClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """An inbox unread for `stall_timeout` closes the connection with 1013."""
        ended = trio.Event()

        async def script(receive: Receive, send: Send) -> None:
            await ended.wait()

        async with serving(accepting(script), way) as running, running.connect() as peer:
            for _ in range(64):
                await peer.send("unread")
            assert Closed(1013, "inbox unread for 60 s") == await read_to_end(peer)
            ended.set()

        assert ["inbox unread for 60 s"] == [
            line.split(": ")[1].split(" (")[0] for line in lines(caplog, logging.WARNING)
        ]
