"""A line to Redis that comes back, with a real one that fails."""

import re
import tempfile
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.brokers.behaviour import until
from tests.brokers.redis_cluster import Node
from tests.brokers.redis_server import RedisServer, redis_server
from triows._errors import BrokerUnavailable
from triows.brokers._redis_address import parse_url
from triows.brokers._redis_line import Line
from triows.brokers._redis_scripts import SCRIPTS, Script

ECHO = Script("return {ARGV[1], ARGV[2], KEYS[1]}")
"""It is none of those that a line loads."""


class Recorder:
    """Notes what a line hears."""

    def __init__(self) -> None:
        self.connections = 0
        self.channels: tuple[bytes, ...] = ()
        self.payloads: list[bytes] = []

    def connected(self, channels: Iterable[bytes]) -> None:
        """Note a connection."""
        self.connections += 1
        self.channels = tuple(channels)

    def heard(self, channel: bytes, payload: bytes) -> None:
        """Note a message."""
        self.payloads.append(payload)


def line_to(server: RedisServer, timeout: float, hearer: Recorder, **how: Any) -> Line:
    """Return a line to a server."""
    (address,), _ = parse_url(server.url)
    return Line(address, timeout, hearer, **how)


@asynccontextmanager
async def connected(
    server: RedisServer, hearer: Recorder, timeout: float = 5.0, **how: Any
) -> AsyncGenerator[Line]:
    """Run a line around a block."""
    await server.wait_started()
    line = line_to(server, timeout, hearer, **how)
    async with trio.open_nursery() as nursery:
        await nursery.start(line.run)
        yield line
        nursery.cancel_scope.cancel()


async def test_channels() -> None:
    """What is published to a channel is heard from `subscribe` to `unsubscribe`."""
    hearer = Recorder()
    with redis_server() as server:
        async with connected(server, hearer) as line:
            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(line.subscribe, b"c")
            await line.subscribe(b"last")
            await server.command("PUBLISH", "c", "1")
            line.unsubscribe(b"c")
            await until(lambda: hearer.payloads == [b"1"])
            with trio.fail_after(10):
                while await server.command("PUBSUB", "NUMSUB", "c") != "c\n0":
                    await trio.sleep(0.001)
            await server.command("PUBLISH", "c", "2")
            await server.command("PUBLISH", "last", "3")
            await until(lambda: len(hearer.payloads) == 2)

    assert [b"1", b"3"] == hearer.payloads
    assert 1 == hearer.connections


async def test_a_killed_connection() -> None:
    """Another one is subscribed to the same channels, before anybody is told of it."""
    hearer = Recorder()
    with redis_server() as server:
        async with connected(server, hearer) as line:
            for i in range(1500):  # More than one command takes.
                line._wanted[b"%d" % i] = i
            await line.subscribe(b"c")
            await server.command("CLIENT", "KILL", "TYPE", "pubsub")
            await until(lambda: hearer.connections == 2)
            await server.command("PUBLISH", "c", "1")
            await server.command("PUBLISH", "1499", "2")
            await until(lambda: len(hearer.payloads) == 2)

    assert [b"1", b"2"] == hearer.payloads


async def test_a_server_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """It is asked for again and again; that it is away is logged once."""
    hearer = Recorder()
    with redis_server() as server:
        async with connected(server, hearer, timeout=0.3) as line:
            server.kill()
            await until(lambda: not line.is_connected())
            with pytest.raises(BrokerUnavailable, match=r"no answer within 0\.3 seconds"):
                await line.call(ECHO, ["k"])
            with pytest.raises(BrokerUnavailable, match="SUBSCRIBE"):
                await line.subscribe(b"c")
            server.start()
            await until(lambda: hearer.connections == 2)

    assert {} == line._wanted
    assert 1 == caplog.text.count("the connection to Redis was lost")


async def test_another_password(caplog: pytest.LogCaptureFixture) -> None:
    """Why there is no connection is logged when it is another reason, and told to who waits."""
    with redis_server() as server:
        async with connected(server, Recorder(), timeout=1) as line:
            server.kill()
            server.use("--requirepass", "new")
            server.start()
            await until(lambda: "cannot be reached: HELLO must be called" in caplog.text)
            with pytest.raises(BrokerUnavailable, match="there is no connection: HELLO must"):
                await line.call(ECHO, ["k"])
            with pytest.raises(BrokerUnavailable, match="there is no connection: HELLO must"):
                await line.subscribe(b"c")

    assert 1 == caplog.text.count("HELLO must be called")


async def test_waiting_for_a_server() -> None:
    """A call that has begun while it is away is answered when it is back."""
    hearer = Recorder()
    with redis_server() as server:
        async with connected(server, hearer) as line, trio.open_nursery() as nursery:
            server.kill()
            await until(lambda: not line.is_connected())
            nursery.start_soon(line.call, SCRIPTS[0], ["state", "log"], "epoch", 1, 1)
            nursery.start_soon(line.subscribe, b"c")
            await trio.sleep(0.5)  # for attempts that fail
            server.start()
        assert {b"c"} == line._wanted.keys()


