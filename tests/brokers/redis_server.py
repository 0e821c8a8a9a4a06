"""A real Redis for tests: Debian's `redis-server`, on a socket in a folder of its own."""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import trio

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
"""Options of a server that has every write on its disk before it answers."""

PATIENCE = 10.0
"""Seconds for a Redis to start, and for what a test waits for."""

POLL = 0.005
"""Seconds between two looks."""


class RedisServer:
    """A server that can be ended, frozen, and started again with what it has on disk.

    Attributes:
        url: Where it is.
    """

    def __init__(self, folder: Path, options: tuple[str, ...]) -> None:
        self.url = f"unix://{folder}/socket"
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def use(self, *options: str) -> None:
        """Have other options the next time it starts."""
        self._options = options

    def start(self) -> None:
        """Start it."""
        program = shutil.which("redis-server")
        assert program, "these tests need a redis-server (Debian: apt install redis-server)"
        listen = ["--port", "0", "--unixsocket", "socket", "--save", "", *self._options]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, *listen], cwd=self._folder, stdout=log, stderr=log
            )

    async def wait_started(self) -> None:
        """Wait until it answers."""
        with trio.fail_after(PATIENCE):
            while await self.command("PING") != "PONG":
                await trio.sleep(POLL)

    async def command(self, *words: str) -> str:
        """Have `redis-cli` ask it, and return what it prints."""
        command = ["redis-cli", "-s", str(self._folder / "socket"), *words]
        done = await trio.run_process(command, capture_stdout=True, check=False)
        return done.stdout.decode().strip()

    def kill(self) -> None:
        """Kill it at once."""
        self._end(signal.SIGKILL)

    def shut_down(self) -> None:
        """Ask it to end, and wait until it has; that takes it no time."""
        self._end(signal.SIGTERM)

    def _end(self, by: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(by)
            self._process.wait(PATIENCE)
            self._process = None

    def freeze(self) -> None:
        """Stop its process, which keeps all connections."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def redis_server(*options: str) -> Generator[RedisServer]:
    """Run a Redis around a block; it may not answer yet."""
    with tempfile.TemporaryDirectory(prefix="redis") as folder:
        server = RedisServer(Path(folder), options)
        server.start()
        try:
            yield server
        finally:
            server.kill()
