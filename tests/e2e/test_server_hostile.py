"""Clients that mean no good, on our own server: nobody else notices, and nothing is left of them.

More of them are in `test_hostile`, which this server has to pass, too.
"""

import random
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trio
import trustme
from websockets.frames import Frame, Opcode

from tests.e2e.clients import (
    count_tasks,
    drain,
    encode,
    encode_close,
    open_bystander,
    open_socket,
    open_upgraded,
    read_head,
    reset_on_close,
    upgrade,
)
from tests.e2e.servers import POLL, ROOT, Server, TriowsServer, running

pytestmark = pytest.mark.timeout(90)

APP = "tests.e2e.apps.hostile:app"
ORDINARY = "tests.e2e.apps.hostile:ordinary"

PAUSE = 1.0
"""Seconds that a bystander's echo may take, whatever others do."""

SEND_TIMEOUT = 1.0
"""Seconds, in the app."""

FIRST_BYTES = 10.0
"""Seconds that the server gives a client for the head of its request."""

SLACK = 3.0
"""Seconds for two busy cores."""

SETTLING = 10.0
"""Seconds until everything that the clients left is gone."""

KIB = 1024
MIB = 1024 * 1024

MAX_HEAD = 16 * KIB
"""Bytes of a request's head."""

SMALL_BUFFER = 4 * KIB
"""Bytes that the kernel keeps for a client that does not read: the server is blocked sooner."""


@dataclass(frozen=True, slots=True, order=True)
class Holdings:
    """What a server holds: more with every client that it has not let go."""

    tasks: int
    descriptors: int


@asynccontextmanager
async def besieged(
    *options: str, app: str = APP, growth: int = 24 * MIB, trust: ssl.SSLContext | None = None
) -> AsyncGenerator[TriowsServer]:
    """Run a server around a block of attacks, that nobody else may notice.

    A bystander's echo goes on, memory never grows by more than `growth` bytes, and afterwards
    nothing is left: no task, no file descriptor, and no line in the log that says error.
    """

    async def look() -> Holdings:
        return Holdings(await count_tasks(server, ssl=trust), server.descriptors)

    async with running(app, *options, folder=ROOT, bound=80) as server:
        await warm_up(server, trust)
        before = await look()
        memory = server.memory
        async with (
            open_bystander(server, ssl=trust) as bystander,
            trio.open_nursery() as nursery,
        ):
            peak = [memory]
            nursery.start_soon(watch_memory, server, peak)
            yield server
            nursery.cancel_scope.cancel()
            longest, echoes = bystander.longest, bystander.echoes
        with trio.fail_after(SETTLING):
            while not within(after := await look(), before):
                await trio.sleep(POLL)
        print(
            f"{echoes} echoes, the longest took {longest:.3f} s; "
            f"memory {memory / MIB:.0f} MiB, at most +{(peak[0] - memory) / MIB:.1f}, "
            f"then +{(server.memory - memory) / MIB:.1f}; {before} before, {after} after"
        )
        assert longest < PAUSE
        assert peak[0] - memory < growth

    assert server.failures == []
    assert "Traceback" not in server.log


async def warm_up(server: Server, trust: ssl.SSLContext | None) -> None:
    """Let it do once what it does later: what that takes is nobody's fault."""
    async with httpx.AsyncClient(verify=trust or True) as client:
        for _ in range(20):
            await count_tasks(server, ssl=trust)
            await client.get(server.http("/nowhere"))


def within(after: Holdings, before: Holdings) -> bool:
    """Return whether no more is held than before."""
    return after.tasks <= before.tasks and after.descriptors <= before.descriptors


async def watch_memory(server: Server, peak: list[int]) -> None:
    """Keep the highest memory that the server was seen with."""
    while True:
        peak[0] = max(peak[0], server.memory)
        await trio.sleep(POLL)


