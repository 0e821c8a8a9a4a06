"""Servers under measurement: real processes, each on a free port and a core of its own."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

from benchmarks.client import HOST, close_websockets, open_websocket
from benchmarks.cpu import pin

ROOT = Path(__file__).parent.parent
"""Where the packages are importable from: the current directory of every process."""

START_TIMEOUT = 20.0
"""Seconds from the start to the first answer."""

STOP_TIMEOUT = 5.0
"""Seconds between asking and killing."""

ATTEMPTS = 3
"""Free ports to try: another process may take one before the server does."""

MAX_LOG = 1 << 20
"""Bytes of a server's log that are shown."""

_PAUSE = 0.02
_PORT_TAKEN = "ddress already in use"

Command: TypeAlias = Callable[[int], list[str]]
"""Takes a port, and returns the command that serves there."""

Ask: TypeAlias = Callable[[int], None]
"""Takes a port, and raises OSError if what is there does not serve yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server.

    Attributes:
        port: Where it listens, on the loopback.
        session: The id of its first process, and of the session that it leads.
    """

    port: int
    session: int


class ServerFailed(Exception):
    """It did not start, or it did not live until the end."""


@contextmanager
def running(command: Command, ask: Ask, *, core: int | None) -> Generator[Server]:
    """Run a server around a block, from its first answer on.

    What it logs is added to any exception of the block, and otherwise thrown away.

    Args:
        command: How to start it.
        ask: How to know that it serves.
        core: Where it is pinned, or None.

    Raises:
        ServerFailed: It did not start, or it did not live until the end.
    """
    with tempfile.TemporaryFile() as log, ExitStack() as stack:
        try:
            process, port = _start(stack, command, ask, core, log)
            yield Server(port=port, session=process.pid)
            _check_lives(process)
        except Exception as exc:
            exc.add_note(f"The log of {' '.join(command(0))}:\n{_read(log)}")
            raise


def _start(
    stack: ExitStack, command: Command, ask: Ask, core: int | None, log: IO[bytes]
) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(ATTEMPTS):
        port = _free_port()
        process = stack.enter_context(_spawned(command(port), log))
        pin(process.pid, core)
        if _answers(process, port, ask):
            return process, port
        if _PORT_TAKEN not in _read(log):
            break
    raise ServerFailed(f"the server did not start: exit status {process.poll()}")


def _check_lives(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        raise ServerFailed(f"the server ended by itself: exit status {process.returncode}")


@contextmanager
def _spawned(arguments: list[str], log: IO[bytes]) -> Generator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        arguments,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,  # Ctrl-C is for us alone, and its children die with it
    )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    _signal_group(process, signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def shakes_hands(path: str) -> Ask:
    """Return what opens and closes a WebSocket.

    That a connection succeeds would tell nothing: hypercorn listens before it loads the app.
    """
    return lambda port: close_websockets([open_websocket(port, path)])


def _answers(process: subprocess.Popen[bytes], port: int, ask: Ask) -> bool:
    deadline = time.monotonic() + START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        try:
            ask(port)
        except OSError:
            time.sleep(_PAUSE)
        else:
            return True
    return False


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


def _read(log: IO[bytes]) -> str:
    # Its position is the server's too, who may be writing.
    return os.pread(log.fileno(), MAX_LOG, 0).decode(errors="replace")
