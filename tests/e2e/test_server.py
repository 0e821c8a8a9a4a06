"""Our own server, as `triows run`: what hypercorn cannot do."""

import resource
import socket
import time
import zlib
from pathlib import Path

import pytest
import trio
from websockets.frames import Opcode

from benchmarks.client import client_frame, open_websockets
from tests.e2e.clients import (
    Closed,
    connect,
    drain,
    encode,
    encode_close,
    open_bystander,
    open_socket,
    open_upgraded,
    read_head,
    read_to_end,
    reset_on_close,
    upgrade,
)
from tests.e2e.servers import POLL, TriowsServer, running

pytestmark = pytest.mark.timeout(120)

SLACK = 2.0
"""Seconds for two busy cores."""

CROWD = 500

MANY = 10_000


def descriptors(server: TriowsServer) -> int:
    """Return how many file descriptors a server has open."""
    return len(list(Path(f"/proc/{server.worker}/fd").iterdir()))


async def wait_for_descriptors(server: TriowsServer, count: int) -> None:
    """Wait until a server has no more file descriptors open."""
    with trio.fail_after(10):
        while descriptors(server) > count:
            await trio.sleep(POLL)


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (encode_close(1000), "1000 '' by peer: True clean: True"),
        (encode_close(1001), "1001 '' by peer: True clean: True"),
        (encode_close(3000, "bye"), "3000 'bye' by peer: True clean: True"),
        (encode_close(4999, "end"), "4999 'end' by peer: True clean: True"),
        (encode(Opcode.CLOSE, b""), "1005 '' by peer: True clean: True"),
        (b"", "1006 '' by peer: True clean: False"),
    ],
    ids=["1000", "1001", "3000", "4999", "empty", "none"],
)
async def test_the_end_that_a_handler_sees(sent: bytes, seen: str) -> None:
    """The close code, the reason, and whether it was clean, are what the client did."""
    async with running("ours:app") as server:
        async with open_upgraded(server, "/tells") as stream:
            if sent:
                await stream.send_all(sent)
                assert (await drain(stream))[:1] == b"\x88"  # a close frame
            else:
                reset_on_close(stream)
        await server.wait_for(f"ended: {seen}")

    assert server.failures == []


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (encode(Opcode.TEXT, b"unmasked", is_masked=False), 1002),
        (b"\x83\x80\x00\x00\x00\x00", 1002),
        (encode(Opcode.TEXT, b"\xff\xfe"), 1007),
        (encode(Opcode.TEXT, bytes(1024 * 1024 + 1)), 1009),
    ],
    ids=["unmasked", "opcode", "utf-8", "size"],
)
async def test_a_peer_that_breaks_the_protocol(frame: bytes, code: int) -> None:
    """It is told what RFC 6455 asks for, in a close frame, and one warning is logged."""
    async with running("ours:app") as server, open_upgraded(server, "/echo") as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, frame)
            received = await drain(stream)
        assert server.log.count("[WARNING]") == 1

    assert received[2:4] == code.to_bytes(2, "big")
    assert server.failures == []


async def test_a_dead_peer() -> None:
    """Who answers no ping is gone within `ping_interval + ping_timeout`, and is told 1011."""
    async with running("ours:app") as server, open_upgraded(server, "/minds_the_dead") as stream:
        with trio.fail_after(1 + SLACK):
            received = await drain(stream)

    assert received[:2] == b"\x89\x08"  # a ping of eight bytes
    assert (1011).to_bytes(2, "big") in received


async def test_a_peer_that_stalls() -> None:
    """A send may be given up after a second, and the shutdown does not wait for that peer."""
    async with running("ours:app") as server, open_upgraded(server, "/is_patient"):
        await server.wait_for("gave up after 1.")
        taken = await server.stop()

    assert taken < 5 + SLACK  # `close_timeout`, for a close frame that is never read
    assert server.failures == []


async def test_a_drain_with_a_crowd() -> None:
    """At SIGTERM all clients see 1001, handlers finish, then the lifespan ends: exit 0."""
    seen: list[Closed] = []
    async with running("ours:app") as server, trio.open_nursery() as nursery:
        ready = trio.Semaphore(0)

        async def stay() -> None:
            async with connect(server.ws("/works"), compression=None) as connection:
                ready.release()
                seen.append(await read_to_end(connection))

        for _ in range(CROWD):
            nursery.start_soon(stay)
        for _ in range(CROWD):
            await ready.acquire()
        await server.stop()

    assert seen == [Closed(1001, "server draining")] * CROWD
    assert server.log.count("work is done") == CROWD
    assert server.log.rindex("work is done") < server.log.index("the lifespan has ended")
    assert server.failures == []