@asynccontextmanager
async def open_deaf(server: Server, path: str) -> AsyncGenerator[trio.SocketStream]:
    """Connect a client that has little room for what it does not read; it resets at the end."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    await sock.connect(("127.0.0.1", server.port))
    async with trio.SocketStream(sock) as stream:
        await stream.send_all(upgrade(server, path))
        assert (await read_head(stream)).startswith("HTTP/1.1 101")
        yield stream
        reset_on_close(stream)


# What is not allowed, and what it is answered with (RFC 6455 §5)


def header(first: int, second: int, length: bytes = b"") -> bytes:
    """Return the header of a frame, mask included where the second byte says so."""
    return bytes([first, second]) + length + (b"mask" if second & 0x80 else b"")


LIES = {
    "unmasked": (encode(Opcode.TEXT, b"hi", is_masked=False), 1002),
    "unmasked-close": (header(0x88, 0x02) + b"\x03\xe8", 1002),
    "reserved-bit-1": (header(0xC1, 0x80), 1002),
    "reserved-bit-2": (header(0xA1, 0x80), 1002),
    "reserved-bit-3": (header(0x91, 0x80), 1002),
    "reserved-data-opcode": (header(0x83, 0x80), 1002),
    "reserved-control-opcode": (header(0x8B, 0x80), 1002),
    "fragmented-ping": (header(0x09, 0x80), 1002),
    "fragmented-close": (header(0x08, 0x80), 1002),
    "long-ping": (header(0x89, 0xFE, b"\x00\x7e") + bytes(126), 1002),
    "continues-nothing": (header(0x80, 0x80), 1002),
    "starts-within-another": (header(0x01, 0x80) + header(0x81, 0x80), 1002),
    "length-not-the-shortest": (header(0x81, 0xFE, b"\x00\x01") + b"x", 1002),
    "long-length-not-the-shortest": (header(0x81, 0xFF, bytes(7) + b"\x01") + b"x", 1002),
    "length-negative": (header(0x81, 0xFF, b"\x80" + bytes(7)), 1002),
    "length-of-2-to-the-62": (header(0x81, 0xFF, b"\x40" + bytes(7)), 1009),
    "length-of-1-MiB-and-1": (header(0x82, 0xFF, struct.pack(">Q", MIB + 1)), 1009),
    "fragments-of-more-than-1-MiB": (
        (header(0x02, 0xFF, struct.pack(">Q", MIB // 2)) + bytes(MIB // 2))
        + (header(0x00, 0xFF, struct.pack(">Q", MIB // 2 + 1))),
        1009,
    ),
    "text-not-utf-8": (encode(Opcode.TEXT, b"\xc0\xaf"), 1007),
    "text-cut-in-a-character": (encode(Opcode.TEXT, "猫".encode()[:2]), 1007),
    "surrogate": (encode(Opcode.TEXT, b"\xed\xa0\x80"), 1007),
    "close-of-one-byte": (encode(Opcode.CLOSE, b"\x03"), 1002),
    "close-with-1005": (encode(Opcode.CLOSE, struct.pack(">H", 1005)), 1002),
    "close-with-0": (encode(Opcode.CLOSE, struct.pack(">H", 0)), 1002),
    "close-reason-not-utf-8": (encode(Opcode.CLOSE, b"\x03\xe8\xff"), 1007),
}
"""Frames, and the close code that they are answered with."""


async def test_lies() -> None:
    """Each frame that is against the RFC is answered with the close code that says so."""
    answers: dict[str, int] = {}

    async def lie(server: Server, name: str) -> None:
        async with open_upgraded(server, "/echo") as stream:
            await stream.send_all(LIES[name][0])
            await stream.send_eof()
            answer = await drain(stream)
        assert answer[0] == 0x88
        answers[name] = int.from_bytes(answer[2:4])

    async with besieged() as server, trio.open_nursery() as nursery:
        for name in LIES:
            nursery.start_soon(lie, server, name)

    assert answers == {name: code for name, (_, code) in LIES.items()}
    assert server.log.count("was sent what it must not") == len(LIES)


@pytest.mark.parametrize(
    "head",
    [b"GET /echo HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * MAX_HEAD, b"G" * 2 * MAX_HEAD],
    ids=["many-headers", "no-end-of-line"],
)
async def test_oversized_heads(head: bytes) -> None:
    """A head that does not end is answered with 431, and is not read further."""

    async def send_and_read(server: Server) -> None:
        async with open_socket(server) as stream:
            # What is behind it is not taken: the answer must not be lost in a reset.
            await stream.send_all(head[: MAX_HEAD + 1])
            answers.append(await drain(stream))

    answers: list[bytes] = []
    async with besieged() as server:
        for _ in range(10):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(send_and_read, server)

    assert len(answers) == 200
    assert {answer.partition(b"\r\n")[0] for answer in answers} == {
        b"HTTP/1.1 431 Request Header Fields Too Large"
    }


async def test_slow_heads() -> None:
    """Clients that send a head byte by byte are cut off in time, however busy they look."""
    cut: list[float] = []

    async def trickle(server: Server) -> None:
        head = upgrade(server, "/echo", "X-Long: " + "x" * 1000)
        began = trio.current_time()
        async with open_socket(server) as stream, trio.open_nursery() as nursery:

            async def send_slowly() -> None:
                for i in range(len(head)):
                    await stream.send_all(head[i : i + 1])
                    await trio.sleep(0.25)

            async def read_to_end() -> None:
                assert await drain(stream) == b""
                cut.append(trio.current_time() - began)
                nursery.cancel_scope.cancel()

            nursery.start_soon(read_to_end)
            with trio.move_on_after(FIRST_BYTES + SLACK):
                try:
                    await send_slowly()
                except trio.BrokenResourceError:
                    await trio.sleep_forever()

    async with besieged() as server, trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(trickle, server)

    assert len(cut) == 200
    print(f"cut after {min(cut):.1f} to {max(cut):.1f} s")
    assert min(cut) > FIRST_BYTES / 2
    assert max(cut) < FIRST_BYTES + SLACK


class Attacker:
    """One client of many that goes wrong, in all phases of a connection."""

    def __init__(self, server: Server, seed: int) -> None:
        self._server = server
        self._random = random.Random(seed)
        self._attacks: list[Callable[[], Awaitable[None]]] = [
            self._leave_before_the_head,
            self._leave_within_the_head,
            self._leave_before_the_answer,
            self._leave_without_an_answer,
            self._leave_after_the_answer,
            self._leave_within_a_frame,
            self._leave_amid_traffic,
            self._leave_within_the_close,
            self._leave_with_the_server,
            self._leave_within_a_flood,
            self._lie_amid_traffic,
            self._send_pings,
            self._use_http,
        ]

    async def attack(self, times: int) -> None:
        """Attack as often, in one way after the other."""
        for i in range(times):
            with suppress(trio.BrokenResourceError):
                await self._attacks[i % len(self._attacks)]()

    @asynccontextmanager
    async def _leaving(self, path: str = "") -> AsyncGenerator[trio.SocketStream]:
        """Connect, with a handshake if there is a path, and leave, half of the times by RST."""
        opened = open_upgraded(self._server, path) if path else open_socket(self._server)
        async with opened as stream:
            if self._random.random() < 0.5:
                reset_on_close(stream)
            yield stream
            await trio.sleep(self._random.choice([0, 0, 0.001, 0.02]))

    def _part_of(self, data: bytes) -> bytes:
        return data[: self._random.randrange(1, len(data))]

    def _path(self) -> str:
        return self._random.choice(["/echo", "/closes", "/never_reads"])

    async def _leave_before_the_head(self) -> None:
        async with self._leaving():
            pass

    async def _leave_within_the_head(self) -> None:
        async with self._leaving() as stream:
            await stream.send_all(self._part_of(upgrade(self._server, "/echo")))

    async def _leave_before_the_answer(self) -> None:
        async with self._leaving() as stream:
            await stream.send_all(upgrade(self._server, self._path()))

    async def _leave_without_an_answer(self) -> None:
        async with self._leaving() as stream:
            await stream.send_all(upgrade(self._server, "/never_accepts") + b"more")

    async def _leave_after_the_answer(self) -> None:
        async with self._leaving(self._path()):
            pass

    async def _leave_within_a_frame(self) -> None:
        async with self._leaving(self._path()) as stream:
            await stream.send_all(self._part_of(encode(Opcode.TEXT, b"x" * 70_000)))

    async def _leave_amid_traffic(self) -> None:
        async with self._leaving("/echo") as stream:
            await stream.send_all(encode(Opcode.TEXT, b"unread") * self._random.randrange(1000))

    async def _leave_within_the_close(self) -> None:
        async with self._leaving(self._path()) as stream:
            close = encode_close(self._random.choice([1000, 1001, 3000, 4999]), "bye")
            await stream.send_all(self._random.choice([close, self._part_of(close), close * 2]))

    async def _leave_with_the_server(self) -> None:
        async with self._leaving("/closes") as stream:
            await stream.receive_some()

    async def _leave_within_a_flood(self) -> None:
        async with self._leaving("/floods") as stream:
            await stream.receive_some(self._random.randrange(1, 100_000))

    async def _lie_amid_traffic(self) -> None:
        async with self._leaving("/echo") as stream:
            lie, _ = self._random.choice(list(LIES.values()))
            await stream.send_all(encode(Opcode.TEXT, b"hi") * 10 + lie + b"whatever" * 100)

    async def _send_pings(self) -> None:
        async with self._leaving(self._path()) as stream:
            ping = encode(Opcode.PING, self._random.randbytes(self._random.randrange(126)))
            await stream.send_all(ping * self._random.randrange(1000))

    async def _use_http(self) -> None:
        async with self._leaving() as stream:
            for _ in range(self._random.randrange(1, 5)):
                await stream.send_all(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
                assert (await read_head(stream)).startswith("HTTP/1.1 404 ")
                await stream.receive_some()
            # And then something else on the same connection.
            then = self._random.choice([upgrade(self._server, "/echo"), b"\x00", b""])
            await stream.send_all(then)


async def test_every_phase() -> None:
    """2,600 clients, 20 at a time, go wrong or leave in every phase of a connection."""
    async with besieged() as server, trio.open_nursery() as nursery:
        for seed in range(20):
            nursery.start_soon(Attacker(server, seed).attack, 130)

    assert server.log.count("triows.access") > 1000


# Clients that do not read


async def send_for_ever(stream: trio.SocketStream, data: bytes) -> None:
    """Send until the server has had enough."""
    with suppress(trio.BrokenResourceError):
        while True:
            await stream.send_all(data)


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/floods", b""),
        ("/echo", encode(Opcode.TEXT, b"x" * 10_000) * 10),
        ("/echo", encode(Opcode.PING, b"x" * 125) * 500),
    ],
    ids=["flood", "own-echoes", "own-pongs"],
)
async def test_clients_that_never_read(path: str, data: bytes) -> None:
    """They are cut off after `send_timeout`, whoever makes what they do not read."""

    async def stay(server: Server) -> None:
        async with open_deaf(server, path) as stream:
            if data:
                await send_for_ever(stream, data)
            else:
                await server.wait_for('"WS /floods"', 20)

    async with besieged() as server, trio.open_nursery() as nursery:
        with trio.fail_after(SEND_TIMEOUT + 2 * SLACK):
            async with trio.open_nursery() as attack:
                for _ in range(20):
                    attack.start_soon(stay, server)
        nursery.cancel_scope.cancel()

    assert server.log.count(f"peer has not read for {SEND_TIMEOUT:g} s") == 20


async def flood(server: Server, clients: int, attack: Callable[[Server], Awaitable[None]]) -> None:
    """Let so many clients attack at once, for three seconds."""
    with trio.move_on_after(3):
        async with trio.open_nursery() as nursery:
            for _ in range(clients):
                nursery.start_soon(attack, server)


async def test_pings_without_end() -> None:
    """Clients that ping as fast as they can, and read the pongs, hurt nobody."""
    pongs = 0

    async def ping(server: Server) -> None:
        nonlocal pongs
        async with open_upgraded(server, "/never_reads") as stream, trio.open_nursery() as nursery:
            nursery.start_soon(send_for_ever, stream, encode(Opcode.PING, b"") * 1000)
            async for data in stream:
                pongs += len(data) // 2

    async with besieged() as server:
        await flood(server, 40, ping)

    print(f"{pongs} pongs")
    assert pongs > 10_000


async def test_fragments_without_end() -> None:
    """Nor do clients whose messages are made of empty fragments, and never come to an end."""
    fragments = Frame(Opcode.CONT, b"", fin=False).serialize(mask=True) * 1000
    sent = 0

    async def send(server: Server) -> None:
        nonlocal sent
        async with open_upgraded(server, "/never_reads") as stream:
            # What is still on its way then is lost, and not worked through for seconds.
            reset_on_close(stream)
            await stream.send_all(Frame(Opcode.TEXT, b"", fin=False).serialize(mask=True))
            while True:
                await stream.send_all(fragments)
                sent += 1000

    async with besieged() as server:
        await flood(server, 40, send)

    print(f"{sent} fragments")
    assert sent > 100_000


# permessage-deflate (RFC 7692)

OFFER = "Sec-WebSocket-Extensions: permessage-deflate"


def deflate(data: bytes) -> bytes:
    """Return a message's payload, compressed (RFC 7692 §7.2.1)."""
    compressor = zlib.compressobj(9, wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def compressed(opcode: int, payload: bytes) -> bytes:
    """Return a frame with the first reserved bit set; its mask is zero, and changes nothing."""
    first = 0xC0 | opcode
    if len(payload) > 0xFFFF:
        return struct.pack(">BBQxxxx", first, 0xFF, len(payload)) + payload
    return struct.pack(">BBHxxxx", first, 0xFE, len(payload)) + payload


def in_fragments(payload: bytes, size: int) -> bytes:
    """Return a compressed message in many frames."""
    parts = [payload[i : i + size] for i in range(0, len(payload), size)]
    frames = [bytes([0x00, 0x80 | len(part)]) + bytes(4) + part for part in parts]
    frames[0] = b"\x42" + frames[0][1:]
    frames[-1] = b"\x80" + frames[-1][1:]
    return b"".join(frames)


BOMB = deflate(bytes(256 * MIB))
"""260 KB that are a thousand times as many."""


@pytest.mark.parametrize(
    ("path", "data", "code"),
    [
        ("/echo", compressed(0x2, BOMB), 1009),
        ("/echo", in_fragments(BOMB, 125), 1009),
        ("/hoards", compressed(0x2, deflate(bytes(MIB))) * 500, 1013),
        ("/echo", compressed(0x1, b"\xff" * 1000), 1007),
    ],
    ids=["one-frame", "fragments", "many-that-are-allowed", "not-deflate"],
)
async def test_compression_bombs(path: str, data: bytes, code: int) -> None:
    """With the default limit of 1 MiB, 100 bombs by 10 clients cost less than 64 MiB."""
    answers: list[bytes] = []

    async def throw(server: Server) -> None:
        async with open_socket(server) as stream:
            await stream.send_all(upgrade(server, path, OFFER))
            assert "permessage-deflate" in await read_head(stream)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_unless_refused, stream, data)
                answers.append(await drain(stream))

    async def throw_ten(server: Server) -> None:
        for _ in range(1 if code == 1013 else 10):
            await throw(server)

    async with (
        besieged("--compression", "deflate", app=ORDINARY, growth=64 * MIB) as server,
        trio.open_nursery() as nursery,
    ):
        for _ in range(10):
            nursery.start_soon(throw_ten, server)

    assert {int.from_bytes(answer[2:4]) for answer in answers} == {code}
    too_big = server.log.count(f"a message is larger than {MIB} bytes")
    assert too_big == (100 if code == 1009 else 0)


