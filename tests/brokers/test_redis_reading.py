"""A history that is read page by page, while others publish, trim it, or lose it."""

from collections.abc import Awaitable, Callable, Generator
from typing import Any
from uuid import uuid4

import pytest
import trio

from tests.brokers.behaviour import ALL, KEPT, texts, until
from tests.brokers.listeners import Recorder
from tests.brokers.redis_server import RedisServer, redis_server
from triows._broker import BrokerSession, Message, Position, Replay, Retention
from triows.brokers import RedisBroker
from triows.brokers._redis_messages import encode_message
from triows.brokers._redis_reading import Reading
from triows.brokers._redis_reasons import Reasons
from triows.brokers._redis_scripts import REPLAY


def entry(number: int) -> tuple[int, bytes]:
    """Return what a page has of a message."""
    return number, encode_message(Message("t", str(number)))


def read(since: Position | None, *pages: tuple[str, int, int, int, Any]) -> Replay:
    """Return what some pages come to, of which only the last is the last."""
    reading = Reading("t", since, Reasons())
    for epoch, offset, after, last, numbers in pages:
        assert not reading.is_over
        entries = [entry(it) if isinstance(it, int) else it for it in numbers]
        reading.take(epoch.encode(), offset, after, last, entries)
    assert reading.is_over
    replay = reading.result()
    assert [int(text) for text in texts(replay.messages)] == [
        message.position.offset for message in replay.messages if message.position
    ]
    return replay


ALL_OF_IT = None
SINCE_2 = Position("e", 2)


@pytest.mark.parametrize(
    ("since", "pages", "numbers", "is_complete"),
    [
        (ALL_OF_IT, [("e", 0, 0, 0, [])], [], True),
        (ALL_OF_IT, [("e", 3, 0, 3, [1, 2, 3])], [1, 2, 3], True),
        (ALL_OF_IT, [("e", 3, 0, 2, [1, 2]), ("e", 3, 2, 3, [3])], [1, 2, 3], True),
        (SINCE_2, [("e", 5, 2, 4, [3, 4]), ("e", 5, 4, 5, [5])], [3, 4, 5], True),
        (SINCE_2, [("e", 2, 2, 2, [])], [], True),
        (SINCE_2, [("e", 4, 0, 2, [1, 2]), ("e", 4, 2, 4, [3, 4])], [1, 2, 3, 4], False),
        (SINCE_2, [("f", 3, 0, 2, [1, 2]), ("f", 3, 2, 3, [3])], [1, 2, 3], False),
        # Others have published meanwhile.
        (SINCE_2, [("e", 4, 2, 3, [3]), ("e", 9, 3, 5, [4, 5])], [3, 4, 5], True),
        # Some are forgotten: the oldest, some between pages, some in one, and the newest.
        (ALL_OF_IT, [("e", 3, 0, 3, [2, 3])], [2, 3], False),
        (SINCE_2, [("e", 6, 2, 4, [3, 4]), ("e", 8, 4, 8, [7, 8])], [7, 8], False),
        (SINCE_2, [("e", 6, 2, 6, [3, 5, 6])], [5, 6], False),
        (SINCE_2, [("e", 6, 2, 6, [3, 4])], [], False),
        (SINCE_2, [("e", 6, 2, 4, [3]), ("e", 6, 4, 6, [5, 6])], [5, 6], False),
        # A new epoch has begun meanwhile, or the same one elsewhere.
        (ALL_OF_IT, [("e", 4, 0, 2, [1, 2]), ("f", 3, 0, 3, [1, 2, 3])], [1, 2, 3], False),
        (SINCE_2, [("e", 6, 2, 4, [3, 4]), ("f", 0, 0, 0, [])], [], False),
        (SINCE_2, [("e", 6, 2, 4, [3, 4]), ("e", 1, 0, 1, [1])], [1], False),
    ],
)
def test_pages(
    since: Position | None, pages: list[Any], numbers: list[int], is_complete: bool
) -> None:
    """What is told follows upon each other up to the position, and is complete if nothing lacks."""
    replay = read(since, *pages)

    assert (numbers, is_complete) == (
        [int(it) for it in texts(replay.messages)],
        replay.is_complete,
    )
    assert Position(pages[-1][0], pages[-1][3]) == replay.position
    assert len(numbers) == replay.position.offset - replay.start.offset


