"""The near end of `triows connect`: the lines that are read, and what is printed.

A line is read in a thread. Neither a terminal nor a file can be waited for in Trio: O_NONBLOCK
belongs to the open file, which a terminal shares with the shell and with our own output, and
epoll takes no files. A thread that still reads when the command ends is left behind. It reads the
descriptor itself: inside `sys.stdin` it would hold a lock that Python wants as it exits.

What comes from the peer cannot be trusted. On a terminal a control character is printed as its
escape, and every line of a message but the first is indented, so that none looks like ours.
"""

import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Self

import msgspec
import trio

READ = 1 << 16
"""Bytes that are read at once."""

MAX_PRETTY = 1 << 16
"""Bytes of the longest JSON text that is laid out; deep nesting can make it a thousand times
as long."""

MAX_DUMP = 1024
"""Bytes of a binary message that are shown; of a longer one, the first."""

_UNPRINTABLE = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_ESCAPES = _UNPRINTABLE | {ord("\r"): "\\r"}
_ESCAPES_IN_MESSAGE = {
    code: text for code, text in _ESCAPES.items() if code not in (ord("\t"), ord("\n"))
}
_ESCAPES_IN_NOTICE = _ESCAPES | {ord("\n"): "\\n", ord("\t"): "\\t"}


class BadLine(Exception):
    """A line of the input is too long, or is not UTF-8; the message says which."""


class Lines:
    """The lines of an input, one by one.

    Args:
        read: Returns the next bytes of the input, b"" at its end.
        max_size: Bytes that a line may have.
    """

    def __init__(self, read: Callable[[], Awaitable[bytes]], max_size: int) -> None:
        self._read = read
        self._max_size = max_size
        self._unread = bytearray()
        self._number = 0
        self._ended = False

    async def receive(self) -> str:
        """Return the next line, without its line feed.

        Cancelling loses what a thread is reading; do it once, at the end.

        Raises:
            trio.EndOfChannel: There is no more.
            BadLine: It cannot be sent, and so the input is of no more use.
        """
        while (end := self._unread.find(b"\n", 0, self._max_size + 1)) < 0:
            if len(self._unread) > self._max_size:
                raise BadLine(f"line {self._number + 1} has more than {self._max_size} bytes")
            if self._ended:
                return self._last_line()
            more = await self._read()
            self._ended = not more
            self._unread += more
        line = self._unread[:end]
        del self._unread[: end + 1]
        return self._decode(line)

    def _last_line(self) -> str:
        if not self._unread:
            raise trio.EndOfChannel
        line, self._unread = self._unread, bytearray()
        return self._decode(line)

    def _decode(self, line: bytearray) -> str:
        self._number += 1
        try:
            return line.decode()
        except UnicodeDecodeError as exc:
            raise BadLine(f"line {self._number} is not UTF-8 text") from exc


class Terminal:
    """What lines are read from, messages are printed to, and the user is told through.

    Attributes:
        lines: The input.
        is_typed: The input is a terminal.
        is_shown: The output is a terminal.

    Args:
        write: Writes to the output.
        write_notice: Writes to where the user is told what happens.
        pretty: Lay out what is JSON; None for only if the output is a terminal.
    """

    def __init__(
        self,
        lines: Lines,
        write: Callable[[bytes], None],
        write_notice: Callable[[bytes], None],
        *,
        is_typed: bool,
        is_shown: bool,
        pretty: bool | None = None,
    ) -> None:
        self.lines = lines
        self.is_typed = is_typed
        self.is_shown = is_shown
        self._write = write
        self._write_notice = write_notice
        self._pretty = is_shown if pretty is None else pretty

    @classmethod
    def of_files(
        cls,
        stdin: int = 0,
        stdout: int = 1,
        stderr: int = 2,
        *,
        max_size: int,
        pretty: bool | None = None,
    ) -> Self:
        """Return a terminal that uses open files, by default those of the process."""
        return cls(
            Lines(partial(_read_in_thread, stdin), max_size),
            partial(_write_all, stdout),
            partial(_write_all, stderr),
            is_typed=os.isatty(stdin),
            is_shown=os.isatty(stdout),
            pretty=pretty,
        )

    def show(self, message: str | bytes) -> None:
        """Print a message of the peer's.

        Raises:
            OSError: The output cannot be written to.
        """
        if isinstance(message, str):
            text = prettify(message) if self._pretty else message
            self._write(f"{self._safe(text)}\n".encode())
        elif self.is_shown:
            self._write(f"< {dump(message)}\n".encode())
        else:
            self._write(message)

    def tell(self, text: str) -> None:
        """Tell the user something, on one line; if nobody can be told, do nothing."""
        try:
            self._write_notice(f"{text.translate(_ESCAPES_IN_NOTICE)}\n".encode(errors="replace"))
        except OSError:
            return

    def _safe(self, text: str) -> str:
        if not self.is_shown:
            return text
        return f"< {text.translate(_ESCAPES_IN_MESSAGE)}".replace("\n", "\n  ")


def prettify(text: str) -> str:
    """Return JSON text laid out, and any other as it is.

    Numbers, escapes, and the order and repetition of keys stay as they are in the text.
    """
    if len(text) > MAX_PRETTY:
        return text
    try:
        return msgspec.json.format(text, indent=2)
    except (msgspec.DecodeError, RecursionError):
        return text


def dump(data: bytes) -> str:
    """Return a line about a binary message: its length, and its bytes in hexadecimal."""
    cut = " ..." if len(data) > MAX_DUMP else ""
    return f"binary, {len(data)} bytes: {data[:MAX_DUMP].hex(' ')}{cut}"


async def _read_in_thread(file: int) -> bytes:
    return await trio.to_thread.run_sync(_read, file, abandon_on_cancel=True)


def _read(file: int) -> bytes:
    try:
        return os.read(file, READ)
    except OSError:
        # It was closed before we were started, or its terminal is gone.
        return b""


def _write_all(file: int, data: bytes) -> None:
    # No buffer in between: what it could not write it would try again as Python exits.
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
