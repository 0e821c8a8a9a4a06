"""Two processes of `triows run` on one Redis: restarted, killed and frozen beneath them."""

import json
import random
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.client import ClientConnection

from tests.brokers.redis_server import DURABLE, RedisServer, redis_server
from tests.e2e.clients import connect
from tests.e2e.servers import POLL, TriowsServer, running

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def redis(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Generator[RedisServer]:
    """The Redis of both servers."""
    with redis_server(*getattr(request, "param", ())) as server:
        monkeypatch.setenv("REDIS_URL", server.url)
        yield server


@asynccontextmanager
async def two(redis: RedisServer) -> AsyncGenerator[tuple[TriowsServer, TriowsServer]]:
    """Run two servers on a Redis."""
    await redis.wait_started()
    async with running("rooms:app") as one, running("rooms:app") as other:
        yield one, other


async def read_until(
    peer: ClientConnection, is_enough: Callable[[list[Any]], bool], frames: list[Any]
) -> None:
    """Add to the frames that a client has got, until they are enough."""
    while not is_enough(frames):
        frames.append(json.loads(await peer.recv()))


async def publish(server: TriowsServer, topic: str, name: str, count: int) -> None:
    """Have a server publish so many messages, each until it has gone out."""
    async with connect(server.ws(f"/publisher/{topic}/{name}/{count}")) as peer:
        assert "published" == await peer.recv()


def said(frames: list[Any], name: str) -> list[int]:
    """Return the numbers that one publisher has said."""
    return [frame["data"][1] for frame in frames if frame.get("data", [""])[0] == name]


async def join(
    servers: tuple[TriowsServer, ...], path: str, stack: AsyncExitStack
) -> list[ClientConnection]:
    """Connect a client to each server in turn, and wait until it has joined."""
    peers = []
    for server in servers:
        # Without a bound the client can be closed, whatever it has not read.
        peer = await stack.enter_async_context(connect(server.ws(path), max_queue=None))
        assert json.loads(await peer.recv())["joined"]
        peers.append(peer)
    return peers


async def test_two_hundred_clients(redis: RedisServer) -> None:
    """Every message of every publisher reaches every member, in the order of its publisher."""
    names = ["a", "b", "c", "d"]
    async with two(redis) as servers, AsyncExitStack() as stack:
        peers = await join(servers * 100, "/member/live", stack)
        heard: list[list[Any]] = [[] for _ in peers]
        async with trio.open_nursery() as nursery:
            for frames, peer in zip(heard, peers, strict=True):
                nursery.start_soon(read_until, peer, lambda got: len(got) == 100, frames)
            for name, server in zip(names, servers * 2, strict=True):
                nursery.start_soon(publish, server, "live", name, 25)

    assert 200 == len(heard)
    for frames in heard:
        assert [list(range(25))] * 4 == [said(frames, name) for name in names]


async def restart(redis: RedisServer) -> None:
    """Ask it to end, and start it a moment later."""
    redis.shut_down()
    await trio.sleep(0.5)
    redis.start()


async def kill(redis: RedisServer) -> None:
    """Kill it, and start it a moment later."""
    redis.kill()
    await trio.sleep(0.5)
    redis.start()


async def freeze(redis: RedisServer) -> None:
    """Freeze it for 5 seconds."""
    redis.freeze()
    await trio.sleep(5)
    redis.thaw()


async def hear_through(
    redis: RedisServer, topic: str, fail: Any, *, members: int = 10, messages: int = 200
) -> list[list[Any]]:
    """Return what members hear of so many messages from each of 2 publishers, while Redis fails."""

    def is_all(frames: list[Any]) -> bool:
        return all(messages - 1 in said(frames, name) for name in "ab")

    async with two(redis) as servers, AsyncExitStack() as stack:
        peers = await join(servers * (members // 2), f"/member/{topic}", stack)
        heard: list[list[Any]] = [[] for _ in peers]
        async with trio.open_nursery() as nursery:
            for frames, peer in zip(heard, peers, strict=True):
                nursery.start_soon(read_until, peer, is_all, frames)
            for name, server in zip("ab", servers, strict=True):
                nursery.start_soon(publish, server, topic, name, messages)
            await trio.sleep(0.3)
            await fail(redis)
        # They are the same connections as before.
        for peer in peers:
            await (await peer.ping()).wait()
    return heard


@pytest.mark.parametrize(
    ("redis", "fail"),
    [(DURABLE, restart), (DURABLE, kill), ((), freeze)],
    indirect=["redis"],
    ids=["restart", "kill", "freeze"],
)
async def test_nothing_is_lost(redis: RedisServer, fail: Any) -> None:
    """With history, and a disk that has everything, all members have every message, once."""
    heard = await hear_through(redis, "kept", fail, members=200, messages=60)
    assert 200 == len(heard)
    for frames in heard:
        messages = [frame for frame in frames if "data" in frame]
        assert list(range(1, len(messages) + 1)) == [frame["offset"] for frame in messages]
        assert 1 == len({frame["epoch"] for frame in messages})
        for name in "ab":
            # One whose answer was lost is published again, and so may be there twice.
            assert list(range(60)) == sorted(set(said(frames, name)))


@pytest.mark.parametrize("fail", [restart, kill])
async def test_a_new_epoch(redis: RedisServer, fail: Any) -> None:
    """A Redis that may have lost something is believed nothing, and everybody is told."""
    for frames in await hear_through(redis, "kept", fail):
        gaps = [frame for frame in frames if frame.get("joined")]
        assert gaps
        assert all(frame["recovered"] is False for frame in gaps)
        assert 2 == len({frame["epoch"] for frame in frames})


async def test_a_gap(redis: RedisServer) -> None:
    """Without history everybody is told that something may be missing."""
    for frames in await hear_through(redis, "live", kill):
        assert {False} == {frame["recovered"] for frame in frames if frame.get("joined")}


async def test_presence(redis: RedisServer) -> None:
    """Members of a server that was killed are gone with its lease."""
    await redis.wait_started()
    async with running("rooms:app") as one, AsyncExitStack() as stack:
        await join((one,) * 10, "/guest/live", stack)
        asks = await stack.enter_async_context(connect(one.ws("/present/live")))
        async with running("rooms:app") as other, AsyncExitStack() as others:
            await join((other,) * 20, "/guest/live", others)
            assert 30 == await count(asks)
            other.process.kill()
            other.was_stopped = True
        while await count(asks) != 10:
            await trio.sleep(POLL)


async def count(asks: ClientConnection) -> int:
    """Return how many are present."""
    return len(await present(asks))


async def present(asks: ClientConnection) -> list[str]:
    """Return the names of all who are present."""
    await asks.send("")
    return sorted(json.loads(await asks.recv()))


@dataclass(eq=False)
class House:
    """A server, as long as it lives, and the guests that it has."""

    server: TriowsServer
    end: trio.Event = field(default_factory=trio.Event)
    guests: dict[str, "Guest"] = field(default_factory=dict)


@dataclass(eq=False)
class Guest:
    """A client in a task of its own."""

    end: trio.Event = field(default_factory=trio.Event)
    is_lost: bool = False  # It ends without a word.


async def keep_house(*, task_status: trio.TaskStatus[House]) -> None:
    """Run a server until its house ends."""
    async with running("rooms:app") as server:
        house = House(server)
        task_status.started(house)
        await house.end.wait()


async def stay(
    house: House, name: str, guest: Guest, *, task_status: trio.TaskStatus[None]
) -> None:
    """Be present until told to go; a server that was killed lets nobody say good-bye."""
    with suppress(ConnectionClosed):
        async with connect(house.server.ws(f"/guest/live?name={name}"), max_queue=None) as peer:
            assert json.loads(await peer.recv())["joined"]
            task_status.started()
            await guest.end.wait()
            if guest.is_lost:
                await trio.aclose_forcefully(peer.stream)


async def test_presence_is_exact(redis: RedisServer) -> None:
    """After 500 joins, leaves, losses, and servers killed, both name those who are there."""
    await redis.wait_started()
    rng = random.Random(5)
    async with trio.open_nursery() as nursery:
        houses = [await nursery.start(keep_house) for _ in range(2)]
        for step in range(500):
            house = rng.choice(houses)
            if step % 120 == 119:
                houses.remove(house)
                kill_house(house)
                houses.append(await nursery.start(keep_house))
            elif rng.random() < 0.5 or not house.guests:
                guest = house.guests[f"{step:03}"] = Guest()
                await nursery.start(stay, house, f"{step:03}", guest)
            else:
                guest = house.guests.pop(rng.choice(list(house.guests)))
                guest.is_lost = rng.random() < 0.5
                guest.end.set()
        living = sorted(name for house in houses for name in house.guests)
        assert len(living) > 10
        for house in houses:
            async with connect(house.server.ws("/present/live")) as asks:
                while await present(asks) != living:
                    await trio.sleep(POLL)
        for house in houses:
            end_house(house)


def kill_house(house: House) -> None:
    """Kill a server with all that it has."""
    house.server.process.kill()
    house.server.was_stopped = True
    end_house(house)


def end_house(house: House) -> None:
    """Let the guests go, and the server."""
    for guest in house.guests.values():
        guest.end.set()
    house.end.set()
