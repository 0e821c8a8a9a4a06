"""`triows run`: which way it takes, and how it ends."""

import argparse
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from hypercorn.config import Sockets
from trio.testing import MockClock

from tests.cli.conftest import Write
from triows.cli import _run
from triows.cli._run import Work, run, run_workers
from triows.cli._statuses import CommandError
from triows.cli._workers import RunWorker

pytestmark = pytest.mark.timeout(30)

APP = "async def app(scope, receive, send): ...\n"

STOPS_SUPERVISOR = """
import json, os, signal, sys

with open("argv.json", "w") as file:
    json.dump(sys.argv, file)
os.kill(os.getppid(), signal.SIGTERM)
signal.pause()
"""
"""A module that has its worker's supervisor asked to end, and then waits for its own end."""


def parse(*options: str) -> argparse.Namespace:
    """Return the arguments of the command, as the program parses them."""
    parser = argparse.ArgumentParser()
    _run.add_command(parser.add_subparsers())
    return parser.parse_args(["run", "shop:app", "--bind", "127.0.0.1:0", *options])


def ask(number: signal.Signals = signal.SIGTERM) -> None:
    """Send a signal to this process."""
    os.kill(os.getpid(), number)


async def serve_shortly(*_: object, **options: Any) -> None:
    """Stand in for the server: serve, be asked to end, and end."""
    options["task_status"].started(["http://here"])
    ask()
    await options["shutdown_trigger"]()


def test_command() -> None:
    """The program calls it with the arguments."""
    assert run is parse().run


def test_one_process(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """By default it serves by itself."""
    write("shop.py", APP)

    assert 0 == run(parse(), serve_shortly)
    assert " listening on http://here (pid " in capsys.readouterr().err


def test_worker(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It knows by its environment that it is one; what the app starts is none."""
    write("shop.py", APP)
    told, ready = os.pipe()
    monkeypatch.setenv("TRIOWS_WORKER", str(ready))

    assert 0 == run(parse("--workers", "2"), serve_shortly)
    assert "TRIOWS_WORKER" not in os.environ
    assert "" == capsys.readouterr().err
    assert b"\n" == os.read(told, 10)
    os.close(told)


def test_address_that_cannot_be_listened_on() -> None:
    """With workers it is known before any of them is started."""
    with pytest.raises(CommandError) as refusal:
        run(parse("--bind", "fd://999999", "--workers", "2"))

    assert 3 == refusal.value.status


def test_workers(write: Write, capfd: pytest.CaptureFixture[str]) -> None:
    """Each is a process; what is wrong with the target is said once, by one of them."""
    write("shop.py", "import nowhere\n")

    assert 1 == run(parse("--workers", "2"))
    assert 1 == capfd.readouterr().err.count("No module named 'nowhere'")


@pytest.mark.parametrize(("options", "grace"), [([], "1"), (["--drain-grace", "0.5"], "0.5")])
def test_reload(options: list[str], grace: str, write: Write, tmp_path: Path) -> None:
    """There is one process, whose drain is short."""
    write("shop.py", STOPS_SUPERVISOR)

    assert 0 == run(parse("--reload", *options))
    argv = json.loads((tmp_path / "argv.json").read_text())
    assert f"--drain-grace={float(grace)}" == argv[-1]


def worker(code: str) -> list[str]:
    """Return the command of a worker that runs some code, serves, and waits for signals."""
    serve = "os.write(int(os.environ['TRIOWS_WORKER']), b'.'); signal.pause()"
    return [sys.executable, "-S", "-c", f"import os, signal, sys; {code}; {serve}"]


async def work_until_asked(work: Work, code: str = "", patience: float = 5) -> tuple[int, bool]:
    """Run workers on a socket; return the exit status, and whether the socket is closed."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        status = await run_workers(work, worker(code), Sockets([], [sock], []), patience, 1)
        return status, sock.fileno() == -1


async def one(run_worker: RunWorker, on_serving: Callable[[], object]) -> int:
    """Have one worker, and ask for the end once it serves."""

    def on_ready() -> None:
        on_serving()
        ask()

    return await run_worker(on_ready)


async def test_request_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listens any more, the workers drain, and all is well."""
    code = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))"

    assert (0, True) == await work_until_asked(one, code)
    assert " listening on http://127.0.0.1:" in capsys.readouterr().err


async def test_worker_that_does_not_end() -> None:
    """It was killed, and the exit status says that something was."""
    code = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"

    assert (5, True) == await work_until_asked(one, code, patience=0.1)


async def test_workers_that_are_given_up() -> None:
    """The exit status is what was decided."""

    async def give_up(run_worker: RunWorker, on_serving: Callable[[], object]) -> int:
        return await run_worker(bool)

    assert (7, False) == await work_until_asked(give_up, "sys.exit(7)")


async def test_drain_that_is_cut_short(autojump_clock: MockClock) -> None:
    """The exit status says by which signal."""

    async def drain_for_long(run_worker: RunWorker, on_serving: Callable[[], object]) -> int:
        ask()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
                ask(signal.SIGINT)
                await trio.sleep(1)

    assert (128 + signal.SIGINT, True) == await work_until_asked(drain_for_long)
