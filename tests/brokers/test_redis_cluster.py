"""Lines to the nodes of a real Redis Cluster, whose slots move."""

import logging
from collections.abc import Generator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trio

from tests.brokers.behaviour import ALL, Behaviour, texts, until
from tests.brokers.listeners import Recorder
from tests.brokers.redis_cluster import Node, RedisCluster, redis_cluster
from tests.brokers.redis_server import DURABLE
from tests.support import lines
from triows._broker import Broker, BrokerSession, Message
from triows._errors import BrokerUnavailable
from triows.brokers import RedisBroker, _redis_cluster, _redis_line
from triows.brokers._redis_cluster import slot_of
from triows.brokers._redis_line import Line

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def shared() -> Generator[RedisCluster]:
    """A cluster for all tests: it takes two seconds until it is one."""
    with redis_cluster("--cluster-require-full-coverage", "no") as cluster:
        yield cluster


@pytest.mark.parametrize("sharded", [False, True])
class TestPromises(Behaviour):
    """Those of every broker."""

    @pytest.fixture
    async def broker(self, shared: RedisCluster, *, sharded: bool) -> Broker:
        """A new one, with keys of its own."""
        await shared.wait_started()
        return RedisBroker(shared.url, prefix=uuid4().hex, sharded=sharded)


@pytest.mark.parametrize("key", ["a", "{a}b", "a{b}c", "{}a", "a{", "a{b", "a{b}{c}", "{a}}", "ü"])
async def test_slots(shared: RedisCluster, key: str) -> None:
    """They are the same to us as to the nodes."""
    await shared.wait_started()

    assert str(slot_of(key.encode())) == await shared.nodes[0].command("CLUSTER", "KEYSLOT", key)


@pytest.mark.parametrize("topic", ["t", "}", "}}", "{", "{}", "{a}b", "a}b", " "])
async def test_topics_of_any_name(shared: RedisCluster, topic: str) -> None:
    """All that is of a topic is in one slot."""
    await shared.wait_started()
    listener = Recorder()
    async with RedisBroker(shared.url, prefix=uuid4().hex).open(listener) as session:
        await session.subscribe(topic, ALL)
        await session.enter(topic, "a", 1)
        await session.publish(Message(topic, "hi"), ALL)
        assert {"a": 1} == await session.presence(topic)
        await until(lambda: texts(listener.messages) == ["hi"])