def test_what_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    """It is left out, and logged; it is not told that nothing was missed."""
    bad = (2, b"\x95" + b"\x91" * 5000)
    replay = read(None, ("e", 4, 0, 4, [1, bad, 3, (4, b"")]))

    assert (["1", "3"], False) == (texts(replay.messages), replay.is_complete)
    assert Position("e", 4) == replay.position
    assert Position("e", 0) == replay.start
    assert "2 of topic 't' is no message" in caplog.text


def test_much_that_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    """A reason is logged once, however many messages it is of, until the session forgets it."""
    rubbish = Reasons()
    for _ in range(2):
        reading = Reading("t", None, rubbish)
        reading.take(b"e", 5, 0, 5, [(number, b"") for number in range(1, 6)])

    assert 1 == len(caplog.messages)
    assert caplog.messages[0].startswith("1 of topic 't' is no message")


# With a real one


@pytest.fixture(scope="module")
def server() -> Generator[RedisServer]:
    """A server that ends connections for which more than 2 MB wait."""
    with redis_server("--client-output-buffer-limit", "pubsub", "2mb", "0", "0") as server:
        yield server


BIG = 700_000
"""Characters of a message, of which a page has room for one."""


async def publish(session: BrokerSession, *names: str, size: int = BIG) -> Position:
    """Publish messages that are as large, and return the position of the last."""
    for name in names:
        position = (await session.publish(Message("t", name * size), ALL)).position
    assert position is not None
    return position


def names(replay: Replay) -> str:
    """Return of what the messages of a replay consist."""
    return "".join(text[0] for text in texts(replay.messages))


async def replay_with(
    session: Any, since: Position | None, interrupt: Callable[[], Awaitable[object]]
) -> Replay:
    """Ask for a replay, during which something happens behind the first page."""
    call, waiting = session.line.call, [interrupt]

    async def interrupted(script: object, *arguments: object) -> Any:
        answer = await call(script, *arguments)
        if script is REPLAY and waiting:
            await waiting.pop()()
        return answer

    session.line.call = interrupted
    replay: Replay = await session.replay("t", since, ALL)
    assert not waiting
    return replay


async def test_a_large_history(server: RedisServer) -> None:
    """One that is larger than what a connection may be sent at once is had all the same."""
    await server.wait_started()
    listener = Recorder()
    async with RedisBroker(server.url, prefix=uuid4().hex).open(listener) as session:
        await session.subscribe("other", None)
        await publish(session, *"12345")
        await publish(session, *"67", size=1_100_000)
        replay = await session.replay("t", None, ALL)

    assert ("1234567", True) == (names(replay), replay.is_complete)
    assert [] == listener.lapses


async def test_many_messages(server: RedisServer) -> None:
    """So is one of more messages than a page has."""
    await server.wait_started()
    async with RedisBroker(server.url, prefix=uuid4().hex).open(Recorder()) as session:
        every = Retention(2500, 60.0)
        async with trio.open_nursery() as nursery:
            for _ in range(2500):
                nursery.start_soon(session.publish, Message("t", ""), every)
        replay = await session.replay("t", None, every)

    assert (2500, True) == (len(replay.messages), replay.is_complete)
    assert list(range(1, 2501)) == [it.position.offset for it in replay.messages if it.position]


async def test_published_meanwhile(server: RedisServer) -> None:
    """What comes meanwhile is at the end, or it is after the position, and is delivered."""
    await server.wait_started()
    listener = Recorder()
    async with RedisBroker(server.url, prefix=uuid4().hex).open(listener) as session:
        await publish(session, *"12")
        await session.subscribe("t", ALL)
        replay = await replay_with(session, None, lambda: publish(session, *"3456", size=100_000))
        await until(lambda: len(listener.messages) == 4)

    assert ("12345", True) == (names(replay), replay.is_complete)
    assert replay.messages[-1].position == replay.position
    later = [it for it in listener.messages if it.position and it.position > replay.position]
    assert ["6" * 100_000] == texts(later)


