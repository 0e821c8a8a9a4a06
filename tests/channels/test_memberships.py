"""The topics of one connection: however it ends, nothing of it is left."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triows import App, ConnectionClosed, Limits, testing, websocket
from triows.testing._peer import Peer


async def leave(peer: Peer) -> None:
    """Close like a browser that is closed."""
    await peer.close()


async def drop(peer: Peer) -> None:
    """Vanish without a word."""
    peer.drop()


async def ask_to_return(peer: Peer) -> None:
    """Have the handler return."""
    await peer.send("return")


async def ask_to_close(peer: Peer) -> None:
    """Have the handler close."""
    await peer.send("close")


async def wait_idle(_: Peer) -> None:
    """Do nothing, for longer than allowed."""
    await trio.sleep(60)


@pytest.mark.parametrize("how", [leave, drop, ask_to_return, ask_to_close, wait_idle])
@pytest.mark.parametrize("on_disconnect", ["drain", "cancel", "raise"])
async def test_every_end(
    autojump_clock: MockClock,
    how: Callable[[Peer], Awaitable[None]],
    on_disconnect: str,
) -> None:
    """A connection that ends has left all its topics, and is present in none."""
    app = App(__name__, limits=Limits(idle_timeout=30))

    @app.websocket(on_disconnect=on_disconnect)  # type: ignore[arg-type]
    async def member() -> None:
        for topic in "abc":
            await websocket.join(topic, presence={})
        if await websocket.receive() == "close":
            await websocket.close()
            await trio.sleep(1)

    async with testing.client(app) as client:
        for _ in range(3):
            async with client.websocket("/member") as peer:
                await wait_all_tasks_blocked()
                assert (3, 3) == (
                    app.channels.statistics().topics,
                    app.channels.statistics().members,
                )
                await how(peer)
                await wait_all_tasks_blocked()
                assert 0 == app.channels.statistics().members
        await wait_all_tasks_blocked()
        assert 0 == app.channels.statistics().topics
        assert {} == await app.channels.presence("a")


async def test_a_handler_that_fails(autojump_clock: MockClock) -> None:
    """Failing is one more way to leave."""
    app = App(__name__)

    @app.websocket()
    async def member() -> None:
        await websocket.join("a")
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        async with testing.client(app) as client, client.websocket("/member") as peer:
            await peer.wait_closed()
    assert 0 == app.channels.statistics().members


@pytest.mark.parametrize("is_ours", [True, False])
async def test_joining_after_the_end(autojump_clock: MockClock, *, is_ours: bool) -> None:
    """A connection that has ended joins nothing, though its handler goes on, and had not before."""
    app = App(__name__)
    errors: list[Exception] = []

    @app.websocket(on_disconnect="raise")
    async def member() -> None:
        await websocket.accept()
        if is_ours:
            await websocket.close(4000)
        await trio.sleep(1)
        try:
            await websocket.join("t")
        except ConnectionClosed as exc:
            errors.append(exc)

    async with testing.client(app) as client, client.websocket("/member") as peer:
        peer.drop()
        await trio.sleep(2)

    assert 1 == len(errors)


async def test_leaving_before_anything_was_joined(autojump_clock: MockClock) -> None:
    """It does nothing, and says so by returning."""
    app = App(__name__)

    @app.websocket()
    async def member() -> None:
        await websocket.leave("t")
        await websocket.join("other")
        await websocket.leave("t")
        await websocket.leave("other")
        await websocket.send("left")

    async with testing.client(app) as client, client.websocket("/member") as peer:
        assert "left" == await peer.receive()
