"""JSON on the wire, values in the handler."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from tests.support import lines
from triows import App, Close, ConnectionClosed, InvalidMessage, Pipe, testing, websocket
from triows._close import CloseInfo
from triows.pipes import JSONPipe


def echoing(*pipeline: Pipe) -> App:
    """Return an app that echoes at /, through these pipes."""
    app = App(__name__)

    @app.websocket("/", pipeline=pipeline)
    async def echo() -> None:
        async for value in websocket:
            await websocket.send(value)

    return app


# Decoding and encoding


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        (b'{"a": true}', {"a": True}),
        ('"text"', "text"),
        ("0", 0),
        ("null", None),
        ('""', ""),
        ("[]", []),
    ],
)
async def test_handler_gets_values(
    message: str | bytes, expected: object, autojump_clock: trio.testing.MockClock
) -> None:
    """A text or binary message is decoded, and what is empty or null is a value too."""
    app = App(__name__)
    seen: list[object] = []

    @app.websocket("/", pipeline=[JSONPipe()])
    async def handler() -> None:
        seen.append(await websocket.receive())

    async with testing.client(app) as client, client.websocket("/") as peer:
        await peer.send(message)
        await peer.wait_closed()

    assert [expected] == seen


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, None]}, '{"a":[1,null]}'),
        ("text", '"text"'),
        (None, "null"),
        (0, "0"),
        (b"bytes", '"Ynl0ZXM="'),
        (bytearray(b"bytes"), '"Ynl0ZXM="'),
    ],
)
async def test_values_are_sent_as_text(
    value: Any, expected: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Whatever is sent is encoded once, a str and bytes too, and goes out as text."""
    app = App(__name__)

    @app.websocket("/", pipeline=[JSONPipe()])
    async def handler() -> None:
        await websocket.send(value)

    async with testing.client(app) as client, client.websocket("/") as peer:
        assert expected == await peer.receive()


async def test_value_without_json_form(autojump_clock: trio.testing.MockClock) -> None:
    """What has no JSON form is the handler's mistake, and it may go on after it."""
    app = App(__name__)

    @app.websocket("/", pipeline=[JSONPipe()])
    async def handler() -> None:
        with pytest.raises(TypeError):
            await websocket.send(object())  # type: ignore[arg-type]
        await websocket.send("next")

    async with testing.client(app) as client, client.websocket("/") as peer:
        assert "next" == await peer.receive_json()


async def test_pipes_inside_see_values(autojump_clock: trio.testing.MockClock) -> None:
    """What lies inside of a JSONPipe works with values, in both directions."""

    class Counter(Pipe):
        def on_receive(self, data: Any) -> Any:
            return data + 1

        def on_send(self, data: Any) -> Any:
            return [data]

    app = echoing(JSONPipe(), Counter())
    async with testing.client(app) as client, client.websocket("/") as peer:
        await peer.send("1")

        assert "[2]" == await peer.receive()


# Bad JSON