async def test_a_server_that_is_frozen(caplog: pytest.LogCaptureFixture) -> None:
    """One that does not answer a ping is given up; when it thaws, all goes on."""
    hearer = Recorder()
    with redis_server() as server:
        async with connected(server, hearer, timeout=0.2) as line:
            server.freeze()
            await until(lambda: "it did not answer in time" in caplog.text)
            server.thaw()
            await until(lambda: hearer.connections == 2)
            await line.subscribe(b"c")
            assert {b"c"} == line._wanted.keys()


async def test_lost_while_subscribing() -> None:
    """A connection that ends before it has answered has subscribed to nothing."""
    with redis_server() as server:
        async with connected(server, Recorder()) as line, trio.open_nursery() as nursery:

            async def fail() -> None:
                with pytest.raises(BrokerUnavailable, match="did not answer to SUBSCRIBE"):
                    await line.subscribe(b"c")

            async def fail_too() -> None:
                with pytest.raises(BrokerUnavailable, match="Connection lost"):
                    await line.call(ECHO, ["k"])

            server.freeze()
            nursery.start_soon(fail)
            nursery.start_soon(fail_too)
            await wait_all_tasks_blocked()
            server.kill()

    assert {} == line._wanted


async def test_a_connection_that_has_just_ended() -> None:
    """Who would use it before that was noticed waits for the next one: nothing was sent."""
    hearer = Recorder()
    with redis_server() as server:
        async with connected(server, hearer) as line:
            call = partial(line.call, SCRIPTS[0], ["state", "log"], "epoch", 1, 1)
            for count, use in enumerate((partial(line.subscribe, b"c"), call), 2):
                assert line._connection is not None
                line._connection.invalidate()
                assert not line.is_connected()
                await use()
                assert count == hearer.connections


async def test_scripts_that_are_gone() -> None:
    """A call of one fails, once: the next connection loads them."""
    hearer = Recorder()
    with redis_server() as server:
        async with connected(server, hearer) as line:
            with pytest.raises(BrokerUnavailable, match="script"):
                await line.call(ECHO, ["k"])
            await until(lambda: hearer.connections == 2)
            await server.command("SCRIPT", "LOAD", ECHO.text)
            memory, argument, key = await line.call(ECHO, ["k"], "a")

    assert (b"a", b"k") == (argument, key)
    assert memory


async def test_a_server_that_is_a_replica_now() -> None:
    """A call that cannot write there ends the connection, and the next one goes to a primary."""
    hearer = Recorder()
    with redis_server() as server:
        async with connected(server, hearer) as line:
            await server.command("REPLICAOF", "127.0.0.1", "1")
            with pytest.raises(BrokerUnavailable, match="read only"):
                await line.call(SCRIPTS[0], ["state", "log"], "epoch", 1, 1)
            await until(lambda: not line.is_connected())
            await server.command("REPLICAOF", "NO", "ONE")
            await line.call(SCRIPTS[0], ["state", "log"], "epoch", 1, 1)

    assert 2 == hearer.connections


@pytest.mark.parametrize("argument", ["\ud800", None])
async def test_what_cannot_be_sent(argument: Any) -> None:
    """It is the error of who wanted to send it, and of nobody else."""
    hearer = Recorder()
    with redis_server() as server:
        async with connected(server, hearer) as line, trio.open_nursery() as nursery:
            await server.command("SCRIPT", "LOAD", ECHO.text)
            nursery.start_soon(line.call, ECHO, [b"k"], b"a")
            with pytest.raises((UnicodeEncodeError, TypeError)):
                await line.call(ECHO, ["k"], argument)
            _, *answer = await line.call(ECHO, ["ü"], 1)

    assert [b"1", "ü".encode()] == answer
    assert 1 == hearer.connections


async def test_after_the_end() -> None:
    """Who waits for a line that has ended is told at once."""
    told: list[BrokerUnavailable] = []

    async def wait(line: Line) -> None:
        try:
            await line.call(ECHO, ["k"])
        except BrokerUnavailable as exc:
            told.append(exc)

    with redis_server() as server:
        await server.wait_started()
        line = line_to(server, 5, Recorder())
        async with trio.open_nursery() as nursery:
            await nursery.start(line.run)
            server.kill()
            await until(lambda: not line.is_connected())
            nursery.start_soon(wait, line)
            await wait_all_tasks_blocked()
            line.stop()
        with pytest.raises(BrokerUnavailable, match="the session has ended"):
            await line.subscribe(b"c")

    assert ["the session has ended"] == [str(exc) for exc in told]


async def test_never_connected() -> None:
    """The first connection has to be made."""
    with redis_server() as server:
        await server.wait_started()
        server.kill()
        line = line_to(server, 1, Recorder())
        async with trio.open_nursery() as nursery:
            with pytest.raises(BrokerUnavailable, match="there is no server at"):
                await nursery.start(line.run)


async def test_cancelled() -> None:
    """Who gives up waiting leaves nothing behind, and the line goes on."""
    with redis_server() as server:
        async with connected(server, Recorder()) as line:
            server.freeze()
            for use in (partial(line.subscribe, b"c"), partial(line.call, ECHO, ["k"])):
                with trio.move_on_after(0.05) as scope:
                    await use()
                assert scope.cancelled_caught
            assert {} == line._wanted
            server.thaw()
            await line.subscribe(b"other")
            assert {b"other"} == line._wanted.keys() == line._heard


