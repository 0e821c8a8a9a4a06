"""Clients that mean no good, on hypercorn: one connection may never hurt another."""

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import quote

import pytest
import trio
from websockets.frames import Opcode

from tests.e2e.clients import (
    LONGEST_PAUSE,
    Closed,
    closed,
    connect,
    count_tasks,
    drain,
    encode,
    encode_close,
    open_bystander,
    open_socket,
    open_upgraded,
    reset_on_close,
    upgrade,
    wait_for_tasks,
)
from tests.e2e.servers import Server, on_every_server, serving, starting

DISCONNECT_GRACE = 0.5
CLOSE_TIMEOUT = 1.0
"""Seconds, in the app."""

KEEP_ALIVE = 1.0
"""Seconds that hypercorn waits for the first request of a connection, if told to."""

SLACK = 2.0
"""Seconds for two busy cores."""

H2C = b"GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The two ways to HTTP/2 without TLS (RFC 7540 §3.2, RFC 9113 §3.3)."""

CRASHES = {
    "header-not-ascii": ("Sec-WebSocket-Protocol: \xff", b""),
    "offer-not-a-number": (
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=many",
        b"",
    ),
    # pgjones/hypercorn#225
    "data-behind-the-handshake": ("X-Harmless: yes", b"x"),
}
"""Handshakes that end a whole hypercorn 0.18: a header line, and what follows the head.

The last does only if its two tasks happen to run in the wrong order.
"""

with_every_crash = pytest.mark.parametrize("crash", CRASHES)


async def send_crashes(server: Server, crash: str, times: int) -> None:
    """Make so many handshakes that hypercorn does not survive, or as many as it takes."""
    header, trailing = CRASHES[crash]
    for _ in range(times):
        with suppress(OSError, trio.BrokenResourceError):
            async with open_socket(server) as stream:
                await stream.send_all(upgrade(server, "/echo", header) + trailing)
                with trio.move_on_after(0.05):
                    await drain(stream)


@with_every_crash
async def test_without_the_guard(crash: str) -> None:
    """Unguarded, one handshake of one client ends hypercorn and every connection with it.

    hypercorn cancels them all as it goes down, so that triows can still tell them 1001.
    """
    async with starting("unguarded:app") as running:
        await running.wait_started()
        async with connect(running.ws("/echo")) as bystander:
            await send_crashes(running, crash, 20)
            with trio.fail_after(SLACK):
                await running.wait_ended()
                await bystander.wait_closed()
            assert closed(bystander) == Closed(1001)

    assert "Process SpawnProcess-1:\n" in running.log  # Its traceback follows.


@with_every_crash
async def test_with_the_guard(crash: str) -> None:
    """Guarded, it ends that client's connection alone, and all of it; the app made no error."""
    async with serving("leaving:app") as running:
        before = await count_tasks(running)
        async with connect(running.ws("/echo")) as bystander:
            await send_crashes(running, crash, 20)
            await bystander.send("still there?")
            assert await bystander.recv() == "still there?"
        with trio.fail_after(DISCONNECT_GRACE + SLACK):
            await wait_for_tasks(running, before)

    assert "Traceback" not in running.log
    assert running.failures == []


@on_every_server
async def test_clients_that_crash_amid_traffic(server: str) -> None:
    """A reset behind a thousand unread messages leaves no task and no open socket behind."""
    messages = encode(Opcode.TEXT, b"unread") * 1000
    async with serving("leaving:app", server=server) as running:
        before = await count_tasks(running)
        for _ in range(20):
            async with open_upgraded(running, "/echo") as stream:
                await stream.send_all(messages)
                reset_on_close(stream)
        with trio.fail_after(DISCONNECT_GRACE + SLACK):
            await wait_for_tasks(running, before)

    assert running.failures == []


@on_every_server
async def test_a_client_that_ignores_the_close_frame(server: str) -> None:
    """A client that goes on sending after our close is cut off after `close_timeout`."""
    messages = encode(Opcode.TEXT, b"not so fast" * 100) * 10

    async def send_for_ever(stream: trio.SocketStream) -> None:
        try:
            while True:
                await stream.send_all(messages)
        except trio.BrokenResourceError:
            pass

    async with serving("leaving:app", server=server) as running:
        before = await count_tasks(running)
        with trio.fail_after(CLOSE_TIMEOUT + SLACK):
            async with open_upgraded(running, "/closes") as stream, trio.open_nursery() as nursery:
                nursery.start_soon(send_for_ever, stream)
                received = await drain(stream)
            await wait_for_tasks(running, before)

    assert b"enough" in received
    assert running.failures == []


