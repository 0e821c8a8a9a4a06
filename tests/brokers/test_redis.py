"""A broker on Redis: what it does beside what every broker promises, with a real one that fails."""

import itertools
import logging
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import trio
import trustme

from tests.brokers.behaviour import ALL, Behaviour, texts, until
from tests.brokers.listeners import Recorder
from tests.brokers.redis_cluster import Node, free_ports
from tests.brokers.redis_server import DURABLE, RedisServer, redis_server
from tests.support import lines
from triows._broker import (
    Broker,
    BrokerSession,
    Message,
    Position,
    PresenceEvent,
    Receipt,
    Retention,
)
from triows._errors import BrokerUnavailable
from triows.brokers import RedisBroker, _redis


@pytest.fixture(scope="module")
def shared() -> Generator[RedisServer]:
    """A server for all tests that do it no harm."""
    with redis_server() as server:
        yield server


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Generator[RedisServer]:
    """A server for one test."""
    with redis_server(*getattr(request, "param", ())) as server:
        yield server


@pytest.mark.parametrize("sharded", [False, True])
class TestPromises(Behaviour):
    """Those of every broker."""

    @pytest.fixture
    async def broker(self, shared: RedisServer, *, sharded: bool) -> Broker:
        """A new one, with keys of its own."""
        await shared.wait_started()
        return RedisBroker(shared.url, prefix=uuid4().hex, sharded=sharded)


async def test_age(shared: RedisServer) -> None:
    """Messages are forgotten when they are too old, one by one."""
    await shared.wait_started()
    retention = Retention(10, 0.4)
    async with RedisBroker(shared.url, prefix=uuid4().hex).open(Recorder()) as session:
        for text in "12":
            await session.publish(Message("t", text), retention)
            await trio.sleep(0.25)
        replay = await session.replay("t", None, retention)
        assert (["2"], False) == (texts(replay.messages), replay.is_complete)
        await trio.sleep(0.4)
        replay = await session.replay("t", replay.position, retention)
        assert ([], 2, True) == (replay.messages, replay.position.offset, replay.is_complete)