async def test_trimmed_meanwhile(server: RedisServer) -> None:
    """What is forgotten before it was read is missing, which is told."""
    await server.wait_started()
    async with RedisBroker(server.url, prefix=uuid4().hex).open(Recorder()) as session:
        await publish(session, *"12345")
        last = Message("t", "6" * BIG)
        replay = await replay_with(session, None, lambda: session.publish(last, KEPT))

    assert ("45", False) == (names(replay), replay.is_complete)


async def test_lost_meanwhile(server: RedisServer) -> None:
    """Where a new epoch has begun nothing of the old one is told."""
    await server.wait_started()
    prefix = uuid4().hex
    async with RedisBroker(server.url, prefix=prefix).open(Recorder()) as session:
        before = await publish(session, *"123")

        async def lose() -> None:
            await server.command("DEL", f"{prefix}:{{t}}:state", f"{prefix}:{{t}}:log")
            await publish(session, *"45")

        replay = await replay_with(session, None, lose)

    assert ("45", False) == (names(replay), replay.is_complete)
    assert before.epoch != replay.position.epoch


async def test_the_line_is_lost_meanwhile(server: RedisServer) -> None:
    """The next page is asked for when there is another."""
    await server.wait_started()
    async with RedisBroker(server.url, prefix=uuid4().hex).open(Recorder()) as session:
        await session.subscribe("other", None)
        start = await publish(session, *"1234")
        kill = lambda: server.command("CLIENT", "KILL", "TYPE", "pubsub")  # noqa: E731
        replay = await replay_with(session, start._replace(offset=1), kill)

    assert ("234", True) == (names(replay), replay.is_complete)


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_clock_that_goes_back(server: RedisServer, number: int) -> None:
    """Each message keeps its position, and of those up to one that is too old none is told."""
    await server.wait_started()
    prefix = uuid4().hex
    now = int((await server.command("TIME")).split()[0]) * 1000
    async with RedisBroker(server.url, prefix=prefix).open(Recorder()) as session:
        await publish(session, *"123", size=1)
        await server.command("DEL", f"{prefix}:{{t}}:log")
        for i in (1, 2, 3):
            at = now - 100_000 * (i == number)
            body = encode_message(Message("t", str(i))).decode(errors="surrogateescape")
            await server.command("XADD", f"{prefix}:{{t}}:log", f"{i}-0", "at", f"{at}", "m", body)
        replay = await session.replay("t", None, ALL)

    assert ("123"[number:], False) == (names(replay), replay.is_complete)
    assert [int(name) for name in "123"[number:]] == [
        message.position.offset for message in replay.messages if message.position
    ]


@pytest.mark.parametrize("rubbish", [["2-1", "at", "1", "m", "x"], ["*", "foo", "bar"]])
async def test_what_stands_between(server: RedisServer, rubbish: list[str]) -> None:
    """What has no position is none of ours, and none of ours is missing."""
    await server.wait_started()
    prefix = uuid4().hex
    async with RedisBroker(server.url, prefix=prefix).open(Recorder()) as session:
        await publish(session, *"12", size=1)
        await server.command("XADD", f"{prefix}:{{t}}:log", *rubbish)
        replay = await session.replay("t", None, ALL)

    assert ("12", True) == (names(replay), replay.is_complete)


@pytest.mark.parametrize("rubbish", [["3-0", "foo", "bar"], ["3-0", "at", "9" * 15, "m", "x"]])
async def test_what_stands_in_place(server: RedisServer, rubbish: list[str]) -> None:
    """What cannot be read, and has the position of a message, is missing."""
    await server.wait_started()
    prefix = uuid4().hex
    async with RedisBroker(server.url, prefix=prefix).open(Recorder()) as session:
        await publish(session, *"12", size=1)
        await server.command("XADD", f"{prefix}:{{t}}:log", *rubbish)
        await server.command("HSET", f"{prefix}:{{t}}:state", "offset", "3")
        await publish(session, "4", size=1)
        replay = await session.replay("t", None, ALL)

    assert ("124", False) == (names(replay), replay.is_complete)
    assert 4 == replay.position.offset
