"""The server's part of one connection, in memory: what hypercorn does, surprises included."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triows._close import CloseInfo
from triows._errors import ConnectionClosed, StateError
from triows._types import Data, Event
from triows.testing._wire import QUEUE, Wire

ACCEPT: Event = {"type": "websocket.accept"}


def message(data: Data) -> Event:
    """Return the event by which an app sends a message."""
    if isinstance(data, str):
        return {"type": "websocket.send", "text": data}
    return {"type": "websocket.send", "bytes": data}


async def open_wire() -> Wire:
    """Return a wire whose handshake the app has accepted."""
    wire = Wire()
    assert {"type": "websocket.connect"} == await wire.receive()
    await wire.send(ACCEPT)
    return wire


class TestHandshake:
    """It is answered once, with 101 or with another HTTP status."""

    async def test_accept(self) -> None:
        """The connection is open, with the subprotocol and the headers of the app."""
        wire = Wire()
        await wire.send({**ACCEPT, "subprotocol": "v2", "headers": [(b"x-a", b"1")]})

        assert "open" == wire.phase
        assert "v2" == wire.subprotocol
        assert [(b"x-a", b"1")] == wire.accept_headers

    @pytest.mark.parametrize("event", [ACCEPT, {**ACCEPT, "headers": None, "subprotocol": None}])
    async def test_accept_with_nothing(self, event: Event) -> None:
        """Subprotocol and headers are optional (ASGI, `websocket.accept`)."""
        wire = Wire()
        await wire.send(event)

        assert wire.subprotocol is None
        assert [] == wire.accept_headers

    async def test_close_is_403(self) -> None:
        """An app that closes before it accepts has refused, with 403."""
        wire = Wire()
        await wire.send({"type": "websocket.close", "code": 4000})

        assert wire.rejection is not None
        assert 403 == wire.rejection.status

    async def test_response(self) -> None:
        """An app may refuse with any response, whose body may come in pieces."""
        wire = Wire()
        headers = [(b"retry-after", b"5")]
        start = {"type": "websocket.http.response.start", "status": 503, "headers": headers}
        await wire.send(start)
        body = {"type": "websocket.http.response.body", "body": b"la", "more_body": True}
        await wire.send(body)
        assert "rejecting" == wire.phase
        await wire.send({"type": "websocket.http.response.body", "body": b"ter"})

        assert wire.rejection is not None
        assert 503 == wire.rejection.status
        assert [("retry-after", "5")] == wire.rejection.headers
        assert b"later" == wire.rejection.body

    async def test_response_of_nothing_but_a_status(self) -> None:
        """Headers and body are optional (ASGI, `websocket.http.response.start`)."""
        wire = Wire()
        await wire.send({"type": "websocket.http.response.start", "status": 404})
        await wire.send({"type": "websocket.http.response.body"})

        assert wire.rejection is not None
        assert [] == wire.rejection.headers
        assert b"" == wire.rejection.body

    @pytest.mark.parametrize(
        ("sent", "kind", "phase"),
        [
            ([], "websocket.send", "handshake"),
            ([], "websocket.http.response.body", "handshake"),
            ([ACCEPT], "websocket.accept", "open"),
            ([{"type": "websocket.http.response.start"}], "websocket.accept", "rejecting"),
            ([{"type": "websocket.close"}], "websocket.accept", "closed"),
        ],
    )
    async def test_out_of_order(self, sent: list[Event], kind: str, phase: str) -> None:
        """What does not fit is the app's fault, and said so, as servers do."""
        wire = Wire()
        for event in sent:
            await wire.send(event)

        with pytest.raises(StateError, match=f"sent '{kind}' while the connection is {phase}"):
            await wire.send({"type": kind})


