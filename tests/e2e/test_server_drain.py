"""SIGTERM on our own server, with many clients; and peers that are no longer there.

`test_workers` has the same for several workers.
"""

import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable

import pytest
import trio

from benchmarks.client import GOODBYE, open_websockets
from tests.e2e.clients import (
    Closed,
    connect,
    drain,
    open_socket,
    open_upgraded,
    read_head,
    read_to_end,
    upgrade,
)
from tests.e2e.servers import ROOT, STOP_TIMEOUT, Server, running

pytestmark = pytest.mark.timeout(60)

CLIENTS = 500

APP = "tests.e2e.apps.draining:app"
GOING_AWAY = b"\x88\x11\x03\xe9server draining"
"""The close frame that all of them see: 1001 (RFC 6455 §5.5.1)."""

NOT_FOUND = b"Not Found\n"

CLOSE_TIMEOUT = 0.5
"""Seconds, in the app."""

DEAD_AFTER = 0.5 + 0.5
"""Seconds: `ping_interval` and `ping_timeout`, in the app."""

SLACK = 1.5
"""Seconds for two busy cores."""

STAYS = """
import sys, time
from websockets.sync.client import connect
with connect(sys.argv[1], proxy=None):
    print("connected", flush=True)
    time.sleep(60)
"""
"""A client that answers pings, as long as it is not stopped."""


def read_farewells(socks: Iterable[socket.socket]) -> Counter[bytes]:
    """Read each to its end, answer a close frame, and count what came."""
    seen: Counter[bytes] = Counter()
    for sock in socks:
        sock.settimeout(20)
        received = b""
        while data := sock.recv(4096):
            received += data
            if received.endswith(GOING_AWAY):
                sock.sendall(GOODBYE)
        sock.close()
        seen[received] += 1
    return seen


async def test_five_hundred_clients() -> None:
    """All see 1001, all handlers finish their work, and only then the lifespan ends."""
    async with running(APP, folder=ROOT) as server:
        socks = open_websockets(server.port, "/finishes", CLIENTS)
        async with trio.open_nursery() as nursery:
            seen: list[Counter[bytes]] = []

            async def read() -> None:
                seen.append(await trio.to_thread.run_sync(read_farewells, socks))

            nursery.start_soon(read)
            taken = await server.stop()

    print(f"{CLIENTS} clients were let go in {taken:.1f} s")
    assert seen == [Counter({GOING_AWAY: CLIENTS})]
    assert server.log.count("finished while the pool was open") == CLIENTS
    assert server.log.count('"WS /finishes" 101 1001') == CLIENTS
    assert server.log.rindex("finished while") < server.log.index("the pool is closed")
    assert server.failures == []
    assert "WARNING" not in server.log