async def test_compression_bombs_on_hypercorns_side() -> None:
    """It always agrees to deflate, and inflates on after its 1009; nothing of that is kept."""

    async def throw(server: Server) -> None:
        async with open_socket(server) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await read_head(stream)
            await stream.receive_some(int(head.lower().partition("content-length: ")[2].split()[0]))
            await stream.send_all(upgrade(server, "/echo", OFFER))
            assert "permessage-deflate" in await read_head(stream)
            await stream.send_all(compressed(0x2, BOMB))
            assert (await drain(stream))[2:4] == b"\x03\xf1"

    async with besieged(app=ORDINARY, growth=64 * MIB) as server, trio.open_nursery() as attack:
        for _ in range(3):
            attack.start_soon(throw, server)

    assert server.log.count('"WS /echo" 101 1009 5.') == 3


async def send_unless_refused(stream: trio.SocketStream, data: bytes) -> None:
    """Send, unless the server does not want to hear it."""
    with suppress(trio.BrokenResourceError):
        await stream.send_all(data)


async def test_messages_that_are_never_finished() -> None:
    """500 clients that leave within a message of 1 MiB, which cost them 1 KB, leave nothing."""
    begun = b"\x42" + compressed(0x2, deflate(bytes(MIB - 1)))[1:]

    async def begin(server: Server) -> None:
        for _ in range(50):
            async with open_socket(server) as stream:
                await stream.send_all(upgrade(server, "/echo", OFFER))
                await read_head(stream)
                await stream.send_all(begun)
                await trio.sleep(POLL)
                reset_on_close(stream)

    async with (
        besieged("--compression", "deflate", app=ORDINARY, growth=64 * MIB) as server,
        trio.open_nursery() as nursery,
    ):
        for _ in range(10):
            nursery.start_soon(begin, server)