class TestMessages:
    """They go both ways, in order, and a full queue waits."""

    async def test_to_the_app(self) -> None:
        """Text and bytes have a key each, the other one is None, as hypercorn's events."""
        wire = await open_wire()
        await wire.put("text")
        await wire.put(b"")

        text, binary = await wire.receive(), await wire.receive()
        assert {"type": "websocket.receive", "text": "text", "bytes": None} == text
        assert {"type": "websocket.receive", "text": None, "bytes": b""} == binary

    async def test_to_the_peer(self) -> None:
        """Messages are kept until they are taken; empty ones are messages."""
        wire = await open_wire()
        for data in ("text", b"bytes", "", b""):
            await wire.send(message(data))
        await wire.send({"type": "websocket.send", "text": None, "bytes": b"both keys"})

        assert ["text", b"bytes", "", b"", b"both keys"] == [wire.take() for _ in range(5)]

    @pytest.mark.parametrize(
        "content", [{}, {"text": None, "bytes": None}, {"text": "a", "bytes": b"a"}]
    )
    async def test_neither_text_nor_bytes(self, content: Event) -> None:
        """A message without content, or with two, is the app's fault."""
        wire = await open_wire()

        with pytest.raises(StateError, match="not either text or bytes"):
            await wire.send({"type": "websocket.send", **content})

    async def test_receive_waits(self, autojump_clock: MockClock) -> None:
        """The app waits for a message, and a cancelled wait takes none."""
        wire = await open_wire()
        with trio.move_on_after(1):
            await wire.receive()
        await wire.put("still there")

        assert "still there" == (await wire.receive())["text"]

    async def test_app_that_does_not_receive(self, autojump_clock: MockClock) -> None:
        """After so many unread messages the peer's next one waits until one was received."""
        wire = await open_wire()
        for _ in range(QUEUE):
            await wire.put("unread")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.put, "one too many")
            await wait_all_tasks_blocked()
            assert 1 == len(nursery.child_tasks)

            await wire.receive()

    async def test_peer_that_does_not_receive(self, autojump_clock: MockClock) -> None:
        """After so many untaken messages the app's next one waits until one was taken."""
        wire = await open_wire()
        for _ in range(QUEUE):
            await wire.send(message("untaken"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.send, message("one too many"))
            await wait_all_tasks_blocked()
            assert QUEUE == len(wire.to_peer)

            wire.take()

    async def test_peer_that_stalls(self, autojump_clock: MockClock) -> None:
        """While the peer stalls every send waits, and so does a close."""
        wire = await open_wire()
        wire.stall(stalled=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.send, message("late"))
            await wait_all_tasks_blocked()
            assert 0 == len(wire.to_peer)

            wire.stall(stalled=False)
        assert "late" == wire.take()


class TestEnds:
    """Either side ends it, once."""

    async def test_the_peer_closes(self) -> None:
        """The app hears code and reason, after the messages that were sent before."""
        wire = await open_wire()
        await wire.put("last words")
        wire.leave(CloseInfo(4001, "bye", by_peer=False))
        wire.leave(CloseInfo(1006, "", by_peer=False))

        assert "last words" == (await wire.receive())["text"]
        expected = {"type": "websocket.disconnect", "code": 4001, "reason": "bye"}
        assert expected == await wire.receive()
        assert CloseInfo(4001, "bye", by_peer=False) == wire.closed

    async def test_receive_after_the_disconnect(self, autojump_clock: MockClock) -> None:
        """After the disconnect `receive` waits for ever, as hypercorn's does."""
        wire = await open_wire()
        wire.leave(CloseInfo(1000, "", by_peer=False))
        await wire.receive()

        with trio.move_on_after(1000) as scope:
            await wire.receive()
        assert scope.cancelled_caught

    async def test_send_after_the_disconnect(self) -> None:
        """After the disconnect `send` succeeds, without a checkpoint, and does nothing."""
        wire = await open_wire()
        wire.leave(CloseInfo(1000, "", by_peer=False))

        with trio.CancelScope() as scope:
            scope.cancel()
            await wire.send(message("into the void"))
        assert not scope.cancelled_caught
        assert 0 == len(wire.to_peer)

    async def test_the_peer_leaves_while_a_send_waits(self, autojump_clock: MockClock) -> None:
        """A send that waits for a stalled peer is over when the peer is gone."""
        wire = await open_wire()
        wire.stall(stalled=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.send, message("into the void"))
            await wait_all_tasks_blocked()
            wire.leave(CloseInfo(1006, "", by_peer=False))

        assert 0 == len(wire.to_peer)

    async def test_the_app_closes(self) -> None:
        """The peer sees code and reason, and answers at once; the app is told 1000."""
        wire = await open_wire()
        await wire.send({"type": "websocket.close", "code": 4000, "reason": "enough"})

        assert CloseInfo(4000, "enough", by_peer=True, clean=True) == wire.closed
        expected = {"type": "websocket.disconnect", "code": 1000, "reason": ""}
        assert expected == await wire.receive()

    async def test_the_app_closes_without_a_code(self) -> None:
        """Code and reason are optional (ASGI, `websocket.close`)."""
        wire = await open_wire()
        await wire.send({"type": "websocket.close", "reason": None})

        assert CloseInfo(1000, "", by_peer=True, clean=True) == wire.closed

    async def test_put_too_late(self, autojump_clock: MockClock) -> None:
        """A message that came too late, also after it waited, raises and is not lost silently."""
        wire = await open_wire()
        for _ in range(QUEUE):
            await wire.put("unread")
        raised: list[CloseInfo] = []

        async def put() -> None:
            with pytest.raises(ConnectionClosed) as caught:
                await wire.put("too late")
            raised.append(caught.value.info)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(put)
            await wait_all_tasks_blocked()
            await wire.send({"type": "websocket.close"})
        await put()

        assert [CloseInfo(1000, "", by_peer=True, clean=True)] * 2 == raised


class TestFinish:
    """When the app returns, the server does what it left undone."""

    @pytest.mark.parametrize("events", [[], [{"type": "websocket.http.response.start"}]])
    async def test_without_an_answer(self, events: list[Event]) -> None:
        """A handshake that was not answered, or by half, is answered with 500."""
        wire = Wire()
        for event in events:
            await wire.send(event)
        wire.finish()

        assert wire.rejection is not None
        assert 500 == wire.rejection.status

    async def test_without_a_close(self) -> None:
        """A connection that was left open is closed with 1011."""
        wire = await open_wire()
        wire.finish()

        assert CloseInfo(1011, "", by_peer=True, clean=True) == wire.closed

    async def test_in_order(self) -> None:
        """An app that has closed, or rejected, has left nothing undone."""
        wire = await open_wire()
        await wire.send({"type": "websocket.close", "code": 4000})
        wire.finish()
        assert CloseInfo(4000, "", by_peer=True, clean=True) == wire.closed

        wire = Wire()
        await wire.send({"type": "websocket.close"})
        wire.finish()
        assert wire.rejection is not None
        assert 403 == wire.rejection.status
        assert wire.closed is None