async def test_what_is_no_message(shared: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """What others publish to a channel of ours is ignored, and logged."""
    await shared.wait_started()
    listener = Recorder()
    async with RedisBroker(shared.url).open(listener) as session:
        await session.subscribe("t", None)
        for rubbish in ("", "hello", "m\nhello", "mx\n", "pjx\n{", "m1 2\n\x92"):
            await shared.command("PUBLISH", "triows:{t}:all", rubbish)
        await session.publish(Message("t", "ours"), None)
        await until(lambda: len(listener.messages) == 1)

    assert ["ours"] == texts(listener.messages)
    assert [] == listener.events
    assert 6 == caplog.text.count("ignored what is no message of triows in topic 't'")


@pytest.mark.parametrize("data", [None, 1, 1.5, True, ["text"], {"text": "text"}], ids=repr)
def test_data_that_is_none(data: object, caplog: pytest.LogCaptureFixture) -> None:
    """Only text and binary reach the members; it looks like a message of ours, and is none."""
    listener = Recorder()
    session = _redis._RedisSession("triows", 1.0, listener)
    session._topics[b"triows:{t}:all"] = "t"
    for body in (data, "text"):
        payload = msgspec.msgpack.encode((body, "id", False, None, None))
        session.heard(b"triows:{t}:all", b"m\n" + payload)

    assert ["text"] == texts(listener.messages)
    assert 1 == caplog.text.count("ignored what is no message of triows in topic 't'")


DEEP = b"[" * 5000


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"m\n\x95" + b"\x91" * 5000, id="msgpack"),
        pytest.param(b"pjx\n" + DEEP, id="json"),
        pytest.param(b"pj\xff\n1", id="member"),
        pytest.param(b"me\xff 1\n", id="epoch"),
        pytest.param(b"me " + b"1" * 5000 + b"\n", id="offset"),
    ],
)
def test_what_cannot_be_read(payload: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing that anybody publishes to a channel of ours comes out of its hearer."""
    listener = Recorder()
    session = _redis._RedisSession("triows", 1.0, listener)
    session._topics[b"triows:{t}:all"] = "t"
    session.heard(b"triows:{t}:all", payload)

    assert ([], []) == (listener.messages, listener.events)
    assert 1 == caplog.text.count("ignored what is no message of triows in topic 't'")


class Choosy(Recorder):
    """Cannot hand on what it hears of others."""

    def presence_changed(self, event: PresenceEvent) -> None:
        """Fail like an encoder: what could just be read may be nested too deeply to be written."""
        if event.data is not None:
            raise TypeError("the value has no JSON form")
        super().presence_changed(event)


def test_what_nobody_can_hand_on(caplog: pytest.LogCaptureFixture) -> None:
    """An event with which who hears of it can do nothing ends nothing."""
    listener = Choosy()
    session = _redis._RedisSession("triows", 1.0, listener)
    session._topics[b"triows:{t}:all"] = "t"
    for payload in (b"pja\n[]", b"pjb\nnull"):
        session.heard(b"triows:{t}:all", payload)

    assert ["b"] == [event.member for event in listener.events]
    assert 1 == caplog.text.count("ignored what is no message of triows in topic 't'")


def test_after_the_end() -> None:
    """A topic that was given up a moment ago is not heard, though Redis has sent it."""
    listener = Recorder()
    session = _redis._RedisSession("triows", 1.0, listener)
    session.heard(b"triows:{t}:all", b"m\n")
    session.connected([b"triows:{t}:all"])

    assert ([], []) == (listener.messages, listener.lapses)


async def test_who_is_none(shared: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """What others have put among the members is left out, and logged."""
    await shared.wait_started()
    prefix = uuid4().hex
    async with RedisBroker(shared.url, prefix=prefix).open(Recorder()) as session:
        await session.enter("t", "a", 1)
        await shared.command("ZADD", f"{prefix}:{{t}}:who", "99999999999999", "other")
        await shared.command("HSET", f"{prefix}:{{t}}:who:other", "b", "{", "\udcff", "1", "c", "2")
        assert {"a": 1, "c": 2} == await session.presence("t")

    assert 2 == caplog.text.count("ignored what is no member of topic 't'")


FAR = "9" * 15


@pytest.mark.parametrize(
    ("command", "key", "rubbish"),
    [
        ("XADD", "log", ["*", "foo", "bar"]),
        ("XADD", "log", [f"{FAR}-0", "at", FAR, "m", "rubbish"]),
        ("HSET", "state", ["offset", "nonsense"]),
        ("HSET", "state", ["offset", "-5"]),
        ("HSET", "state", ["offset", "1e300"]),
        ("HSET", "state", ["epoch", "é"]),
        ("HSET", "state", ["epoch", ""]),
        ("HDEL", "state", ["epoch"]),
        ("HDEL", "state", ["offset"]),
        ("SET", "log", ["no stream"]),
        ("SET", "state", ["no hash"]),
    ],
)
async def test_what_others_write(
    shared: RedisServer, command: str, key: str, rubbish: list[str]
) -> None:
    """Where nothing of ours would fit any more, a new epoch begins, and that is told."""
    await shared.wait_started()
    prefix = uuid4().hex
    async with RedisBroker(shared.url, prefix=prefix).open(Recorder()) as session:
        before = (await session.publish(Message("t", "1"), ALL)).position
        await shared.command(command, f"{prefix}:{{t}}:{key}", *rubbish)
        after = (await session.publish(Message("t", "2"), ALL)).position
        replay = await session.replay("t", before, ALL)
        stands = await session.subscribe("t", ALL)

    assert before is not None
    assert after is not None
    assert after == replay.position == stands == Position(after.epoch, 1)
    assert before.epoch != after.epoch
    assert (["2"], False) == (texts(replay.messages), replay.is_complete)


@pytest.mark.parametrize("rubbish", [("kept", "x"), ("ms", "x"), ("kept", "-1"), ("ms", "nan")])
async def test_a_retention_that_is_none(shared: RedisServer, rubbish: tuple[str, str]) -> None:
    """It is as if nobody had named one, until somebody does."""
    await shared.wait_started()
    prefix = uuid4().hex
    async with RedisBroker(shared.url, prefix=prefix).open(Recorder()) as session:
        await session.publish(Message("t", "1"), ALL)
        await shared.command("HSET", f"{prefix}:{{t}}:state", *rubbish)
        assert (await session.publish(Message("t", "unkept"), None)).position is None
        position = (await session.publish(Message("t", "2"), ALL)).position
        assert position is not None
        assert 2 == position.offset
        assert position == await session.subscribe("t", None)


@pytest.mark.parametrize("told", [{"key": 7}, {"key": b"k"}, {"exclude": 7}], ids=repr)
async def test_keys_that_are_none(shared: RedisServer, told: dict[str, Any]) -> None:
    """Whose message nobody could read is told so, before anything is sent."""
    await shared.wait_started()
    listener = Recorder()
    async with RedisBroker(shared.url, prefix=uuid4().hex).open(listener) as session:
        await session.subscribe("t", ALL)
        with pytest.raises(TypeError, match="a text or None, not"):
            await session.publish(Message("t", "hi", **told), ALL)
        receipt = await session.publish(Message("t", "first"), ALL)
        await until(lambda: len(listener.messages) == 1)

    assert receipt.position is not None
    assert 1 == receipt.position.offset
    assert ["first"] == texts(listener.messages)


async def test_a_cluster_of_one() -> None:
    """What begins with `redis+cluster://` is a matter of several lines."""
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder), ())
        node.start()
        try:
            while await node.command("PING") != "PONG":
                await trio.sleep(0.01)
            await node.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            broker = RedisBroker(f"redis+cluster://127.0.0.1:{node.port}")
            async with broker.open(Recorder()) as session:
                assert (await session.publish(Message("t", "hi"), ALL)).position
        finally:
            node.kill()


@pytest.fixture
def authority() -> trustme.CA:
    """An authority that no system trusts."""
    return trustme.CA()


@pytest.fixture
async def tls(authority: trustme.CA, tmp_path: Path) -> AsyncGenerator[int]:
    """The port of a server that speaks TLS there."""
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    certificate.private_key_pem.write_to_path(tmp_path / "key")
    authority.cert_pem.write_to_path(tmp_path / "ca")
    (port,) = free_ports(1)
    names = [str(tmp_path / name) for name in ("cert", "key", "ca")]
    files = zip(("--tls-cert-file", "--tls-key-file", "--tls-ca-cert-file"), names, strict=True)
    options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    with redis_server(*options, *itertools.chain(*files)) as server:
        await server.wait_started()
        yield port


async def test_tls(tls: int, tmp_path: Path) -> None:
    """With `rediss://`, and the authority that has signed, it is the same."""
    listener = Recorder()
    broker = RedisBroker(f"rediss://localhost:{tls}?ssl_ca_certs={tmp_path / 'ca'}")
    async with broker.open(listener) as session:
        await session.subscribe("t", None)
        await session.publish(Message("t", "hi"), None)
        await until(lambda: texts(listener.messages) == ["hi"])


@pytest.mark.parametrize("url", ["redis://localhost:{}", "rediss://localhost:{}"])
async def test_tls_that_is_not_trusted(tls: int, url: str) -> None:
    """Nothing is sent to a server that nobody vouches for, nor without TLS to one that has it."""
    with pytest.RaisesGroup(BrokerUnavailable, flatten_subgroups=True, allow_unwrapped=True):
        async with RedisBroker(url.format(tls), timeout=1).open(Recorder()):
            pass


# Redis fails


async def publish(session: BrokerSession, message: Message) -> Receipt:
    """Publish a message to a server that was killed, and has published none that failed."""
    while True:
        try:
            return await session.publish(message, ALL)
        except BrokerUnavailable:
            await trio.sleep(0.01)


async def test_a_server_that_forgets(server: RedisServer) -> None:
    """After a restart a new epoch begins, everybody is told of the gap, and members are present."""
    await server.wait_started()
    listener = Recorder()
    broker = RedisBroker(server.url, timeout=5)
    async with broker.open(listener) as here, broker.open(Recorder()) as there:
        before = await here.subscribe("kept", ALL)
        await here.subscribe("live", None)
        await there.enter("live", "a", 1)
        await there.publish(Message("kept", "lost"), ALL)
        server.kill()
        server.start()
        receipt = await publish(there, Message("kept", "first"))
        await until(lambda: len(listener.lapses) == 2)
        replay = await here.replay("kept", before, ALL)
        # Its second event may have come before the line here was back, as the lapse says.
        with trio.fail_after(10):
            while await here.presence("live") != {"a": 1}:
                await trio.sleep(0.01)

    assert {"kept", "live"} == set(listener.lapses)
    assert before is not None
    assert receipt.position is not None
    assert before.epoch != receipt.position.epoch
    assert (["first"], False) == (texts(replay.messages), replay.is_complete)


@pytest.mark.parametrize("server", [DURABLE], indirect=True)
async def test_a_server_that_remembers(server: RedisServer) -> None:
    """One that has every write on its disk is believed, even after it was killed."""
    await server.wait_started()
    listener = Recorder()
    async with RedisBroker(server.url, timeout=5).open(listener) as session:
        start = await session.subscribe("t", ALL)
        assert start is not None
        for i in range(20):
            await session.publish(Message("t", str(i)), ALL)
        server.kill()
        server.start()
        receipt = await publish(session, Message("t", "20"))
        await until(lambda: listener.lapses == ["t"])
        replay = await session.replay("t", start, ALL)

    assert Position(start.epoch, 21) == receipt.position
    assert ([str(i) for i in range(21)], True) == (texts(replay.messages), replay.is_complete)


async def test_a_frozen_server(server: RedisServer) -> None:
    """What is published meanwhile waits, each call for `timeout`, and goes out by itself."""
    await server.wait_started()
    listener = Recorder()
    async with (
        RedisBroker(server.url, timeout=10).open(listener) as session,
        trio.open_nursery() as nursery,
    ):
        await session.subscribe("t", ALL)
        server.freeze()
        for i in range(10):
            nursery.start_soon(session.publish, Message("t", str(i)), ALL)
        await trio.sleep(0.3)
        assert [] == listener.messages
        server.thaw()
        await until(lambda: len(listener.messages) == 10)

    assert [] == listener.lapses


async def test_nobody_answers(server: RedisServer) -> None:
    """After `timeout` each call says so, nothing is left behind, and all goes on afterwards."""
    await server.wait_started()
    listener = Recorder()
    async with RedisBroker(server.url, timeout=0.2, lease=0.3).open(listener) as session:
        await session.subscribe("t", None)
        await session.enter("t", "stays", 1)
        await session.enter("t", "leaves", 1)
        server.freeze()
        await session.leave("t", "leaves")
        calls: list[Any] = [
            session.publish(Message("t", ""), None),
            session.subscribe("other", None),
            session.replay("t", None, None),
            session.presence("t"),
            session.enter("t", "comes", 1),
        ]
        for call in calls:
            with pytest.raises(BrokerUnavailable, match="Redis"):
                await call
        server.thaw()
        await until(lambda: listener.lapses != [])
        assert "other" not in listener.lapses
        with trio.fail_after(10):
            while await session.presence("t") != {"stays": 1}:
                await trio.sleep(0.01)


async def test_leaving_while_it_is_away(server: RedisServer) -> None:
    """Nobody waits for that, and who has left is not there when it is back."""
    await server.wait_started()
    async with RedisBroker(server.url).open(Recorder()) as session:
        await session.enter("t", "a", 1)
        await session.enter("t", "b", 1)
        server.kill()
        await until(lambda: not session.line.is_connected())  # type: ignore[attr-defined]
        with trio.fail_after(1):
            await session.leave("t", "a")
        server.start()
        while await session.presence("t") != {"b": 1}:
            await trio.sleep(0.01)


async def test_a_session_that_ends_while_its_line_is_made_again(shared: RedisServer) -> None:
    """It waits for that a moment: nobody else would take its members out before the lease ends."""
    await shared.wait_started()
    prefix = uuid4().hex
    async with RedisBroker(shared.url, prefix=prefix).open(Recorder()) as other:
        async with RedisBroker(shared.url, prefix=prefix).open(Recorder()) as session:
            await session.enter("t", "a", 1)
            session.line._connection.invalidate("lost")  # type: ignore[attr-defined]
        assert {} == await other.presence("t")


async def test_leaving_while_it_is_frozen(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """However many leave, the log is told once that it comes later; and so it does."""
    await server.wait_started()
    async with RedisBroker(server.url, timeout=0.3).open(Recorder()) as session:
        for member in "abcde":
            await session.enter("t", member, 1)
        server.freeze()
        async with trio.open_nursery() as nursery:
            for member in "abcd":
                nursery.start_soon(session.leave, "t", member)
        server.thaw()
        with trio.fail_after(10):
            while await presence_of(session) != {"e": 1}:
                await trio.sleep(0.01)

    told = [line for line in lines(caplog, logging.WARNING) if "members leave later" in line]
    assert 1 == len(told)


async def presence_of(session: BrokerSession) -> object:
    """Return who is in a topic, or None while that cannot be asked."""
    try:
        return await session.presence("t")
    except BrokerUnavailable:
        return None


async def no_farewell(session: object) -> None:
    """Be dead before it can be said."""
    await trio.lowlevel.checkpoint()


async def test_killed_sessions(shared: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members of a process that could say no farewell are gone with its lease."""
    await shared.wait_started()
    monkeypatch.setattr(_redis._RedisSession, "end", no_farewell)
    broker = RedisBroker(shared.url, prefix=uuid4().hex, lease=0.3)
    listener = Recorder()
    async with broker.open(listener) as here:
        await here.subscribe("t", None)
        await here.enter("t", "lives", 1)
        await here.enter("left", "lives", 1)
        await here.leave("left", "lives")
        async with broker.open(Recorder()) as there:
            await there.enter("t", "dies", 2)
        assert {"lives": 1, "dies": 2} == await here.presence("t")
        await until(lambda: len(listener.events) == 3)
        await trio.sleep(0.5)
        assert {"lives": 1} == await here.presence("t")

    assert [("join", "lives"), ("join", "dies"), ("leave", "dies")] == [
        (event.kind, event.member) for event in listener.events
    ][:3]


async def test_many_leases(shared: RedisServer) -> None:
    """However many topics a session is present in, all are renewed, and none twice at a time."""
    await shared.wait_started()
    prefix = uuid4().hex
    names = [f"t{i}" for i in range(250)]
    async with RedisBroker(shared.url, prefix=prefix, lease=1.5).open(Recorder()) as session:
        for name in names:
            await session.enter(name, "a", 1)
        await trio.sleep(2)
        async with RedisBroker(shared.url, prefix=prefix).open(Recorder()) as other:
            for name in names:
                assert {"a": 1} == await other.presence(name)


async def test_a_lease_that_cannot_be_renewed(
    shared: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs no other topic its members; it is logged once, and once more after a recovery."""
    await shared.wait_started()
    prefix = uuid4().hex
    names = [f"t{i}" for i in range(250)]
    bad = f"{prefix}:{{t100}}:who"
    async with RedisBroker(shared.url, prefix=prefix, lease=1.5).open(Recorder()) as session:
        for name in names:
            await session.enter(name, "a", 1)
        await shared.command("DEL", bad)
        await shared.command("SET", bad, "rubbish")
        await trio.sleep(3)
        async with RedisBroker(shared.url, prefix=prefix).open(Recorder()) as other:
            for name in [*names[:100], *names[101:]]:
                assert {"a": 1} == await other.presence(name)
        assert 1 == caplog.text.count("the presence of topic 't100' was not renewed")
        await shared.command("DEL", bad)
        await until_present(session, "t100")
        await trio.sleep(1)
        await shared.command("SET", bad, "rubbish")
        await trio.sleep(1)

    # Its members are to leave at the end, too, which fails in another place.
    assert 2 <= caplog.text.count("the presence of topic 't100' was not renewed") <= 3


async def until_present(session: BrokerSession, topic: str) -> None:
    """Wait until a topic has a member."""
    with trio.fail_after(10):
        while not await session.presence(topic):
            await trio.sleep(0.01)


async def test_a_silent_topic(shared: RedisServer) -> None:
    """While somebody uses it, Redis knows its history, of which others need not have heard."""
    await shared.wait_started()
    prefix = uuid4().hex
    state, log = f"{prefix}:{{t}}:state", f"{prefix}:{{t}}:log"
    async with (
        RedisBroker(shared.url, prefix=prefix, lease=0.3).open(Recorder()) as session,
        RedisBroker(shared.url, prefix=prefix).open(Recorder()) as other,
    ):
        await session.subscribe("t", ALL)
        before = (await session.publish(Message("t", "1"), ALL)).position
        assert before is not None
        await shared.command("PEXPIRE", state, "2000")
        with trio.fail_after(10):
            while int(await shared.command("PTTL", state)) < 86_000_000:
                await trio.sleep(0.01)
        await shared.command("DEL", log)  # Its messages are too old by now.
        after = (await other.publish(Message("t", "2"), None)).position

    assert Position(before.epoch, 2) == after


async def test_topics_that_are_only_joined(shared: RedisServer) -> None:
    """Of names that anybody may make up little is left, and not for long; of others it is."""
    await shared.wait_started()
    prefix = uuid4().hex
    state = f"{prefix}:{{t}}:state"
    async with RedisBroker(shared.url, prefix=prefix, lease=0.3).open(Recorder()) as session:
        start = await session.subscribe("t", ALL)
        assert 0 < int(await shared.command("PTTL", state)) <= 600_000
        await shared.command("PEXPIRE", state, "2000")
        with trio.fail_after(10):
            while int(await shared.command("PTTL", state)) < 590_000:
                await trio.sleep(0.01)
        assert int(await shared.command("PTTL", state)) <= 600_000
        # Nobody was there for longer; nothing is said to be complete of what is not known.
        await shared.command("DEL", state)
        again = await session.replay("t", start, ALL)
        assert start is not None
        assert (False, 0) == (again.is_complete, again.position.offset)
        assert start.epoch != again.position.epoch
        await session.publish(Message("t", "1"), ALL)
        assert 600_000 < int(await shared.command("PTTL", state))


async def test_a_state_that_is_none(shared: RedisServer) -> None:
    """What others have put there keeps nobody from being present."""
    await shared.wait_started()
    prefix = uuid4().hex
    async with RedisBroker(shared.url, prefix=prefix, lease=0.3).open(Recorder()) as session:
        await session.enter("t", "a", 1)
        await shared.command("SET", f"{prefix}:{{t}}:state", "rubbish")
        lease = ["ZRANGE", f"{prefix}:{{t}}:who", "0", "-1", "WITHSCORES"]
        before = await shared.command(*lease)
        with trio.fail_after(10):
            while await shared.command(*lease) == before:
                await trio.sleep(0.01)


async def test_away_from_the_beginning(server: RedisServer) -> None:
    """A session that cannot be opened says so."""
    await server.wait_started()
    server.kill()
    with pytest.raises(BrokerUnavailable, match="Redis cannot be reached"):
        async with RedisBroker(server.url).open(Recorder()):
            pass


async def test_a_failing_block(shared: RedisServer) -> None:
    """What it raises comes out as it is, and its members have left."""
    await shared.wait_started()
    broker = RedisBroker(shared.url, prefix=uuid4().hex)
    async with broker.open(Recorder()) as session:
        with pytest.raises(ZeroDivisionError):
            async with broker.open(Recorder()) as failing:
                await failing.enter("t", "a", None)
                raise ZeroDivisionError
        assert {} == await session.presence("t")


# Its settings


@pytest.mark.parametrize("seconds", [{"timeout": 0}, {"lease": -1}])
def test_seconds(seconds: dict[str, Any]) -> None:
    """They have to be some."""
    with pytest.raises(ValueError, match="timeout and lease are seconds above 0"):
        RedisBroker("redis://localhost", **seconds)


def test_a_prefix() -> None:
    """It must not part the keys of a topic."""
    with pytest.raises(ValueError, match="would part a topic's keys"):
        RedisBroker("redis://localhost", prefix="a{}")


def test_a_url_that_is_none() -> None:
    """It is said where it was written."""
    with pytest.raises(ValueError, match="begins with one of"):
        RedisBroker("localhost:6379")


@pytest.fixture
def no_coredis(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let it not be installed."""
    monkeypatch.setitem(sys.modules, "triows.brokers._redis_address", None)
    return iter(())


@pytest.mark.usefixtures("no_coredis")
def test_without_the_extra() -> None:
    """The error says what to install."""
    with pytest.raises(ImportError, match=r"install triows\[redis\]"):
        RedisBroker("redis://localhost")
