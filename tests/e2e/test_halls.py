"""Topics of one process, on real servers: who is there, who is too slow, and who has gone."""

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
from websockets.trio.client import ClientConnection

from tests.e2e.clients import connect, open_upgraded
from tests.e2e.servers import POLL, Server, serving

pytestmark = pytest.mark.timeout(60)

on_both = pytest.mark.parametrize("server", ["triows", "hypercorn"])

BIG = "x" * (1 << 16)
"""A message of which a few hundred fill the buffers of a connection."""


@asynccontextmanager
async def open_halls(server: str) -> AsyncGenerator[tuple[Server, ClientConnection]]:
    """Serve the halls, with somebody who can ask what they count; at the end nothing is left."""
    async with (
        serving("halls:app", server=server) as running,
        connect(running.ws("/counts")) as asks,
    ):
        yield running, asks
        await until(asks, members=0, subscriptions=0, topics=0, present=[])


async def count(asks: ClientConnection, topic: str = "hall") -> dict[str, Any]:
    """Return what the process counts, and who is present."""
    await asks.send(topic)
    counts: dict[str, Any] = json.loads(await asks.recv())
    return counts


async def until(asks: ClientConnection, topic: str = "hall", **expected: Any) -> None:
    """Wait until it counts this."""
    with trio.fail_after(15):
        while not expected.items() <= (await count(asks, topic)).items():
            await trio.sleep(POLL)


async def read(peer: ClientConnection, kind: str) -> Any:
    """Return the next frame that has this."""
    while kind not in (frame := json.loads(await peer.recv())):
        pass
    return frame


@on_both
async def test_two_clients(server: str) -> None:
    """They hear each other, and who comes and goes; who comes later gets what it has missed."""
    async with (
        open_halls(server) as (running, asks),
        connect(running.ws("/hall/hall/ann")) as ann,
    ):
        joined = await read(ann, "joined")
        await until(asks, members=1, present=["ann"])
        async with connect(running.ws("/hall/hall/joe")) as joe:
            await read(joe, "joined")
            came = await read(ann, "presence")
            assert ("join", {"name": "joe"}) == (came["presence"], came["data"])
            await until(asks, members=2, present=["ann", "joe"])
            for peer, text in ((ann, "hi"), (joe, "hello")):
                await peer.send(text)
                for each in (ann, joe):
                    assert text == (await read(each, "offset"))["data"]
        assert "leave" == (await read(ann, "presence"))["presence"]
        await until(asks, members=1, present=["ann"])
        assert (joined["offset"], joined["recovered"]) == (0, False)


@on_both
async def test_members_never_leak(server: str) -> None:
    """Whether they close, vanish, or their handlers fail: all are gone, and present nowhere."""
    async with open_halls(server) as (running, asks), AsyncExitStack() as stack:
        names = [f"{i:02}" for i in range(30)]
        peers = []
        for name in names:
            # Without a bound the client can be closed, whatever it has not read.
            connection = connect(running.ws(f"/hall/hall/{name}"), max_queue=None)
            peers.append(await stack.enter_async_context(connection))
        await until(asks, members=30, present=names)
        for peer in peers[:10]:
            await peer.send("fail")
        for peer in peers[10:20]:
            await trio.aclose_forcefully(peer.stream)
        await until(asks, members=10, present=names[20:])
    assert 10 == running.log.count("RuntimeError: on purpose")


@on_both
@pytest.mark.parametrize("topic", ["closing", "dropping"])
async def test_one_that_does_not_read(server: str, topic: str) -> None:
    """It is closed with 1013, or misses messages, which is counted; the others hear all of them."""
    heard = 0
    async with (
        open_halls(server) as (running, asks),
        connect(running.ws(f"/hall/{topic}/quick"), max_size=None) as quick,
        open_upgraded(running, f"/hall/{topic}/slow"),
    ):
        await read(quick, "joined")
        await until(asks, topic, members=2, present=["quick", "slow"])
        before = running.memory
        with trio.fail_after(30):
            while True:
                await quick.send(BIG)
                assert BIG == (await read(quick, "offset"))["data"]
                heard += 1
                counts = await count(asks, topic)
                if counts["dropped"] and (topic == "dropping" or counts["members"] == 1):
                    break
        assert running.memory - before < 16 << 20
        there = ["quick", "slow"] if topic == "dropping" else ["quick"]
        await until(asks, topic, present=there)
        await quick.send("end")
        assert "end" == (await read(quick, "offset"))["data"]
    assert ("too slow for topic 'closing'" in running.log) == (topic == "closing")
    assert ("messages of topic" in running.log) == bool(heard)