# TLS


async def test_garbage_instead_of_tls(tmp_path: Path) -> None:
    """500 clients that do not speak TLS, or not for long, on a port that does."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    pem = str(tmp_path / "server.pem")

    async with (
        besieged("--certfile", pem, "--keyfile", pem, trust=trust) as server,
        trio.open_nursery() as nursery,
    ):
        for seed in range(20):
            nursery.start_soon(TLSAttacker(server, seed, trust).attack, 25)


class TLSAttacker:
    """One client of many that breaks TLS, or what is in it."""

    def __init__(self, server: Server, seed: int, trust: ssl.SSLContext) -> None:
        self._server = server
        self._random = random.Random(seed)
        self._trust = trust

    async def attack(self, times: int) -> None:
        """Attack as often, outside of TLS and inside, in turn."""
        for i in range(times):
            with suppress(trio.BrokenResourceError):
                await (self._break_handshake if i % 2 else self._break_content)()

    async def _break_handshake(self) -> None:
        head = upgrade(self._server, "/echo")
        hello = self._hello()
        noise = self._random.randbytes(500)
        cut = self._random.randrange(1, len(hello))
        data = self._random.choice([noise, head, hello, hello[:cut], hello[:cut] + noise])
        async with open_socket(self._server) as stream:
            await stream.send_all(data)
            await self._leave(stream)

    async def _break_content(self) -> None:
        head = upgrade(self._server, "/echo")
        data = self._random.choice([b"\x00", self._random.randbytes(500), head[:50], head])
        async with open_socket(self._server) as stream:
            tls = trio.SSLStream(stream, self._trust, server_hostname="127.0.0.1")
            await tls.send_all(data)
            # Not decrypted by anybody: TLS is broken within the connection.
            await stream.send_all(self._random.choice([b"", self._random.randbytes(500)]))
            await self._leave(stream)

    async def _leave(self, stream: trio.SocketStream) -> None:
        with trio.move_on_after(self._random.choice([0, 0.001, 0.02])):
            await drain(stream)
        if self._random.random() < 0.5:
            reset_on_close(stream)

    def _hello(self) -> bytes:
        outgoing = ssl.MemoryBIO()
        tls = self._trust.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1")
        with suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        return outgoing.read()
