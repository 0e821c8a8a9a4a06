"""The peer of an app under test: a WebSocket client whose every wait ends."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triows._close import CloseInfo
from triows._errors import ConnectionClosed, HandshakeRejected, InvalidMessage
from triows._types import Event
from triows.testing import Peer
from triows.testing._wire import QUEUE, Wire

HERE = "the app waits at:\n  app.py:7 in handler"


def peer_of(wire: Wire) -> Peer:
    """Return the peer at the other end, who waits for ten seconds."""
    return Peer(wire, 10, lambda: HERE)


async def open_pair(accept: Event | None = None) -> tuple[Wire, Peer]:
    """Return the app's end and the peer of an open connection."""
    wire = Wire()
    await wire.receive()
    await wire.send({"type": "websocket.accept", **(accept or {})})
    return wire, peer_of(wire)


async def say(wire: Wire, text: str) -> None:
    """Send a text message as the app."""
    await wire.send({"type": "websocket.send", "text": text})


class TestHandshake:
    """What the app answered."""

    async def test_accepted(self) -> None:
        """The subprotocol and the headers of the answer are there to be checked."""
        accept: Event = {"subprotocol": "v2", "headers": [(b"x-a", b"1")]}
        _, peer = await open_pair(accept)
        await peer.wait_answer()

        assert "v2" == peer.subprotocol
        assert "1" == peer.headers["X-A"]
        assert peer.closed is None

    async def test_accepted_later(self, autojump_clock: MockClock) -> None:
        """The answer is waited for."""
        wire = Wire()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer_of(wire).wait_answer)
            await trio.sleep(5)
            await wire.send({"type": "websocket.accept"})

        assert 5 == trio.current_time()

    async def test_rejected(self) -> None:
        """A rejection is raised, with all that is to be known of it."""
        wire = Wire()
        headers = [(b"retry-after", b"5")]
        await wire.send(
            {"type": "websocket.http.response.start", "status": 503, "headers": headers}
        )
        await wire.send({"type": "websocket.http.response.body", "body": b"later"})

        with pytest.raises(HandshakeRejected) as caught:
            await peer_of(wire).wait_answer()
        assert 503 == caught.value.status
        assert [("retry-after", "5")] == caught.value.headers
        assert b"later" == caught.value.body


