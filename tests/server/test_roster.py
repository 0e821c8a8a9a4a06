"""How all connections of a server are let go: in batches, and nobody is waited for in vain."""

import logging
from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing
from websockets.trio.client import ClientConnection

from tests.e2e.clients import read_to_end
from tests.server.serving import Running, each_way, for_websockets, serving
from tests.support import lines
from triows import App, Drain, websocket
from triows._close import CloseInfo
from triows._types import Receive, Scope, Send
from triows.server._roster import Roster


async def accept(_: Scope, receive: Receive, send: Send) -> None:
    """Be an ASGI app that waits for the peer to leave."""
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


waiting_app = for_websockets(accept)


async def ends_of(running: Running, count: int) -> list[tuple[float, int]]:
    """Connect that often, stop the server, and return when each was closed, and how."""
    ends = []

    async def see_end(peer: ClientConnection) -> None:
        code = (await read_to_end(peer)).code
        ends.append((round(trio.current_time() - stopped_at, 1), code))

    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(running.connect()) for _ in range(count)]
        stopped_at = trio.current_time()
        running.stop()
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(see_end, peer)
    return sorted(ends)


class Visitor:
    """A connection that does nothing by itself."""

    closed: CloseInfo | None = None

    def dismiss(self, code: int, reason: str) -> None:
        """End."""
        self.closed = CloseInfo(code, reason, by_peer=False)


class TestWaiting:
    """`wait_none`: until everybody has gone by themselves."""

    async def test_for_the_last(self) -> None:
        """It returns when the last is taken off."""
        roster = Roster()
        first, second = Visitor(), Visitor()
        roster.add(first)
        roster.add(second)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(roster.wait_none)
            await trio.testing.wait_all_tasks_blocked()
            roster.remove(second)
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            roster.remove(first)
        assert not roster

    async def test_cancelled(self) -> None:
        """It closes nobody."""
        roster = Roster()
        visitor = Visitor()
        roster.add(visitor)
        with trio.CancelScope() as scope:
            scope.cancel()
            await roster.wait_none()

        assert scope.cancelled_caught
        assert 1 == len(roster)
        assert visitor.closed is None


async def test_who_comes_too_late() -> None:
    """Once all have been let go, whoever still comes is dismissed at the door."""
    roster = Roster()
    await roster.close_all(Drain(code=4001, reason="moving"))
    late = Visitor()

    roster.add(late)

    assert CloseInfo(4001, "moving", by_peer=False) == late.closed
    assert 1 == len(roster)


class TestDrain:
    """Connections are closed in the order in which they came."""

    @each_way
    async def test_batches(
        self,
        way: str,
        loopback_clock: trio.testing.MockClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """So many at a time, and a pause between; the log has one line of it."""
        caplog.set_level(logging.INFO)
        drain = Drain(batch=2, interval=1)

        async with serving(waiting_app, way, drain=drain) as running:
            ends = await ends_of(running, 5)

        assert [(0, 1001), (0, 1001), (1, 1001), (1, 1001), (2, 1001)] == ends
        assert ["server draining: 5 connections"] == lines(caplog, logging.INFO)

    async def test_one_batch(self, loopback_clock: trio.testing.MockClock) -> None:
        """With room for all there is no pause."""
        drain = Drain(batch=2, interval=1000, code=4000)

        async with serving(waiting_app, drain=drain) as running:
            assert [(0, 4000), (0, 4000)] == await ends_of(running, 2)

    async def test_who_has_gone(self, loopback_clock: trio.testing.MockClock) -> None:
        """When nobody is left of those that wait, there are no more pauses; also in the midst."""
        drain = Drain(batch=1, interval=1000)

        async with serving(waiting_app, drain=drain) as running, AsyncExitStack() as stack:
            peers = [await stack.enter_async_context(running.connect()) for _ in range(4)]
            stopped_at = trio.current_time()
            running.stop()
            assert 1001 == (await read_to_end(peers[0])).code
            for peer in reversed(peers):
                await trio.sleep(1)
                await peer.aclose()
        assert 4 == round(trio.current_time() - stopped_at)

    async def test_whose_handler_stays(self, loopback_clock: trio.testing.MockClock) -> None:
        """Who has closed already is in no batch, though the handler is still busy."""
        app = App(__name__)

        @app.websocket("/busy")
        async def busy() -> None:
            await websocket.accept()
            await websocket.draining
            await trio.sleep(3)

        @app.websocket("/")
        async def handler() -> None:
            async for _ in websocket:
                pass

        async with serving(app, drain=Drain(batch=1, interval=1)) as running:
            for _ in range(5):
                async with running.connect("/busy"):
                    pass
            assert [(0, 1001)] == await ends_of(running, 1)
