"""Each row of the endings table, driven through our server: it is as it is written."""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio
import trio.testing
from websockets.frames import Opcode

from tests.docs.endings import app, crowded
from tests.e2e.clients import Closed, Refused, encode_close, read_to_end
from tests.server.client_frames import TEXT, frame
from tests.server.serving import Running, handshake, read_all, serving
from tests.server.wires import frames_in
from tests.support import tracebacks
from triows import AppFailed

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "endings.md"

ROWS = {
    cells[0]: (cells[1], cells[2])
    for line in PAGE.read_text().splitlines()
    if line.startswith("| ")
    and len(cells := [cell.strip() for cell in line.split("|")[1:-1]]) == 3
    and cells[0] != "what happened"
}

Seen: TypeAlias = Closed | Refused | str
Scenario: TypeAlias = Callable[[Running], Awaitable[Seen]]


def visit(path: str, *messages: str | bytes, **options: Any) -> Scenario:
    """Return a visit of a decent client, which says something and waits for the end."""

    async def scenario(running: Running) -> Seen:
        return await running.see(path, *messages, **options)

    return scenario


def upgraded(path: str, *chunks: bytes) -> Scenario:
    """Return a visit whose bytes no decent client would send; None are read before the end."""

    async def scenario(running: Running) -> Seen:
        async with running.open_upgraded(path) as stream:
            for chunk in chunks:
                await stream.send_all(chunk)
            return told(await read_all(stream))

    return scenario


def told(received: bytes) -> str:
    """Return what the last frame of these bytes, or the lack of one, told."""
    opcode, payload = frames_in(received)[-1]
    return f"close {int.from_bytes(payload[:2])}" if opcode is Opcode.CLOSE else "aborted"


async def leave(running: Running) -> Seen:
    """Leave, in three ways."""
    async with running.open_upgraded("/echo") as stream:
        await stream.send_all(encode_close(4001, "bye"))
        await read_all(stream)
    async with running.open_upgraded("/echo"):
        pass
    async with running.connect("/echo"):
        pass
    return "nothing"


async def leave_early(running: Running) -> Seen:
    """Leave while the handler has not made up its mind."""
    async with running.open_stream() as stream:
        await stream.send_all(handshake("/takes_its_time"))
        await trio.sleep(1)
    await trio.sleep(10)
    return "nothing"


async def come_second(running: Running) -> Seen:
    """Come while another client is there, to an app that has room for one."""
    async with running.connect("/echo"):
        return await running.see("/echo")


async def wait_for_accept(running: Running) -> Seen:
    """Wait for an answer to the handshake when the server drains."""
    async with running.open_stream() as stream:
        await stream.send_all(handshake("/takes_its_time"))
        await trio.sleep(1)
        running.stop()
        answer = await read_all(stream)
    return f"HTTP {answer.split()[1].decode()}"


async def stay(running: Running) -> Seen:
    """Be there when the server drains."""
    async with running.connect("/echo") as connection:
        running.stop()
        return await read_to_end(connection)


async def lag(running: Running) -> Seen:
    """Not read what is published to a topic."""
    async with running.open_upgraded("/lags") as stream:
        await trio.sleep(1)
        return told(await read_all(stream))


async def not_read(running: Running) -> Seen:
    """Not read what a handler sends."""
    async with running.open_upgraded("/floods") as stream:
        await trio.sleep(30)
        return told(await read_all(stream))


async def talk_to_the_departed(running: Running) -> Seen:
    """Be served by a handler that uses the connection of another client."""
    async with running.connect("/departs"):
        pass
    return await running.see("/talks_to_the_departed")


SCENARIOS: dict[str, Scenario] = {
    "the handler returns": visit("/returns"),
    "it returns without having accepted": visit("/returns_unaccepted"),
    '`raise Close(4404, "no such room")`': visit("/closes"),
    "`Close`, before accept": visit("/closes_unaccepted"),
    '`raise Reject(401, "who?")`, before accept': visit("/rejects"),
    "`Reject`, after accept": visit("/rejects_late"),
    "another exception, before accept": visit("/fails_unaccepted"),
    "another exception, after accept": visit("/fails"),
    "a task of the connection fails": visit("/task_fails"),
    "the handler and a task of it fail": visit("/both_fail"),
    "`ConnectionClosed` of another connection": talk_to_the_departed,
    "an error function returns a `Close`": visit("/looks_up"),
    "an error function fails": visit("/divides"),
    "a pipe fails to open": visit("/pipe_does_not_open"),
    "a pipe fails to close": visit("/pipe_does_not_close"),
    "it sends a message beyond `max_message_size`": visit("/echo", "x" * 1001),
    "it sends what is no JSON to `receive_json`": visit("/wants_json", "{"),
    "it sends bytes to `receive_text`": visit("/wants_text", b"bytes"),
    "it sends a frame that is none": upgraded("/echo", b"\x83\x80\x00\x00\x00\x00"),
    "it sends text that is no UTF-8": upgraded("/echo", frame(TEXT, b"\xff\xfe")),
    "it leaves, with whatever code or without one": leave,
    "it leaves before accept": leave_early,
    "there is no such route": visit("/nowhere"),
    "its page is of another origin": visit("/echo", origin="https://example.org"),
    "`max_connections` are open": come_second,
    "not accepted within `accept_timeout`": visit("/takes_its_time", open_timeout=None),
    "no message for `idle_timeout`": visit("/idles"),
    "open for `max_lifetime`": visit("/grows_old"),
    "`expire_after` is over": visit("/expires"),
    "the inbox is full and unread for `stall_timeout`": visit(
        "/never_reads", *["unread"] * 100, ping_interval=None
    ),
    "too slow for a topic that closes": lag,
    "the client does not read for `send_timeout`": not_read,
    "no pong within `ping_timeout`": upgraded("/echo"),
    "the server drains": stay,
    "the server drains, before accept": wait_for_accept,
    "a task of the app fails": visit("/stops_the_app"),
}


def described(seen: Seen) -> str:
    """Return what a client saw, as the table has it."""
    if isinstance(seen, Closed):
        return f"close {seen.code}"
    return f"HTTP {seen.status}" if isinstance(seen, Refused) else seen


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Return what the log was told beside the access lines, as the table has it."""
    failures = len(tracebacks(caplog))
    if failures:
        return "traceback" if failures == 1 else f"{failures} tracebacks"
    levels = {
        record.levelno
        for record in caplog.records
        if record.name == "triows.error" and "is guarded" not in record.getMessage()
    }
    return {logging.WARNING: "warning", logging.INFO: "line"}.get(max(levels, default=0), "")


def test_every_row_has_its_scenario() -> None:
    """The table tells of nothing else than what is tried out here, in this order."""
    assert list(SCENARIOS) == list(ROWS)


@pytest.mark.parametrize("row", SCENARIOS)
async def test_row(
    row: str, caplog: pytest.LogCaptureFixture, clock: trio.testing.MockClock
) -> None:
    """What the client sees, and what the log is told, are as the table says."""
    caplog.set_level(logging.INFO)
    seen: Seen = ""

    try:
        async with serving(crowded if "max_connections" in row else app) as running:
            seen = await SCENARIOS[row](running)
    except* AppFailed:
        assert row == "a task of the app fails"

    assert ROWS[row] == (described(seen), logged(caplog))


@pytest.fixture
def clock() -> trio.testing.MockClock:
    """Return a clock that jumps once no socket has had anything for a moment."""
    return trio.testing.MockClock(autojump_threshold=0.02)