@pytest.mark.parametrize("message", ["{", "", b"", b"\xff", "NaN", "1 2", "[" * 100_000])
async def test_bad_json_closes(
    message: str | bytes,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A message that is no JSON ends the connection with 1007 and one warning."""
    async with testing.client(echoing(JSONPipe())) as client, client.websocket("/") as peer:
        await peer.send("1")
        assert "1" == await peer.receive()
        await peer.send(message)
        closed = await peer.wait_closed()

    assert 1007 == closed.code
    assert "the message is not JSON" in closed.reason
    (line,) = lines(caplog, 30)
    assert "was sent what it must not: the message is not JSON" in line


async def test_handler_may_catch_it(autojump_clock: trio.testing.MockClock) -> None:
    """InvalidMessage comes out of receive; a handler that catches it gets the next message."""
    app = App(__name__)

    @app.websocket("/", pipeline=[JSONPipe()])
    async def handler() -> None:
        with pytest.raises(InvalidMessage):
            await websocket.receive()
        await websocket.send(await websocket.receive())

    async with testing.client(app) as client, client.websocket("/") as peer:
        await peer.send("{")
        await peer.send("1")

        assert "1" == await peer.receive()


def sync_answer(exc: InvalidMessage) -> object:
    """Answer at once."""
    return {"error": exc.code}


async def async_answer(exc: InvalidMessage) -> object:
    """Answer after a while."""
    await trio.sleep(1)
    return {"error": exc.code}


@pytest.mark.parametrize("answer", [sync_answer, async_answer])
async def test_answer(
    answer: Callable[[InvalidMessage], object], autojump_clock: trio.testing.MockClock
) -> None:
    """With an answer the bad message is dropped, and the handler sees the one after it."""
    app = echoing(JSONPipe(answer))
    async with testing.client(app) as client, client.websocket("/") as peer:
        for message in ("{", "}", "1"):
            await peer.send(message)

        assert ['{"error":1007}', '{"error":1007}', "1"] == [await peer.receive() for _ in range(3)]
        await peer.receive_nothing()


async def test_answer_passes_the_pipes_like_any_value(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A text answer is encoded once, and every pipe sees it on its way out."""

    class Envelope(Pipe):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_send(self, data: Any) -> Any:
            return f"{self.name}({data})"

    app = echoing(Envelope("outer"), JSONPipe(lambda _: "what?"), Envelope("inner"))
    async with testing.client(app) as client, client.websocket("/") as peer:
        await peer.send("{")

        assert 'outer("inner(what?)")' == await peer.receive()


async def test_answer_may_close(autojump_clock: trio.testing.MockClock) -> None:
    """What the answer's function raises comes out of receive."""

    def refuse(_: InvalidMessage) -> None:
        raise Close(4007, "JSON, please")

    async with testing.client(echoing(JSONPipe(refuse))) as client, client.websocket("/") as peer:
        await peer.send("{")
        closed = await peer.wait_closed()

    assert (4007, "JSON, please") == (closed.code, closed.reason)


async def test_answer_that_was_cancelled_is_made_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A receive cancelled in the answer's function keeps the message for the next receive."""
    app = App(__name__)
    asked: list[float] = []

    async def answer(exc: InvalidMessage) -> str:
        asked.append(trio.current_time())
        await trio.sleep(2)
        return "what?"

    @app.websocket("/", pipeline=[JSONPipe(answer)])
    async def handler() -> None:
        with trio.move_on_after(1):
            await websocket.receive()
        await websocket.send(await websocket.receive())

    async with testing.client(app) as client, client.websocket("/") as peer:
        await peer.send("{")
        await peer.send("1")

        assert ['"what?"', "1"] == [await peer.receive(), await peer.receive()]
    assert 2 == len(asked)


async def test_answer_waits_for_a_peer_that_does_not_read(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The answer's send waits like any other, and is cancelled with the connection."""
    app = echoing(JSONPipe(lambda _: "what?"))
    async with testing.client(app) as client, client.websocket("/") as peer:
        await peer.send("1")
        await peer.receive()
        peer.stall()
        await peer.send("{")
        await trio.testing.wait_all_tasks_blocked()
        await client.drain()


async def test_peer_that_left_needs_no_answer(autojump_clock: trio.testing.MockClock) -> None:
    """A bad message of a peer that has left does not hide the good one that came after it."""
    app = App(__name__)
    seen: list[object] = []

    @app.websocket("/", pipeline=[JSONPipe(lambda _: "what?")])
    async def handler() -> None:
        await websocket.accept()
        await trio.sleep(1)
        seen.extend([value async for value in websocket])

    async with testing.client(app) as client, client.websocket("/") as peer:
        await peer.send("{")
        await peer.send("1")

    assert [1] == seen


async def test_end_of_another_connection_is_not_hidden(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """That a pipe's other connection has ended while it passed an answer on comes out."""
    other = ConnectionClosed(CloseInfo(1000, "", by_peer=True), object())

    class Forward(Pipe):
        def on_send(self, data: Any) -> Any:
            raise other

    app = App(__name__)

    @app.websocket("/", pipeline=[Forward(), JSONPipe(lambda _: "what?")])
    async def handler() -> None:
        await websocket.receive()

    with pytest.raises(ConnectionClosed) as caught:
        async with testing.client(app) as client, client.websocket("/") as peer:
            await peer.send("{")
            assert 1011 == (await peer.wait_closed()).code
    assert other is caught.value