async def test_what_cannot_be_sent(shared: RedisCluster) -> None:
    """That is found before anything has to be waited for."""
    await shared.wait_started()
    async with RedisBroker(shared.url, prefix=uuid4().hex).open(Recorder()) as session:
        session.line._lasts = []  # type: ignore[attr-defined]  # Nobody knows who has which slot.
        with pytest.raises(UnicodeEncodeError), trio.fail_after(0):
            await session.enter("t", "\ud800", 1)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes are asked again soon."""
    monkeypatch.setattr(_redis_line, "LONGEST_PAUSE", 0.2)
    monkeypatch.setattr(_redis_cluster, "LONGEST_PAUSE", 0.2)


@pytest.fixture
def cluster(shared: RedisCluster, soon: None) -> RedisCluster:
    """The shared one. Each test has topics of its own there, or leaves them where they were."""
    return shared


@pytest.fixture
def replicated(soon: None) -> Generator[RedisCluster]:
    """A cluster for one test, with a node that is of no use yet, and copies another one at once."""
    with redis_cluster("--repl-diskless-sync-delay", "0", *DURABLE, replicas=1) as cluster:
        yield cluster


def owner_of(cluster: RedisCluster, topic: str) -> int:
    """Return which of its nodes has a topic, before anything has moved."""
    slot = slot_of(f"{{{topic}}}".encode())
    return sum(slot > last for last in (5000, 11000))


async def hear(session: BrokerSession, listener: Recorder, topic: str, text: str) -> None:
    """Publish to a topic until it is heard there."""
    with trio.fail_after(20):
        while text not in texts(listener.messages):
            try:
                await session.publish(Message(topic, text), None)
            except BrokerUnavailable:
                await trio.sleep(0.01)
            await trio.sleep(0.01)


@pytest.mark.parametrize("sharded", [False, True])
async def test_slots_that_move(cluster: RedisCluster, *, sharded: bool) -> None:
    """Topics are heard, and their members present, wherever they are; what may be lost is told."""
    await cluster.wait_started()
    listener = Recorder()
    async with RedisBroker(cluster.url, sharded=sharded).open(listener) as session:
        await session.subscribe("t", None)
        await session.subscribe("other", None)
        listener.lapses.clear()
        await session.enter("t", "a", 1)
        slot, first = slot_of(b"{t}"), owner_of(cluster, "t")
        # The last one has it twice, once when it was there before.
        for step in range(3):
            source, target = (
                cluster.nodes[(first + step) % 3],
                cluster.nodes[(first + step + 1) % 3],
            )
            await cluster.move(slot, source, target)
            await hear(session, listener, "t", f"step {step}")
            await until(lambda: listener.lapses.count("t") > step)  # noqa: B023
            await hear(session, listener, "t", f"after step {step}")
            assert {"a": 1} == await session.presence("t")
        await hear(session, listener, "other", "still here")

    assert {"t"} == set(listener.lapses)


async def test_a_slot_that_is_moving(cluster: RedisCluster) -> None:
    """What is not yet anywhere is where it will be; what is torn apart waits."""
    await cluster.wait_started()
    source = cluster.nodes[owner_of(cluster, "moving")]
    target = cluster.nodes[(owner_of(cluster, "moving") + 1) % 3]
    slot = str(slot_of(b"{moving}"))
    names = [await node.command("CLUSTER", "MYID") for node in (source, target)]
    async with RedisBroker(cluster.url).open(Recorder()) as session:
        first = await session.publish(Message("moving", "1"), ALL)
        await target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[0])
        await source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[1])
        second = await session.publish(Message("moving", "2"), ALL)
        await migrate(source, target, "triows:{moving}:state")
        # One of its keys has moved, and one has not.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.publish, Message("moving", "3"), ALL)
            await trio.sleep(0.3)
            await migrate(source, target, "triows:{moving}:log")
        third = await session.publish(Message("moving", "4"), ALL)
        # Of what is nowhere yet it is not known where it is.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.enter, "moving", "a", 1)
            await trio.sleep(0.3)
            await end_migration(source, target, slot, names[1])
        assert {"a": 1} == await session.presence("moving")
        replay = await session.replay("moving", None, ALL)

    # The other node is another memory.
    assert (["3", "4"], True) == (texts(replay.messages), replay.is_complete)
    assert first.position is not None
    assert (second.position, third.position) == (
        first.position._replace(offset=2),
        replay.position,
    )


async def migrate(source: Node, target: Node, *keys: str) -> None:
    """Move some keys."""
    place = ("127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *keys)
    assert await source.command("MIGRATE", *place) == "OK"


async def end_migration(source: Node, target: Node, slot: str, name: str) -> None:
    """Have a slot arrive."""
    for node in (target, source):
        assert await node.command("CLUSTER", "SETSLOT", slot, "NODE", name) == "OK"


async def test_a_node_that_is_away(cluster: RedisCluster) -> None:
    """Its topics wait for it, and the others notice nothing."""
    await cluster.wait_started()
    listener = Recorder()
    away = cluster.nodes[owner_of(cluster, "t")]
    other = next(name for name in "abcdef" if owner_of(cluster, name) != owner_of(cluster, "t"))
    async with RedisBroker(cluster.url, timeout=0.5, lease=1).open(listener) as session:
        for topic in ("t", other):
            await session.subscribe(topic, None)
        listener.lapses.clear()
        await session.enter("t", "stays", 1)
        away.kill()
        with pytest.raises(BrokerUnavailable, match="Redis"):
            await session.publish(Message("t", ""), None)
        with pytest.raises(BrokerUnavailable, match="SUBSCRIBE"):
            await session.subscribe("t", None)
        await session.publish(Message(other, "hi"), None)
        await until(lambda: "hi" in texts(listener.messages))
        assert {} == {**(await presence_or_none(session, "t"))}
        away.start()
        with trio.fail_after(20):
            while await presence_or_none(session, "t") != {"stays": 1}:
                await trio.sleep(0.01)
        assert other not in listener.lapses


async def test_a_node_that_knows_nothing(cluster: RedisCluster, tmp_path: Path) -> None:
    """One that is new, or has lost what it knew, is not believed that nobody has any slot."""
    await cluster.wait_started()
    empty = Node(tmp_path, ())
    empty.start()
    try:
        with trio.fail_after(10):
            while await empty.command("PING") != "PONG":
                await trio.sleep(0.01)
        url = f"redis+cluster://127.0.0.1:{empty.port},127.0.0.1:{cluster.nodes[0].port}"
        for _ in range(5):
            async with RedisBroker(url, prefix=uuid4().hex).open(Recorder()) as session:
                await session.publish(Message("t", "hi"), None)
        with pytest.raises(BrokerUnavailable, match="a node knows of no slots"):
            async with RedisBroker(f"redis+cluster://127.0.0.1:{empty.port}").open(Recorder()):
                pass
    finally:
        empty.kill()


async def test_slots_that_nobody_has(cluster: RedisCluster) -> None:
    """Whoever listens there is found a home again as soon as somebody says that he has them."""
    await cluster.wait_started()
    listener = Recorder()
    async with RedisBroker(cluster.url, prefix=uuid4().hex).open(listener) as session:
        await session.subscribe("t", None)
        listener.lapses.clear()
        line = session.line  # type: ignore[attr-defined]
        line._learn([])
        line._settle()
        assert not line._lines
        await hear(session, listener, "t", "hi")

    assert {"t"} == set(listener.lapses)


async def test_leases_while_a_node_is_away(cluster: RedisCluster) -> None:
    """Those of topics on other nodes are renewed, however many are of the one that is away."""
    await cluster.wait_started()
    prefix = uuid4().hex
    away = cluster.nodes[0]
    names = [f"t{i}" for i in range(400)]
    there = [name for name in names if owner_of(cluster, name) == 0]
    others = [name for name in names if owner_of(cluster, name) != 0]
    assert len(there) > 100
    broker = RedisBroker(cluster.url, prefix=prefix, timeout=0.5, lease=1.5)
    async with broker.open(Recorder()) as session:
        for name in names:
            await session.enter(name, "stays", 1)
        away.kill()
        await trio.sleep(4)
        for name in others:
            assert {"stays": 1} == await session.presence(name)
        away.start()
        with trio.fail_after(20):
            while await presence_or_none(session, there[0]) != {"stays": 1}:
                await trio.sleep(0.01)


async def presence_or_none(session: BrokerSession, topic: str) -> dict[str, object]:
    """Return who is present, as far as that can be asked."""
    try:
        return dict(await session.presence(topic))
    except BrokerUnavailable:
        return {}


async def test_a_node_that_takes_over(replicated: RedisCluster) -> None:
    """It is another one, and may lack something: a new epoch begins, though it has a disk."""
    await replicated.wait_started()
    listener = Recorder()
    first = replicated.nodes[owner_of(replicated, "t")]
    name = await first.command("CLUSTER", "MYID")
    await replicated.nodes[3].command("CLUSTER", "REPLICATE", name)
    with trio.fail_after(10):
        while "master_link_status:up" not in await replicated.nodes[3].command(
            "INFO", "replication"
        ):
            await trio.sleep(0.01)
    async with RedisBroker(replicated.url, timeout=1).open(listener) as session:
        before = await session.subscribe("t", ALL)
        first.kill()
        await hear(session, listener, "t", "after")
        await until(lambda: "t" in listener.lapses)
        after = await session.replay("t", before, ALL)

    assert before is not None
    assert before.epoch != after.position.epoch
    assert not after.is_complete


async def test_a_cluster_that_is_away(
    cluster: RedisCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """It is asked for again and again; at the beginning somebody has to be there."""
    await cluster.wait_started()
    listener = Recorder()
    broker = RedisBroker(cluster.url, timeout=0.5)
    async with broker.open(listener) as session:
        await session.subscribe("t", None)
        for node in cluster.nodes:
            node.kill()
        await until(lambda: "the Redis Cluster cannot be reached" in caplog.text)
        with trio.move_on_after(0.01) as scope:
            await session.subscribe("other", None)
        assert scope.cancelled_caught
        with pytest.RaisesGroup(BrokerUnavailable, flatten_subgroups=True, allow_unwrapped=True):
            async with broker.open(Recorder()):
                pass
        for node in cluster.nodes:
            node.start()
        await hear(session, listener, "t", "again")
    assert "other" not in listener.lapses


@pytest.mark.parametrize("sharded", [False, True])
async def test_channels_that_do_not_follow_at_once(
    cluster: RedisCluster, caplog: pytest.LogCaptureFixture, *, sharded: bool
) -> None:
    """They are tried again, and the log is told why once, of however many.

    One that nobody wants any more is given up when it arrives.
    """
    await cluster.wait_started()
    listener = Recorder()
    async with RedisBroker(cluster.url, sharded=sharded).open(listener) as session:
        line: Any = session.line  # type: ignore[attr-defined]
        await session.subscribe("t", None)
        listener.lapses.clear()
        home, channel = line._homes[b"triows:{t}:all"], b"triows:{t}:all"
        ended = Line(line._addresses[0], 1, line._hearer)
        ended._is_over = True
        for _ in range(3):
            await line._follow(channel, ended)
        assert ["a channel has not followed its slot yet: the session has ended"] == lines(
            caplog, logging.WARNING
        )
        await until(lambda: listener.lapses == ["t"])
        await line._follow(b"unwanted", home)
        assert {channel} == home._wanted.keys()
        # Nobody knows who has which slot.
        line._lasts, line._owners = [], []
        assert line.is_connected("any")
        await hear(session, listener, "t", "still here")
        # One is asked for what another one has.
        line._owners = [*line._owners[1:], line._owners[0]]
        await session.subscribe("other", None)
