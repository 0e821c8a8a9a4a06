"""A conversation: what is typed is sent, what comes is printed, and how it ends."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from trio_websocket import ConnectionClosed, WebSocketConnection

from tests.cli.connections import MAX_SIZE, Desk, open_pair
from triows._close import CloseInfo
from triows.cli._talk import CLOSE_TIMEOUT, Talk

BY_US = CloseInfo(1000, "", by_peer=False, clean=True)


@asynccontextmanager
async def talking(
    desk: Desk, *, wait: float = 1, ping_interval: float | None = None
) -> AsyncGenerator[tuple[Talk, WebSocketConnection]]:
    """Let somebody at a desk talk to the peer that is returned, until the talk is over."""
    async with open_pair() as (connection, peer), trio.open_nursery() as nursery:
        talk = Talk(connection, desk.terminal, wait=wait, ping_interval=ping_interval)
        nursery.start_soon(talk.run)
        yield talk, peer


async def ended(peer: WebSocketConnection) -> tuple[int, str | None]:
    """Read to the end, and return the close code and reason that the peer sees."""
    with suppress(ConnectionClosed):
        while True:
            await peer.get_message()
    assert peer.closed is not None
    return peer.closed.code, peer.closed.reason


# What is typed


async def test_lines_are_messages() -> None:
    """Each line is a text message, whatever it begins with if the input is no terminal."""
    desk = Desk()
    async with talking(desk, wait=0) as (talk, peer):
        desk.type(b"hi\n\n/ping\n")
        desk.type("größer".encode())
        desk.end_input()

        assert ["hi", "", "/ping", "größer"] == [await peer.get_message() for _ in range(4)]
        assert (1000, None) == await ended(peer)

    assert BY_US == talk.ending()
    assert talk.is_complete


async def test_ctrl_d() -> None:
    """On a terminal the end of the input closes at once."""
    desk = Desk(typed=True)
    async with talking(desk, wait=1000) as (talk, peer):
        desk.end_input()

        assert (1000, None) == await ended(peer)

    assert BY_US == talk.ending()


async def test_end_of_a_pipe(autojump_clock: MockClock) -> None:
    """After the end of the input answers are printed until the peer has been silent."""
    desk = Desk()
    async with talking(desk, wait=3) as (talk, peer):
        await trio.sleep(10)
        desk.end_input()
        for number in range(3):
            await trio.sleep(2)
            await peer.send_message(str(number))
        last = trio.current_time()
        await ended(peer)

        assert 3 == pytest.approx(trio.current_time() - last)

    assert "0\n1\n2\n" == desk.printed
    assert BY_US == talk.ending()


@pytest.mark.parametrize("line", [b"x" * (MAX_SIZE + 1), b"\xff\n"])
async def test_line_that_cannot_be_sent(line: bytes, autojump_clock: MockClock) -> None:
    """It ends the input, and the user is told that not all was sent."""
    desk = Desk()
    async with talking(desk) as (talk, peer):
        desk.type(b"first\n")
        desk.type(line)

        assert "first" == await peer.get_message()
        await ended(peer)

    assert desk.notices[0].startswith("line 2 ")
    assert desk.notices[0].endswith(": neither it nor what follows is sent")
    assert not talk.is_complete


async def test_slashes() -> None:
    """On a terminal two slashes stand for one that is sent."""
    desk = Desk(typed=True)
    async with talking(desk) as (_, peer):
        desk.type(b"//etc\n a/b\n")

        assert ["/etc", " a/b"] == [await peer.get_message() for _ in range(2)]
        desk.end_input()


async def test_binary() -> None:
    """Bytes are typed in hexadecimal, with or without spaces."""
    desk = Desk(typed=True)
    async with talking(desk) as (_, peer):
        desk.type(b"/binary 00 ffAB\n/binary\n")

        assert [b"\x00\xff\xab", b""] == [await peer.get_message() for _ in range(2)]
        desk.end_input()


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        (b"/close\n", (1000, None)),
        (b"/close 4000\n", (4000, None)),
        (b"/close  4000 so  long\n", (4000, "so  long")),
        (b"/close 4000 " + b"x" * 200 + b"\n", (4000, "x" * 123)),
    ],
)
async def test_close(line: bytes, seen: tuple[int, str | None]) -> None:
    """The user chooses code and reason; a long reason is cut."""
    desk = Desk(typed=True)
    async with talking(desk) as (talk, peer):
        desk.type(line)

        assert seen == await ended(peer)

    assert CloseInfo(seen[0], seen[1] or "", by_peer=False, clean=True) == talk.ending()


@pytest.mark.parametrize(
    ("line", "notice"),
    [
        (b"/clsoe\n", "there is no command /clsoe: /ping, /close "),
        (b"/\n", "there is no command /: "),
        (b"/close x\n", "/close: invalid literal for int() with base 10: 'x'"),
        (b"/close 1006\n", "/close: close code 1006 cannot be sent: "),
        (b"/binary 0\n", "/binary: non-hexadecimal number found "),
    ],
)
async def test_mistyped_command(line: bytes, notice: str) -> None:
    """It is answered, and the conversation goes on."""
    desk = Desk(typed=True)
    async with talking(desk) as (_, peer):
        desk.type(line)
        await desk.wait_told(notice)

        desk.type(b"still here\n")
        assert "still here" == await peer.get_message()
        desk.end_input()


# What comes


async def test_messages_are_printed() -> None:
    """Messages are printed as they come, the last ones before the peer closed, too."""
    desk = Desk(shown=True)
    async with talking(desk) as (talk, peer):
        await peer.send_message("hi")
        await peer.send_message(b"\x00")
        await peer.aclose(4000, "enough")

    assert "< hi\n< binary, 1 bytes: 00\n" == desk.printed
    assert CloseInfo(4000, "enough", by_peer=True, clean=True) == talk.ending()
    assert talk.is_complete


async def test_typing_after_the_end() -> None:
    """What the peer sent before it closed is printed, though nothing can be sent any more."""
    desk = Desk()
    async with open_pair() as (connection, peer):
        for _ in range(10):
            await peer.send_message("last")
        await peer.aclose()
        desk.type(b"too late\n")
        talk = Talk(connection, desk.terminal, wait=1)
        await talk.run()

    assert "last\n" * 10 == desk.printed


async def test_reader_that_has_enough() -> None:
    """When nobody reads the output any more it ends well, as after `| head`."""
    desk = Desk()
    desk.failure = BrokenPipeError()
    async with talking(desk) as (talk, peer):
        await peer.send_message("hi")

        assert (1000, None) == await ended(peer)

    assert [] == desk.notices
    assert talk.is_complete


async def test_full_disk() -> None:
    """When something could not be printed, the user is told, and it does not go on."""
    desk = Desk()
    desk.failure = OSError(28, "No space left on device")
    async with talking(desk) as (talk, peer):
        await peer.send_message("hi")

        assert (1000, None) == await ended(peer)

    assert ["cannot print: No space left on device"] == desk.notices
    assert not talk.is_complete


async def test_message_that_is_too_large() -> None:
    """It ends the connection, and whose fault that was is known."""
    desk = Desk()
    async with talking(desk) as (talk, peer):
        await peer.send_message("x" * (MAX_SIZE + 1))

        assert 1009 == (await ended(peer))[0]

    ending = talk.ending()
    assert (1009, True, False) == (ending.code, ending.by_peer, ending.clean)
    assert "" == desk.printed


async def test_lost_connection() -> None:
    """An end without a close frame is no clean one."""
    desk = Desk()
    async with talking(desk) as (talk, peer):
        await peer._stream.aclose()

    assert CloseInfo(1006, "", by_peer=True, clean=False) == talk.ending()


# Pings


async def test_ping(autojump_clock: MockClock) -> None:
    """`/ping` tells the time of a round trip."""
    desk = Desk(typed=True)
    async with talking(desk):
        desk.type(b"/ping\n")
        await desk.wait_told("pong after ")
        desk.end_input()

    assert ["pong after 0.0 ms"] == desk.notices


async def test_ping_often(autojump_clock: MockClock) -> None:
    """A ping is sent at each interval, the first at once."""
    desk = Desk(typed=True)
    async with talking(desk, ping_interval=3):
        await trio.sleep(7)
        desk.end_input()

    assert ["pong after 0.0 ms"] * 3 == desk.notices


async def test_peer_that_does_not_answer(autojump_clock: MockClock) -> None:
    """A ping and a close frame are each waited for, but not for ever."""
    desk = Desk(typed=True)
    async with open_pair(deaf=True) as (connection, _):
        talk = Talk(connection, desk.terminal, wait=1)
        desk.type(b"/ping\n")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.run)
            await desk.wait_told("no pong within 10 s")
            asked_at = trio.current_time()
            talk.leave(4000, "bye")

        assert CLOSE_TIMEOUT == pytest.approx(trio.current_time() - asked_at)

    assert CloseInfo(4000, "bye", by_peer=False, clean=False) == talk.ending()


async def test_ping_after_the_end() -> None:
    """A ping that can have no answer any more is not worth a word."""
    desk = Desk()
    async with open_pair() as (connection, peer):
        await peer.send_message("last")
        await peer.aclose()
        await Talk(connection, desk.terminal, wait=1, ping_interval=1).run()

    assert "last\n" == desk.printed
    assert [] == desk.notices


# Cancelling


async def test_cancelling() -> None:
    """Cancelling returns at once, without a closing handshake."""
    desk = Desk()
    async with open_pair() as (connection, _):
        talk = Talk(connection, desk.terminal, wait=1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.run)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

        assert connection.closed is None