async def test_clients_on_hypercorns_side() -> None:
    """Those that have asked for something before they upgrade are let go like all others."""
    ends: list[bytes] = []
    async with running(APP, folder=ROOT) as server, trio.open_nursery() as nursery:

        async def visit(task_status: trio.TaskStatus[None]) -> None:
            async with open_socket(server) as stream:
                await stream.send_all(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert "HTTP/1.1 404" in await read_head(stream)
                assert await stream.receive_some(len(NOT_FOUND)) == NOT_FOUND
                await stream.send_all(upgrade(server, "/finishes"))
                assert "HTTP/1.1 101" in await read_head(stream)
                task_status.started()
                ends.append(await stream.receive_some(len(GOING_AWAY)))
                await stream.send_all(GOODBYE)
                assert await stream.receive_some(1) == b""

        for _ in range(20):
            await nursery.start(visit)
        taken = await server.stop()

    assert ends == [GOING_AWAY] * 20
    assert taken < SLACK
    assert server.log.count("server draining: 20 connections") == 1
    assert server.log.count("finished while the pool was open") == 20
    assert server.log.count('"WS /finishes" 101 1001') == 20
    assert server.failures == []
    assert "WARNING" not in server.log


async def test_handlers_that_do_not_finish() -> None:
    """After the grace they are cancelled, and a failure of one of them is in the log, once."""
    paths = ["/never_finishes", "/fails_when_cancelled", "/says_goodbye", "/finishes"]
    seen: dict[str, Closed] = {}
    async with running(APP, "--drain-grace", "1", folder=ROOT) as server:

        async def look(path: str, task_status: trio.TaskStatus[None]) -> None:
            async with connect(server.ws(path)) as connection:
                task_status.started()
                seen[path] = await read_to_end(connection)

        async with trio.open_nursery() as nursery:
            for path in paths:
                await nursery.start(look, path)
            taken = await server.stop()

    assert 1 <= taken < 1 + SLACK
    assert set(seen) == set(paths)
    assert {closed.code for closed in seen.values()} == {1001}
    assert server.log.count("cancelled while the pool was open") == 1
    assert server.log.count("saw the drain") == 1
    assert server.log.count("RuntimeError: fails_when_cancelled is broken") == 1
    assert len(server.failures) == 1
    assert server.log.count("server draining: 4 connections") == 1
    assert server.log.index("cancelled while") < server.log.index("the pool is closed")


async def test_nobody_new() -> None:
    """While it drains, nobody is let in; those who wait for an answer get 503."""
    async with running(APP, "--drain-grace", "5", folder=ROOT) as server:
        async with connect(server.ws("/finishes")):
            server.was_stopped = True
            server.process.terminate()
            await server.wait_for("server draining")
            with pytest.raises(OSError, match="connect"):
                await trio.open_tcp_stream("127.0.0.1", server.port)
        with trio.fail_after(SLACK):
            assert await server.wait_ended() == 0


async def test_a_peer_that_stalls() -> None:
    """A `send` to it can be given up when the app likes, and shutdown does not wait for it."""
    async with running(APP, folder=ROOT) as server, open_upgraded(server, "/sends_for_a_second"):
        await server.wait_for("gave up after")
        taken = await server.stop()

    found = re.search(r"gave up after (\S+) s", server.log)
    assert found is not None
    print(f"gave up after {found[1]} s, shut down in {taken:.2f} s")
    assert 1 <= float(found[1]) < 1 + SLACK
    assert taken < CLOSE_TIMEOUT + SLACK
    assert server.failures == []


async def test_a_peer_that_answers_no_ping() -> None:
    """It is told 1011, and gone within `ping_interval` and `ping_timeout`."""
    async with (
        running(APP, folder=ROOT) as server,
        open_upgraded(server, "/pings") as stream,
    ):
        with trio.fail_after(DEAD_AFTER + SLACK):
            received = await drain(stream)
            await server.wait_for("triows.access")

    assert received[:2] == b"\x89\x08"  # a ping of eight bytes
    assert received.endswith(b"\x88\x13\x03\xf3no pong for 0.5 s")
    assert DEAD_AFTER <= seconds_until_gone(server) < DEAD_AFTER + SLACK
    assert server.log.count("handler pings is ended: no pong for 0.5 s") == 1
    assert "101 1011" in server.log
    assert server.failures == []
    assert "WARNING" not in server.log


async def test_a_peer_whose_process_is_stopped() -> None:
    """It stays as long as its library answers pings, and is gone soon when that no longer runs."""
    async with running(APP, folder=ROOT) as server:
        client = await trio.lowlevel.open_process(
            [sys.executable, "-c", STAYS, server.ws("/pings")], stdout=subprocess.PIPE
        )
        try:
            assert client.stdout is not None
            async with client.stdout as stdout:
                assert await stdout.receive_some()
                await trio.sleep(2 * DEAD_AFTER)
                assert "is ended" not in server.log
                client.send_signal(signal.SIGSTOP)
                with trio.fail_after(DEAD_AFTER + SLACK):
                    await server.wait_for("triows.access")
        finally:
            client.kill()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + STOP_TIMEOUT):
                await client.wait()

    assert 2 * DEAD_AFTER <= seconds_until_gone(server)
    assert server.log.count("handler pings is ended: no pong for 0.5 s") == 1
    assert server.failures == []


def seconds_until_gone(server: Server) -> float:
    """Return how long the handler `pings` has had its peer."""
    found = re.search(r"gone after (\S+) s", server.log)
    assert found is not None
    return float(found[1])
