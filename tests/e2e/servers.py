"""Real server processes: each started for one test, bounded in time, and stopped by that test."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar

import pytest
import trio

ROOT = Path(__file__).parents[2]
APPS = Path(__file__).parent / "apps"

START_TIMEOUT = 20.0
"""Seconds from the start to the line that says where the server listens."""

STOP_TIMEOUT = 10.0
"""Seconds between asking and killing; hypercorn gives connections three to end."""

POLL = 0.01
"""Seconds between two looks at a log or at a process."""

MAX_LOG = 1 << 24
"""Bytes of a log that are looked at."""

_RUNNING = re.compile(r"\[(\d+)\] \[INFO\] Running on (https?)://127\.0\.0\.1:(\d+)")
_LISTENING = re.compile(r"listening on (https?)://127\.0\.0\.1:(\d+) \(pid (\d+)\)")
_FAILURE = re.compile(r"^(?:ERROR|CRITICAL) .*|^.*\[(?:ERROR|CRITICAL)\].*", re.MULTILINE)

on_both_servers = pytest.mark.parametrize("server", ["hypercorn", "anycorn"])
"""Run a test on hypercorn, and again on anycorn, where no guard of ours helps."""

on_every_server = pytest.mark.parametrize("server", ["triows", "hypercorn", "anycorn"])
"""Run a test on our own server, too: the same app behaves the same on all."""


def ending_within(server: str, seconds: float) -> tuple[str, str]:
    """Return the options of a server that is to give its connections so long at the end."""
    return "--drain-grace" if server == "triows" else "--graceful-timeout", f"{seconds:g}"


class Server:
    """A server that was started: `hypercorn --worker-class trio app:app`, as users do.

    hypercorn starts a second process, the worker, which serves; the first waits for it.

    Attributes:
        process: The one that was started, and the leader of its own process group.
        port: Where it listens, on the loopback; 0 until `wait_started`.
        worker: The id of the process that serves; 0 until `wait_started`.
        was_stopped: It was asked to end.
    """

    def __init__(self, process: trio.Process, log: IO[bytes]) -> None:
        self.process = process
        self.port = 0
        self.worker = 0
        self.was_stopped = False
        self._scheme = "http"
        self._log = log
        self._whole_log: str | None = None

    @property
    def log(self) -> str:
        """All that the server's processes have written, to stdout and stderr."""
        if self._whole_log is not None:
            return self._whole_log
        # Its position is the server's too, which may be writing.
        return os.pread(self._log.fileno(), MAX_LOG, 0).decode(errors="replace")

    @property
    def failures(self) -> list[str]:
        """The lines of the log at level ERROR and above, whoever logged them."""
        return _FAILURE.findall(self.log)

    @property
    def memory(self) -> int:
        """Bytes of memory that the worker holds now (its resident set)."""
        pages = int(Path(f"/proc/{self.worker}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def descriptors(self) -> int:
        """File descriptors that the worker has open now."""
        return len(list(Path(f"/proc/{self.worker}/fd").iterdir()))

    def ws(self, path: str) -> str:
        """Return the WebSocket URL of a path."""
        return f"ws{self._scheme.removeprefix('http')}://127.0.0.1:{self.port}{path}"

    def http(self, path: str) -> str:
        """Return the HTTP URL of a path."""
        return f"{self._scheme}://127.0.0.1:{self.port}{path}"

    async def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until the log contains a text, so many times."""
        while self.log.count(text) < times:
            await trio.sleep(POLL)

    async def wait_started(self) -> None:
        """Wait until the server says where it listens, which is after the app's start-up."""
        while (found := _RUNNING.search(self.log)) is None:
            if self.process.poll() is not None:
                raise AssertionError(f"the server exited with {self.process.returncode}")
            await trio.sleep(POLL)
        self.worker, self._scheme, self.port = int(found[1]), found[2], int(found[3])

    async def wait_ended(self) -> int:
        """Wait until the process has ended, and return its exit status."""
        return await self.process.wait()

    async def stop(self, *, by_ctrl_c: bool = False) -> float:
        """Ask the server to end, by SIGTERM or as a terminal does; return the seconds it took.

        It must exit with 0.
        """
        status = self.process.poll()
        assert status is None, f"the server had exited with {status} before it was asked to"
        self.was_stopped = True
        asked_at = trio.current_time()
        if by_ctrl_c:
            os.killpg(self.process.pid, signal.SIGINT)
        else:
            self.process.terminate()
        with trio.fail_after(STOP_TIMEOUT):
            status = await self.wait_ended()
        assert status == 0, f"the server exited with {status}"
        return trio.current_time() - asked_at


class TriowsServer(Server):
    """Like `Server`, but `triows run app`, which serves itself or has workers that do.

    Workers are in sessions of their own, and end when the process that was started does.
    """

    @property
    def workers(self) -> list[int]:
        """The ids of the processes that it has started."""
        # Each thread has children of its own.
        files = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(word) for file in files for word in file.read_text().split()]

    async def wait_started(self) -> None:
        """Wait until it says that it listens, which is when all workers serve."""
        while (found := _LISTENING.search(self.log)) is None:
            if self.process.poll() is not None:
                raise AssertionError(f"the server exited with {self.process.returncode}")
            await trio.sleep(POLL)
        self._scheme, self.port, self.worker = found[1], int(found[2]), int(found[3])


S = TypeVar("S", bound=Server)


@asynccontextmanager
async def starting(
    app: str,
    *options: str,
    server: str = "hypercorn",
    folder: Path = APPS,
    bound: float = 60,
    bind: str = "127.0.0.1:0",
) -> AsyncGenerator[Server]:
    """Run a server process around a block, and kill what is left of it afterwards.

    What it logged is added to any exception of the block.

    Args:
        app: What to serve, "module:name", importable from the folder.
        options: More of the server's command line.
        server: "triows", "hypercorn" or "anycorn"; the worker of the last two is Trio's unless
            the options say otherwise.
        folder: The current directory of the server.
        bound: Seconds that the block may take.
        bind: Where it listens; on a port of its own, unless it is to come back to one.
    """
    if server == "triows":
        async with launching(app, *options, folder=folder, bound=bound, bind=bind) as ours:
            yield ours
        return
    command = ["-m", server, "--worker-class", "trio", "--bind", bind, *options, app]
    async with _process(Server, command, folder, bound) as started:
        yield started


@asynccontextmanager
async def _process(
    kind: type[S], command: Sequence[str], folder: Path, bound: float, fds: Sequence[int] = ()
) -> AsyncGenerator[S]:
    """Run Python with some arguments around a block of so many seconds, and kill what is left."""
    with tempfile.TemporaryFile() as log:
        process = await trio.lowlevel.open_process(
            [sys.executable, *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=fds,
        )
        running = kind(process, log)
        try:
            with trio.fail_after(bound):
                yield running
        except BaseException as exc:
            exc.add_note(f"The log of {' '.join(command)}:\n{running.log}")
            raise
        finally:
            # The group: a worker outlives a parent that was killed.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with trio.CancelScope(shield=True, deadline=trio.current_time() + STOP_TIMEOUT):
                await process.wait()
            running._whole_log = running.log


@asynccontextmanager
async def serving(
    app: str,
    *options: str,
    server: str = "hypercorn",
    folder: Path = APPS,
    bound: float = 60,
    bind: str = "127.0.0.1:0",
) -> AsyncGenerator[Server]:
    """Like `starting`, but from the moment the server listens until it has ended by itself.

    It lives through the whole block, or is stopped by it; then it is asked to end and
    must exit with 0 soon. After the block its log is complete.
    """
    started = starting(app, *options, server=server, folder=folder, bound=bound, bind=bind)
    async with started as running:
        with trio.fail_after(START_TIMEOUT):
            await running.wait_started()
        yield running
        if not running.was_stopped:
            await running.stop()


@asynccontextmanager
async def launching(
    app: str,
    *options: str,
    folder: Path = APPS,
    bound: float = 60,
    fds: Sequence[int] = (),
    bind: str = "127.0.0.1:0",
) -> AsyncGenerator[TriowsServer]:
    """Like `starting`, but `triows run`; it inherits the file descriptors `fds`."""
    command = ["-m", "triows", "run", app, "--bind", bind, *options]
    async with _process(TriowsServer, command, folder, bound, fds) as started:
        yield started


@asynccontextmanager
async def running(
    app: str,
    *options: str,
    folder: Path = APPS,
    bound: float = 60,
    fds: Sequence[int] = (),
    bind: str = "127.0.0.1:0",
) -> AsyncGenerator[TriowsServer]:
    """Like `serving`, but `triows run`."""
    starting = launching(app, *options, folder=folder, bound=bound, fds=fds, bind=bind)
    async with starting as started:
        with trio.fail_after(START_TIMEOUT):
            await started.wait_started()
        yield started
        if not started.was_stopped:
            await started.stop()
