"""`triows publish`: a message to a topic, from the shell."""

import sys
from collections.abc import Generator
from functools import partial

import pytest
import trio

from tests.brokers.behaviour import until
from tests.brokers.listeners import Recorder
from tests.brokers.redis_server import RedisServer, redis_server
from triows._broker import Message, Retention
from triows.brokers import RedisBroker
from triows.cli import main


@pytest.fixture
def redis() -> Generator[RedisServer]:
    """A Redis for one test."""
    with redis_server() as server:
        yield server


async def publish(server: RedisServer, *arguments: str) -> int:
    """Run the command in a thread, where it has a Trio of its own."""
    command = ["publish", *arguments, "--broker", server.url]
    return await trio.to_thread.run_sync(partial(main, command))


async def test_publishing(redis: RedisServer, capfd: pytest.CaptureFixture[str]) -> None:
    """Who has subscribed to the topic gets the message, and the user reads how many they are."""
    await redis.wait_started()
    listener = Recorder()
    async with RedisBroker(redis.url).open(listener) as session:
        await session.subscribe("room:7", None)
        assert 0 == await publish(redis, "room:7", "hello")
        assert 0 == await publish(redis, "room:7", '{"a": 1}', "--json", "--key", "k")
        assert 0 == await publish(redis, "nobody", "hello")
        await until(lambda: len(listener.messages) == 2)

    text, json = listener.messages
    assert Message("room:7", "hello", text.id) == text
    assert Message("room:7", '{"a": 1}', json.id, is_json=True, key="k") == json
    assert text.id != json.id
    assert ["published to 1 process"] * 2 + ["published to 0 processes"] == [
        line for line in capfd.readouterr().out.splitlines() if "published" in line
    ]


async def test_history(redis: RedisServer, capfd: pytest.CaptureFixture[str]) -> None:
    """A topic keeps the history that the app has given it."""
    await redis.wait_started()
    async with RedisBroker(redis.url, prefix="shop").open(Recorder()) as session:
        position = await session.subscribe("t", Retention(5, 60.0))
        assert 0 == await publish(redis, "t", "hello", "--prefix", "shop")
        replay = await session.replay("t", position, Retention(5, 60.0))

    assert ["hello"] == [message.data for message in replay.messages]
    assert position is not None
    assert f"as 1 of epoch {position.epoch}" in capfd.readouterr().out


async def test_sharded_channels(redis: RedisServer) -> None:
    """An app that has those hears nothing else."""
    await redis.wait_started()
    listener = Recorder()
    async with RedisBroker(redis.url, sharded=True).open(listener) as session:
        await session.subscribe("t", None)
        assert 0 == await publish(redis, "t", "not heard")
        assert 0 == await publish(redis, "t", "heard", "--sharded")
        await until(lambda: len(listener.messages) == 1)

    assert ["heard"] == [message.data for message in listener.messages]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["t", "m", "--broker", "localhost"], "begins with one of"),
        (["", "m", "--broker", "redis://localhost"], "topic"),
        (["t", "{", "--json", "--broker", "redis://localhost"], "not JSON"),
        (["t", "\udcff", "--broker", "redis://localhost"], "not UTF-8"),
        (["t", "m", "--key", "\udcff", "--broker", "redis://localhost"], "not UTF-8"),
        (["t", "m", "--timeout", "0", "--broker", "redis://localhost"], "seconds above 0"),
    ],
)
def test_misuse(arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be is said in one line, and nothing is connected to."""
    status = main(["publish", *arguments])

    captured = capsys.readouterr()
    assert 2 == status
    assert captured.err.startswith("triows: ")
    assert error in captured.err
    assert 1 == captured.err.count("\n")


def test_without_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user reads what to install."""
    monkeypatch.setitem(sys.modules, "triows.brokers._redis_address", None)
    assert 2 == main(["publish", "t", "m", "--broker", "redis://localhost"])
    assert "install triows[redis]" in capsys.readouterr().err


async def test_away(redis: RedisServer, capfd: pytest.CaptureFixture[str]) -> None:
    """Without a Redis there is a status of its own."""
    await redis.wait_started()
    redis.kill()

    assert 6 == await publish(redis, "t", "m")
    assert "triows: Redis cannot be reached" in capfd.readouterr().err
