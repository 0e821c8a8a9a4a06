"""The near end of `triows connect`: lines that are read, and what is printed."""

import os
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path

import pytest
import trio

from tests.cli.connections import Desk
from triows.cli._terminal import (
    MAX_DUMP,
    MAX_PRETTY,
    BadLine,
    Lines,
    Terminal,
    dump,
    prettify,
)


def reader(*chunks: bytes) -> Callable[[], Awaitable[bytes]]:
    """Return a function that returns one chunk after the other, and then that it is the end."""
    rest = iter(chunks)

    async def read() -> bytes:
        await trio.lowlevel.checkpoint()
        return next(rest, b"")

    return read


async def lines_of(*chunks: bytes, max_size: int = 10) -> list[str]:
    """Return all lines of an input that comes in chunks."""
    lines = Lines(reader(*chunks), max_size)
    received = []
    try:
        while True:
            received.append(await lines.receive())
    except trio.EndOfChannel:
        return received


# Lines


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([], []),
        ([b"a\nb\n"], ["a", "b"]),
        ([b"a\n", b"b"], ["a", "b"]),
        ([b"\n\na"], ["", "", "a"]),
        ([b"a\r\n"], ["a\r"]),
        ([b"\xc3", b"\xa4\n"], ["ä"]),
        ([b"1234567890\n", b"1234567890"], ["1234567890", "1234567890"]),
    ],
)
async def test_lines(chunks: list[bytes], expected: list[str]) -> None:
    """A line ends with its line feed or with the input, wherever the reads are cut."""
    assert expected == await lines_of(*chunks)


@pytest.mark.parametrize("chunks", [[b"a\n12345678901\n"], [b"a\n1234567", b"8901"]])
async def test_line_that_is_too_long(chunks: list[bytes]) -> None:
    """A line has a bound, so that an endless one cannot fill the memory."""
    with pytest.raises(BadLine, match=r"^line 2 has more than 10 bytes$"):
        await lines_of(*chunks)


async def test_line_that_is_no_text() -> None:
    """What is not UTF-8 could not be sent as text."""
    with pytest.raises(BadLine, match=r"^line 2 is not UTF-8 text$"):
        await lines_of(b"a\n\xff\n")


# What is printed


def test_pipe_gets_messages_as_they_are() -> None:
    """A line a text, even with control characters; bytes with nothing around them."""
    desk = Desk()

    desk.terminal.show("hi")
    desk.terminal.show("\x1b[2J\r\n")
    desk.terminal.show(b"\x00\xff")
    desk.terminal.show('{"a":1}')

    assert b'hi\n\x1b[2J\r\n\n\x00\xff{"a":1}\n' == desk.output


def test_terminal_gets_a_prefix() -> None:
    """Each message begins with `< `; JSON is laid out, and bytes are shown in hexadecimal."""
    desk = Desk(shown=True)

    desk.terminal.show("hi")
    desk.terminal.show('{"a":[1]}')
    desk.terminal.show(b"\x00\xff")
    desk.terminal.show("")

    expected = '< hi\n< {\n    "a": [\n      1\n    ]\n  }\n< binary, 2 bytes: 00 ff\n< \n'
    assert expected == desk.printed


def test_peer_cannot_control_the_terminal() -> None:
    """C0, DEL and C1 are escaped, but for tab and line feed, and no line looks like ours."""
    desk = Desk(shown=True)

    desk.terminal.show("a\tb\x1b[2J\r\x7f\x9b\x00ü\n< c")

    assert "< a\tb\\x1b[2J\\r\\x7f\\x9b\\x00ü\n  < c\n" == desk.printed


def test_json_cannot_control_the_terminal() -> None:
    """JSON allows DEL and C1 in its strings."""
    desk = Desk(shown=True)

    desk.terminal.show('["\x9b2J"]')

    assert '< [\n    "\\x9b2J"\n  ]\n' == desk.printed


def test_json_for_a_pipe() -> None:
    """If it is asked for, JSON is laid out for a pipe, too."""
    desk = Desk(pretty=True)

    desk.terminal.show('{"a":1}')

    assert '{\n  "a": 1\n}\n' == desk.printed


def test_raw_json_on_a_terminal() -> None:
    """If it is asked for, JSON is shown as it came."""
    desk = Desk(shown=True, pretty=False)

    desk.terminal.show('{"a":1}')

    assert '< {"a":1}\n' == desk.printed