async def test_middleware_is_not_bypassed() -> None:
    """Starlette around a triows app sees the accept, each message, and the true close code."""
    async with running("ours:wrapped") as server:
        async with connect(server.ws("/echo")) as connection:
            for _ in range(3):
                await connection.send("hi")
                await connection.recv()
            response = connection.response
            assert response is not None
            assert response.headers["x-counted"] == "yes"
            await connection.aclose(4001, "bye")
        await server.wait_for("after 3 messages: 4001 'bye'")


async def test_a_starlette_app() -> None:
    """It runs unchanged, and is told the close code and reason that the client sent."""
    async with running("ours:starlette") as server:
        async with connect(server.ws("/echo")) as connection:
            await connection.send("hi")
            assert await connection.recv() == "hi"
            await connection.aclose(4001, "bye")
        await server.wait_for("Starlette was told: 4001 'bye'")

    assert server.failures == []


async def test_compression_bombs() -> None:
    """With a bound of 1 MiB, messages that would be 256 MiB cost the process a few MiB."""
    bomb = _bomb()
    async with running("ours:app", "--compression", "deflate") as server:
        async with open_bystander(server) as bystander:
            before = server.memory
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(_send_bomb, server, bomb)
            grown = server.memory - before
            assert bystander.longest < 1
        print(f"{grown / 2**20:.1f} MiB more, the longest echo took {bystander.longest:.3f} s")

    assert grown < 64 * 2**20
    assert server.log.count("a message is larger than 1048576 bytes") == 20


async def _send_bomb(server: TriowsServer, bomb: bytes) -> None:
    offer = "Sec-WebSocket-Extensions: permessage-deflate"
    async with open_socket(server) as stream:
        await stream.send_all(upgrade(server, "/echo", offer))
        assert "permessage-deflate" in await read_head(stream)
        await stream.send_all(bomb)
        assert (1009).to_bytes(2, "big") == (await drain(stream))[2:4]


def _bomb() -> bytes:
    """Return a compressed message of 256 MiB, as a client sends it (RFC 7692 §7.2.1)."""
    deflate = zlib.compressobj(wbits=-12)
    piece = bytes(2**20)
    payload = b"".join(deflate.compress(piece) for _ in range(2**8)) + deflate.flush()
    frame = encode(Opcode.BINARY, payload)
    return bytes([frame[0] | 0x40]) + frame[1:]  # RSV1: it is compressed


async def test_pings_without_end() -> None:
    """A client that only pings, and reads no answer, hurts nobody, and leaves nothing behind."""
    pings = encode(Opcode.PING, b"x" * 125) * 500
    async with running("ours:app") as server:
        before = descriptors(server)
        async with open_bystander(server) as bystander, open_upgraded(server, "/echo") as stream:
            with trio.move_on_after(2):
                while True:
                    await stream.send_all(pings)
            assert bystander.longest < 1
            assert bystander.echoes > 50
        await wait_for_descriptors(server, before)

    assert server.failures == []


async def test_many_that_are_idle() -> None:
    """Ten thousand connections on one worker are a hundred MiB or so; then all of them echo."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < MANY + 200:
        pytest.skip(f"a process may open {most} files here")
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        async with running("ours:app", "--drain-grace", "30") as server:
            descriptors_before, before = descriptors(server), server.memory
            socks = await trio.to_thread.run_sync(open_websockets, server.port, "/echo", MANY)
            each = (server.memory - before) / MANY
            began = time.perf_counter()
            await trio.to_thread.run_sync(_echo_all, socks)
            print(
                f"{each / 1024:.1f} KiB each; all echoes took {time.perf_counter() - began:.2f} s"
            )
            for sock in socks:
                sock.close()
            await wait_for_descriptors(server, descriptors_before)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))

    assert each < 24 * 1024
    assert server.failures == []


def _echo_all(socks: list[socket.socket]) -> None:
    for sock in socks:
        sock.sendall(client_frame(b"still there?"))
    for sock in socks:
        sock.settimeout(10)
        assert sock.recv(100) == b"\x81\x0cstill there?"