async def test_sharded_channels() -> None:
    """They are channels of their own, which other servers of a cluster need not hear of."""
    hearer = Recorder()
    with redis_server() as server:
        async with connected(server, hearer, sharded=True) as line:
            await line.subscribe(b"c")
            await server.command("PUBLISH", "c", "another")
            await server.command("SPUBLISH", "c", "1")
            await until(lambda: hearer.payloads == [b"1"])
            await server.command("CLIENT", "KILL", "TYPE", "pubsub")
            await until(lambda: hearer.channels == (b"c",))
            line.unsubscribe(b"c")
            await line.subscribe(b"last")
            await server.command("SPUBLISH", "c", "2")
            await server.command("SPUBLISH", "last", "3")
            await until(lambda: len(hearer.payloads) == 2)

    assert [b"1", b"3"] == hearer.payloads


@pytest.mark.parametrize("sharded", [False, True])
async def test_a_refusal(*, sharded: bool) -> None:
    """Who must not hear a channel is told so, and no other answer is taken for it."""
    with redis_server() as server:
        async with connected(server, Recorder(), sharded=sharded) as line:
            await server.command("ACL", "SETUSER", "default", "resetchannels", "&ours")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(line.call, SCRIPTS[0], ["state", "log"], "epoch", 1, 1)
                with pytest.raises(BrokerUnavailable, match="or refused"):
                    await line.subscribe(b"theirs")
                await line.subscribe(b"ours")
            assert {b"ours"} == line._wanted.keys()


@pytest.mark.parametrize("sharded", [False, True])
async def test_a_refusal_later(caplog: pytest.LogCaptureFixture, *, sharded: bool) -> None:
    """It takes no other channel with it, is logged, and asked about again until it is none."""
    hearer = Recorder()
    with redis_server() as server:
        async with connected(server, hearer, timeout=0.2, sharded=sharded) as line:
            for channel in (b"ours", b"theirs", b"given up"):
                await line.subscribe(channel)
            # Redis ends the connection.
            await server.command("ACL", "SETUSER", "default", "resetchannels", "&ours")
            await until(lambda: hearer.channels == (b"ours",))
            line.unsubscribe(b"given up")
            before = await denials(server)
            with trio.fail_after(10):
                while await denials(server) < before + 4:
                    await trio.sleep(0.01)
            assert (b"ours",) == hearer.channels
            await server.command("ACL", "SETUSER", "default", "allchannels")
            await until(lambda: hearer.channels == (b"theirs",))
            assert {b"ours", b"theirs"} == line._heard
            before = hearer.connections
            await server.command("CLIENT", "KILL", "TYPE", "pubsub")
            await until(lambda: hearer.connections > before)
            assert {b"ours", b"theirs"} == set(hearer.channels)

    assert 1 == caplog.text.count("does not let us subscribe to 2 channels")


async def denials(server: RedisServer) -> int:
    """Return how often it was asked for a channel in vain."""
    said = await server.command("INFO", "commandstats")
    return sum(map(int, re.findall(r"cmdstat_s?subscribe:.*rejected_calls=(\d+)", said)))


async def test_a_server_that_cannot_be_quiet() -> None:
    """Channels can be had from it, but not those of a shard."""
    hearer = Recorder()
    with redis_server() as server:
        await server.wait_started()
        await server.command("ACL", "SETUSER", "default", "-client")
        async with connected(server, hearer) as line:
            await line.subscribe(b"c")
            await server.command("PUBLISH", "c", "1")
            await until(lambda: hearer.payloads == [b"1"])
        async with trio.open_nursery() as nursery:
            with pytest.raises(BrokerUnavailable, match="sharded channels take Redis 7"):
                await nursery.start(line_to(server, 1, hearer, sharded=True).run)


async def test_a_node_of_a_cluster() -> None:
    """It says so when it has a channel no more."""
    doubts: list[bytes | None] = []
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder), ())
        node.start()
        try:
            with trio.fail_after(10):
                while await node.command("PING") != "PONG":
                    await trio.sleep(0.01)
            await node.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            (address,), _ = parse_url(f"redis://127.0.0.1:{node.port}")
            line = Line(address, 5, Recorder(), sharded=True, on_doubt=doubts.append)
            async with trio.open_nursery() as nursery:
                await nursery.start(line.run)
                while "cluster_state:ok" not in await node.command("CLUSTER", "INFO"):
                    await trio.sleep(0.01)
                await line.call(SCRIPTS[0], ["{t}1", "{t}2"], "epoch", 1, 1, asking=True)
                await line.subscribe(b"c")
                await node.command("CLUSTER", "DELSLOTSRANGE", "0", "16383")
                await until(lambda: doubts == [b"c"])
                await node.command("CLIENT", "KILL", "TYPE", "normal")
                await until(lambda: doubts == [b"c", None, b"c"])
                line.stop()
        finally:
            node.kill()