def test_notices_are_one_line() -> None:
    """What the peer says of itself is escaped, wherever the notices go."""
    desk = Desk()

    desk.terminal.tell("a\nb\t\x1b\x9b")

    assert ["a\\nb\\t\\x1b\\x9b"] == desk.notices


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '{"b":1.50,"a":"\\u00e4","b":1e999}',
            '{\n  "b": 1.50,\n  "a": "\\u00e4",\n  "b": 1e999\n}',
        ),
        ("[]", "[]"),
        ("1", "1"),
        ("hello", "hello"),
        ("", ""),
        ('{"a":1} ', '{\n  "a": 1\n}'),
        ('{"a":1', '{"a":1'),
        ("NaN", "NaN"),
    ],
)
def test_prettify(text: str, expected: str) -> None:
    """Only the space between changes, and what is no JSON, or too deep, does not."""
    assert expected == prettify(text)


def test_prettify_what_is_deep() -> None:
    """Too deep a text, which depends on the Python, does not change; else the space does."""
    text = "[" * 5000 + "]" * 5000

    assert text == "".join(prettify(text).split())


def test_prettify_has_a_bound() -> None:
    """A short text can be a thousand times as long when it is laid out, and a long one is not."""
    text = f"[{' ' * MAX_PRETTY}]"

    assert text == prettify(text)


def test_dump_has_a_bound() -> None:
    """Of a long message only the beginning is shown, and its whole length."""
    line = dump(bytes(MAX_DUMP + 1))

    assert line.startswith(f"binary, {MAX_DUMP + 1} bytes: 00 00 ")
    assert line.endswith(" 00 ...")
    assert f"binary, {MAX_DUMP} bytes:{' 00' * MAX_DUMP}" == dump(bytes(MAX_DUMP))


# Files


@pytest.fixture
def pipe() -> Generator[tuple[int, int]]:
    """Return the two ends of a pipe; the test closes the writing one."""
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


async def test_pipe_is_read_in_a_thread(pipe: tuple[int, int]) -> None:
    """Lines come as they are written, and the end when the pipe is closed."""
    reading, writing = pipe
    terminal = Terminal.of_files(reading, max_size=10)
    os.write(writing, b"a\nb")

    assert not terminal.is_typed
    assert "a" == await terminal.lines.receive()
    os.close(writing)
    assert "b" == await terminal.lines.receive()
    with pytest.raises(trio.EndOfChannel):
        await terminal.lines.receive()


async def test_reading_can_be_cancelled(pipe: tuple[int, int]) -> None:
    """A read that returns nothing does not hold up who waits for it."""
    reading, writing = pipe
    terminal = Terminal.of_files(reading, max_size=10)

    with trio.CancelScope() as scope:
        scope.cancel()
        await terminal.lines.receive()

    os.close(writing)
    assert scope.cancelled_caught


async def test_closed_input_is_empty(pipe: tuple[int, int]) -> None:
    """A program that was started without an input has read it all."""
    _, writing = pipe
    terminal = Terminal.of_files(writing, max_size=10)

    with pytest.raises(trio.EndOfChannel):
        await terminal.lines.receive()
    os.close(writing)


def test_pseudo_terminal() -> None:
    """Of each file it is seen whether it is a terminal."""
    leader, follower = os.openpty()
    try:
        terminal = Terminal.of_files(follower, follower, follower, max_size=10)
        terminal.show("hi")

        assert (True, True) == (terminal.is_typed, terminal.is_shown)
        assert b"< hi\r\n" == os.read(leader, 100)
    finally:
        os.close(leader)
        os.close(follower)


def test_everything_is_written(tmp_path: Path) -> None:
    """A message longer than one write takes is written to its end, with notices elsewhere."""
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        terminal = Terminal.of_files(0, out.fileno(), err.fileno(), max_size=10)
        terminal.show("x" * 1_000_000)
        terminal.tell("done")

    assert 1_000_001 == (tmp_path / "out").stat().st_size
    assert "done\n" == (tmp_path / "err").read_text()


def test_output_that_nobody_reads() -> None:
    """Who prints is told; a notice is no reason to fail."""
    reading, gone = os.pipe()
    os.close(reading)
    terminal = Terminal.of_files(0, gone, gone, max_size=10)

    with pytest.raises(BrokenPipeError):
        terminal.show("hi")
    terminal.tell("hi")
    os.close(gone)
