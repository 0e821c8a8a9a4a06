"""`triows connect`, as a process, against real servers."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trustme

from tests.e2e.servers import ROOT, serving

COMMAND = [sys.executable, "-m", "triows", "connect"]

STOP_TIMEOUT = 10.0
"""Seconds for two busy cores to start Python, and for it to end."""


async def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the command to its end."""
    with trio.fail_after(STOP_TIMEOUT):
        return await trio.run_process(
            [*COMMAND, *arguments],
            cwd=ROOT,
            capture_stdout="stdout" not in options,
            capture_stderr=True,
            check=False,
            **options,
        )


class Client:
    """The command, while it runs."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.told = ""

    async def wait_told(self, text: str) -> None:
        """Wait until it has told the user something."""
        assert self.process.stderr is not None
        while text not in self.told:
            more = await self.process.stderr.receive_some()
            assert more, f"it has only told: {self.told}"
            self.told += more.decode()

    async def read_told(self) -> str:
        """Read what it tells to its end, and return all of it."""
        assert self.process.stderr is not None
        async for more in self.process.stderr:
            self.told += more.decode()
        return self.told


@asynccontextmanager
async def running(*arguments: str, **options: Any) -> AsyncGenerator[Client]:
    """Run the command around a block, which waits for its end; it must come soon."""
    process = await trio.lowlevel.open_process(
        [*COMMAND, *arguments], cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True, **options
    )
    try:
        with trio.fail_after(STOP_TIMEOUT):
            yield Client(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def test_pipe() -> None:
    """`echo hi | triows connect URL` prints the echo, and nothing else."""
    async with serving("leaving:app") as server:
        url = server.ws("/echo")
        done = await run(url, stdin='hi\n{"größe": 1}\n'.encode())

    assert 'hi\n{"größe": 1}\n' == done.stdout.decode()
    assert f"connected to {url}\nclosed: 1000\n" == done.stderr.decode()
    assert 0 == done.returncode


async def test_file(tmp_path: Path) -> None:
    """A file can be the input: each of its lines is a message."""
    path = tmp_path / "lines"
    path.write_text("".join(f"{number}\n" for number in range(1000)))
    async with serving("leaving:app") as server:
        with path.open() as file:
            done = await run(server.ws("/echo"), stdin=file)

    assert path.read_bytes() == done.stdout
    assert 0 == done.returncode


async def test_json() -> None:
    """JSON is laid out if that is asked for."""
    async with serving("leaving:app") as server:
        done = await run("--json", server.ws("/echo"), stdin=b'{"b":[1],"a":2}\n')

    assert b'{\n  "b": [\n    1\n  ],\n  "a": 2\n}\n' == done.stdout


async def test_server_closes_while_the_input_is_open() -> None:
    """It ends at once, although a thread waits for a line that never comes."""
    async with (
        serving("leaving:app") as server,
        running(server.ws("/closes"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client,
    ):
        assert client.process.stdout is not None
        assert b"goodbye\n" == b"".join([part async for part in client.process.stdout])
        assert 1 == await client.process.wait()
        told = await client.read_told()

    assert told.endswith("closed by the peer: 4000 enough\n")
    assert "Traceback" not in told
    assert "Fatal" not in told


async def test_ctrl_c() -> None:
    """Ctrl-C closes with 1000; there is no traceback, and the status is the usual one."""
    async with (
        serving("leaving:app") as server,
        running(server.ws("/echo"), stdin=subprocess.PIPE) as client,
    ):
        await client.wait_told("connected")
        client.process.send_signal(signal.SIGINT)
        assert 130 == await client.process.wait()
        told = await client.read_told()

    assert told.endswith("\nclosed: 1000\n")
    assert "Traceback" not in told


async def test_reader_that_has_enough() -> None:
    """As before `| head -1`: it ends quietly when nobody reads the output any more."""
    reading, writing = os.pipe()
    async with (
        serving("leaving:app") as server,
        running(server.ws("/echo"), stdin=subprocess.PIPE, stdout=writing) as client,
    ):
        os.close(writing)
        assert client.process.stdin is not None
        await client.process.stdin.send_all(b"one\n")
        assert b"one\n" == await trio.to_thread.run_sync(os.read, reading, 100)
        os.close(reading)
        await client.process.stdin.send_all(b"two\n")
        assert 0 == await client.process.wait()
        told = await client.read_told()

    assert told.endswith("\nclosed: 1000\n")
    assert 2 == len(told.splitlines())


async def test_terminal() -> None:
    """On a terminal messages have a prefix, there are commands, and Ctrl-D ends it.

    The terminal is left as it was: blocking, for the shell.
    """
    leader, follower = os.openpty()
    async with (
        serving("leaving:app") as server,
        running(server.ws("/echo"), stdin=follower, stdout=follower) as client,
    ):
        await client.wait_told("connected")
        os.write(leader, b"[1]\n//a\n/binary 00ff\n/ping\n")
        await client.wait_told("pong after ")
        shown = b""
        while b"00 ff" not in shown:
            shown += await trio.to_thread.run_sync(os.read, leader, 1000)
        os.write(leader, b"\x04")
        assert 0 == await client.process.wait()
        told = await client.read_told()

    assert os.get_blocking(follower)
    os.close(leader)
    os.close(follower)
    assert told.endswith("\nclosed: 1000\n")
    lines = shown.decode().split("\r\n")
    assert [line for line in lines if line.startswith("< ")] == [
        "< [",
        "< /a",
        "< binary, 2 bytes: 00 ff",
    ]


async def test_refused() -> None:
    """A refused handshake has a status of its own, and the answer is told."""
    async with serving("leaving:app") as server:
        url = server.ws("/nowhere")
        done = await run(url, stdin=b"")

    assert f"triows: cannot connect to {url}: the server answered 404 Not Found" in (
        done.stderr.decode()
    )
    assert 3 == done.returncode


async def test_tls(tmp_path: Path) -> None:
    """A server is checked, by a file of certificates if there is one, or not at all."""
    authority = trustme.CA()
    pem, trust = str(tmp_path / "server.pem"), str(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pem)
    authority.cert_pem.write_to_path(trust)
    async with serving("leaving:app", "--certfile", pem, "--keyfile", pem) as server:
        url = server.ws("/echo")
        unknown = await run(url, stdin=b"hi")
        trusted = await run(url, "--cafile", trust, stdin=b"hi")
        unchecked = await run(url, "--insecure", stdin=b"hi")

    assert 3 == unknown.returncode
    assert b"TLS failed: unable to get local issuer certificate" in unknown.stderr
    assert (0, b"hi\n") == (trusted.returncode, trusted.stdout)
    assert (0, b"hi\n") == (unchecked.returncode, unchecked.stdout)