class Fuzzer:
    """One client of many that send what comes to its mind."""

    def __init__(self, server: Server, seed: int) -> None:
        self._server = server
        self._random = random.Random(seed)
        self._attacks: list[Callable[[], Awaitable[None]]] = [
            self._send_noise,
            self._send_broken_handshake,
            self._send_half_a_handshake,
            self._send_strange_headers,
            self._send_noise_as_frames,
            self._send_strange_frames,
            self._send_odd_requests,
        ]

    async def attack(self, times: int) -> None:
        """Attack as often, in one way after the other."""
        for i in range(times):
            await self._attacks[i % len(self._attacks)]()

    def _bytes(self, most: int) -> bytes:
        return self._random.randbytes(self._random.randint(1, most))

    def _text(self, most: int) -> str:
        return self._bytes(most).decode("latin-1").replace("\r", "").replace("\n", "")

    async def _send(self, stream: trio.SocketStream, data: bytes) -> None:
        """Send in one piece or in several, look at the answer for a moment, and go."""
        cut = self._random.randrange(len(data) + 1)
        try:
            for part in (data[:cut], data[cut:]):
                await stream.send_all(part)
            with trio.move_on_after(self._random.choice([0, 0.001, 0.02])):
                await drain(stream)
        except trio.BrokenResourceError:
            pass
        if self._random.random() < 0.5:
            reset_on_close(stream)

    async def _send_bare(self, data: bytes) -> None:
        async with open_socket(self._server) as stream:
            await self._send(stream, data)

    async def _send_upgraded(self, data: bytes) -> None:
        path = self._random.choice(["/echo", "/closes"])
        async with open_upgraded(self._server, path) as stream:
            await self._send(stream, data)

    async def _send_noise(self) -> None:
        await self._send_bare(self._bytes(2000))

    async def _send_broken_handshake(self) -> None:
        head = bytearray(upgrade(self._server, "/echo"))
        for _ in range(self._random.randint(1, 5)):
            head[self._random.randrange(len(head))] = self._random.randrange(256)
        await self._send_bare(bytes(head))

    async def _send_half_a_handshake(self) -> None:
        head = upgrade(self._server, "/echo")
        await self._send_bare(head[: self._random.randrange(1, len(head))])

    async def _send_strange_headers(self) -> None:
        names = ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Connection", "Upgrade"]
        names += ["Sec-WebSocket-Key", "Origin", "Host", "Cookie", "Content-Length", "Expect"]
        names += ["Transfer-Encoding", "HTTP2-Settings", self._text(20)]
        lines = [f"{self._random.choice(names)}: {self._text(100)}" for _ in range(3)]
        await self._send_bare(upgrade(self._server, "/echo?" + quote(self._text(50)), *lines))

    async def _send_noise_as_frames(self) -> None:
        await self._send_upgraded(self._bytes(2000))

    async def _send_strange_frames(self) -> None:
        opcodes = list(Opcode)
        frames = b"".join(encode(self._random.choice(opcodes), self._bytes(125)) for _ in range(10))
        await self._send_upgraded(frames + encode_close(1000) + frames)

    async def _send_odd_requests(self) -> None:
        method = self._random.choice(["GET", "POST", "CONNECT", "OPTIONS", "HEAD"])
        target = self._random.choice(
            ["/echo", "*", "//", "/" + quote(self._text(50)), "http://a/b"]
        )
        version = self._random.choice(["1.0", "1.1", "2.0", "9.9"])
        upgrade_to = self._random.choice(["websocket", "TLS/1.3", self._text(5)])
        head = f"{method} {target} HTTP/{version}\r\nHost: a\r\nUpgrade: {upgrade_to}\r\n\r\n"
        await self._send_bare(head.encode("latin-1") * self._random.randint(1, 5))

    async def send_noise_as_http_2(self, times: int) -> None:
        """Change to HTTP/2 as often, in one of its two ways, and go on with nonsense."""
        for _ in range(times):
            head = self._random.choice([H2C, H2_PREFACE])
            await self._send_bare(head + self._bytes(500))


async def test_noise() -> None:
    """3,500 attacks by 20 clients at a time: the server lives, a bystander's echo goes on.

    Nothing is left of them: no task, and no line in the log that calls it an error of the app.
    """
    async with serving("leaving:app", "--keep-alive", "1") as running:
        before = await count_tasks(running)
        async with open_bystander(running) as bystander:
            async with trio.open_nursery() as nursery:
                for seed in range(20):
                    nursery.start_soon(Fuzzer(running, seed).attack, 175)
            assert bystander.longest < LONGEST_PAUSE
            assert bystander.echoes > 100
            print(f"{bystander.echoes} echoes, the longest took {bystander.longest:.3f} s")
        with trio.fail_after(CLOSE_TIMEOUT + DISCONNECT_GRACE + KEEP_ALIVE + SLACK):
            await wait_for_tasks(running, before)

    assert "ERROR triows.error" not in running.log


async def test_noise_as_http_2() -> None:
    """500 clients that change to HTTP/2 and talk nonsense: the server and a bystander live.

    hypercorn keeps some of these for ever: a stream of HTTP/2 whose connection has gone
    waits for a window to open.
    """
    async with (
        serving("leaving:app", "--graceful-timeout", "1") as running,
        open_bystander(running) as bystander,
    ):
        async with trio.open_nursery() as nursery:
            for seed in range(20):
                nursery.start_soon(Fuzzer(running, seed).send_noise_as_http_2, 25)
        assert bystander.longest < LONGEST_PAUSE

    assert "ERROR triows.error" not in running.log