class TestMessages:
    """What the peer sends and receives."""

    async def test_exchange(self) -> None:
        """Messages are received in order, JSON too, and sent as they are."""
        wire, peer = await open_pair()
        await say(wire, "text")
        await say(wire, '{"a": [1]}')
        await peer.send(b"bytes")
        await peer.send_json({"b": None})

        assert "text" == await peer.receive()
        assert {"a": [1]} == await peer.receive_json()
        assert b"bytes" == (await wire.receive())["bytes"]
        assert '{"b":null}' == (await wire.receive())["text"]

    async def test_no_json(self) -> None:
        """A message that should be JSON and is not fails the test."""
        wire, peer = await open_pair()
        await say(wire, "{")

        with pytest.raises(InvalidMessage):
            await peer.receive_json()

    async def test_two_who_receive(self, autojump_clock: MockClock) -> None:
        """Of two tasks that wait for a message, one gets it and the other waits on."""
        wire, peer = await open_pair()
        received: list[object] = []

        async def receive() -> None:
            received.append(await peer.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            await say(wire, "one")
            await wait_all_tasks_blocked()
            assert ["one"] == received
            await say(wire, "two")
        assert ["one", "two"] == received

    async def test_after_the_end(self) -> None:
        """What came before the end is received, then every call says how it ended."""
        wire, peer = await open_pair()
        await say(wire, "last words")
        await wire.send({"type": "websocket.close", "code": 4000, "reason": "enough"})

        assert "last words" == await peer.receive()
        ending = CloseInfo(4000, "enough", by_peer=True, clean=True)
        for call in (peer.receive, peer.receive_json, lambda: peer.send("too late")):
            with pytest.raises(ConnectionClosed) as caught:
                await call()
            assert ending == caught.value.info

    async def test_iteration(self) -> None:
        """A loop over the messages ends with the connection."""
        wire, peer = await open_pair()
        await say(wire, "one")
        await say(wire, "two")
        wire.finish()

        assert ["one", "two"] == [message async for message in peer]

    async def test_cancelled(self, autojump_clock: MockClock) -> None:
        """The test's own deadline works as ever, and loses no message."""
        wire, peer = await open_pair()
        with trio.move_on_after(1) as scope:
            await peer.receive()
        assert scope.cancelled_caught
        await say(wire, "still there")

        assert "still there" == await peer.receive()


class TestPatience:
    """Every wait ends, and says what the app was doing instead."""

    @pytest.mark.parametrize(
        ("wait", "complaint"),
        [
            (Peer.receive, "no message came"),
            (Peer.receive_json, "no message came"),
            (Peer.__anext__, "no message came"),
            (Peer.wait_closed, "the connection did not end"),
            (lambda peer: peer.send("one too many"), "the app took none of 1000 messages"),
        ],
    )
    async def test_runs_out(
        self,
        autojump_clock: MockClock,
        wait: Callable[[Peer], Awaitable[object]],
        complaint: str,
    ) -> None:
        """After the client's `timeout` the test fails, and the message says where the app is."""
        wire, peer = await open_pair()
        for _ in range(QUEUE):
            await wire.put("unread")

        with pytest.raises(trio.TooSlowError) as caught:
            await wait(peer)
        assert f"{complaint} within 10 s; {HERE}" == str(caught.value)
        assert 10 == trio.current_time()

    async def test_handshake(self, autojump_clock: MockClock) -> None:
        """An app that does not answer the handshake is not waited for longer either."""
        with pytest.raises(trio.TooSlowError, match="the handshake was not answered within 10 s"):
            await peer_of(Wire()).wait_answer()


class TestReceiveNothing:
    """Nothing was sent, and nothing will be until something happens."""

    async def test_nothing(self, autojump_clock: MockClock) -> None:
        """All tasks are at rest: it passes, and no time does."""
        _, peer = await open_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 5)
            await peer.receive_nothing()
            assert 0 == trio.current_time()

    async def test_waits_for_the_app_to_come_to_rest(self, autojump_clock: MockClock) -> None:
        """An app that is still busy may send: it is given the time."""
        wire, peer = await open_pair()

        async def be_busy() -> None:
            for _ in range(100):
                await trio.lowlevel.checkpoint()
            await say(wire, "at last")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(be_busy)
            with pytest.raises(AssertionError, match="nothing was expected, but 'at last' came"):
                await peer.receive_nothing()

    async def test_the_message_can_still_be_received(self) -> None:
        """The message that was not expected is not taken away."""
        wire, peer = await open_pair()
        await say(wire, "surprise")
        with pytest.raises(AssertionError):
            await peer.receive_nothing()

        assert "surprise" == await peer.receive()

    async def test_the_end(self) -> None:
        """The end of the connection is something."""
        wire, peer = await open_pair()
        wire.finish()

        with pytest.raises(AssertionError, match="but the connection ended: peer closed 1011"):
            await peer.receive_nothing()

    async def test_an_app_that_never_rests(self) -> None:
        """An app that is busy for ever is not waited for so long."""
        async with trio.open_nursery() as nursery:

            async def spin() -> None:
                while True:
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(spin)
            peer = Peer(Wire(), 0.01, lambda: HERE)
            with pytest.raises(trio.TooSlowError, match=r"did not come to rest within 0\.01 s"):
                await peer.receive_nothing()
            nursery.cancel_scope.cancel()


class TestEnds:
    """How the peer leaves, and how it is left."""

    async def test_close(self) -> None:
        """The app hears code and reason; later closes do nothing."""
        wire, peer = await open_pair()
        await peer.close(4001, "bye")
        await peer.close()
        peer.drop()

        assert CloseInfo(4001, "bye", by_peer=False, clean=True) == peer.closed
        expected = {"type": "websocket.disconnect", "code": 4001, "reason": "bye"}
        assert expected == await wire.receive()

    async def test_close_with_a_code_that_no_client_sends(self) -> None:
        """A code that must not be in a frame is a mistake in the test."""
        _, peer = await open_pair()

        with pytest.raises(ValueError, match="close code 1006 cannot be sent"):
            await peer.close(1006)

    async def test_drop(self) -> None:
        """A peer that vanishes is reported as 1006."""
        wire, peer = await open_pair()
        peer.drop()

        assert CloseInfo(1006, "", by_peer=False, clean=False) == peer.closed
        assert 1006 == (await wire.receive())["code"]

    async def test_wait_closed(self, autojump_clock: MockClock) -> None:
        """The end is waited for; messages that were not received do not hold it up."""
        wire, peer = await open_pair()
        await say(wire, "unread")

        async def end() -> None:
            await trio.sleep(5)
            await wire.send({"type": "websocket.close", "code": 4000})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            assert 4000 == (await peer.wait_closed()).code
        assert "unread" == await peer.receive()

    async def test_stall(self, autojump_clock: MockClock) -> None:
        """A peer that stalls makes the app's sends wait, until it goes on."""
        wire, peer = await open_pair()
        peer.stall()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, wire, "late")
            await peer.receive_nothing()
            peer.resume()
            assert "late" == await peer.receive()
