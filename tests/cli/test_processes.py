"""The processes of workers: small ones here, which do what the test needs."""

import argparse
import errno
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import TypeAlias

import pytest
import trio

from triows.cli._options import add_options
from triows.cli._processes import CROWD, OVERTIME, WORKER, Processes, ending_of, patience_of
from triows.cli._settings import settings_of
from triows.server import Drain

TELL = f"import os, signal, sys, time; tell = int(os.environ['{WORKER}'])\n"

SERVE = f"{TELL}os.write(tell, b'.'); os.close(tell)\n"

Pipe: TypeAlias = tuple[trio.lowlevel.FdStream, int]

NO_HURRY = trio.Event()

pytestmark = pytest.mark.timeout(20)


def processes_of(
    code: str, *sockets: int, patience: float = OVERTIME, hurry: trio.Event = NO_HURRY
) -> Processes:
    """Return what starts processes that run some code."""
    command = [sys.executable, "-S", "-c", code]
    return Processes(command, sockets, patience=patience, hurry=hurry)


def drain_by(end: str) -> str:
    """Return code that serves until SIGTERM, and then runs a statement."""
    handler = f"def end(*_):\n    {end}\nsignal.signal(signal.SIGTERM, end)\n"
    return f"{TELL}{handler}os.write(tell, b'.')\nwhile True: signal.pause()\n"


async def drain(processes: Processes) -> None:
    """Run a worker until it serves, ask it to end, and wait until it has."""
    ready = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(processes.run, ready.set)
        await ready.wait()
        nursery.cancel_scope.cancel()


def descriptors() -> set[str]:
    """Return the file descriptors that are open; the one for looking is closed again."""
    return {path.name for path in Path("/proc/self/fd").iterdir() if path.exists()}


async def set_when_told(event: trio.Event, stream: trio.lowlevel.FdStream) -> None:
    """Set an event once there is something to read."""
    await stream.receive_some(1)
    event.set()


@pytest.fixture
async def pipe() -> AsyncGenerator[Pipe]:
    """Return what the test reads, and the file descriptor on which a worker writes."""
    read, write = os.pipe()
    async with trio.lowlevel.FdStream(read) as stream:
        yield stream, write
    os.close(write)


@pytest.mark.parametrize("status", [0, 7])
async def test_worker_that_ends(status: int) -> None:
    """It has served, and its exit status is returned."""
    served: list[int] = []
    processes = processes_of(f"{SERVE}sys.exit({status})")

    assert status == await processes.run(partial(served.append, 1))
    assert ([1], True) == (served, processes.are_clean)


async def test_worker_that_never_serves() -> None:
    """Its exit status is returned, and nothing is said of serving."""
    served: list[int] = []

    assert 3 == await processes_of(f"{TELL}sys.exit(3)").run(partial(served.append, 1))
    assert [] == served


async def test_worker_that_is_killed() -> None:
    """The signal is the exit status, negative."""
    killed = processes_of(f"{SERVE}os.kill(os.getpid(), signal.SIGKILL)")

    assert -signal.SIGKILL == await killed.run(bool)


async def test_worker_that_cannot_be_started(capsys: pytest.CaptureFixture[str]) -> None:
    """That is said, and is a status like others: it may be better a little later."""
    processes = Processes(["/no/such/python"], [], patience=1, hurry=trio.Event())

    assert 5 == await processes.run(bool)
    assert "triows: cannot start a worker: no such file or directory\n" == capsys.readouterr().err


@pytest.mark.parametrize("pipes", [0, 1])
async def test_worker_without_files(
    pipes: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there are too many open files it is the same, and those it had are closed."""
    before = descriptors()
    make_pipe = os.pipe
    made: list[tuple[int, int]] = []

    def pipe() -> tuple[int, int]:
        if len(made) == pipes:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        made.append(make_pipe())
        return made[-1]

    monkeypatch.setattr(os, "pipe", pipe)

    assert 5 == await processes_of(SERVE).run(bool)
    assert before == descriptors()
    assert "triows: cannot start a worker: too many open files\n" == capsys.readouterr().err


async def test_no_descriptors_are_left() -> None:
    """However a worker ends, its pipes are closed."""
    before = descriptors()

    await processes_of(SERVE).run(bool)
    await drain(processes_of(drain_by("sys.exit(0)")))
    await Processes(["/no/such/python"], [], patience=1, hurry=trio.Event()).run(bool)

    assert before == descriptors()


async def test_descriptors_of_a_worker(pipe: Pipe) -> None:
    """It inherits the sockets, by the same numbers."""
    stream, write = pipe

    assert 0 == await processes_of(f"{SERVE}os.write({write}, b'here')", write).run(bool)
    assert b"here" == await stream.receive_some()


async def test_worker_is_in_a_session_of_its_own() -> None:
    """A terminal's Ctrl-C does not reach it."""
    assert 0 == await processes_of(f"{SERVE}sys.exit(os.getpid() != os.getsid(0))").run(bool)


async def test_drain() -> None:
    """Cancelling asks a worker to end, and waits until it has, in its own time."""
    processes = processes_of(drain_by("time.sleep(0.1); sys.exit(0)"))

    await drain(processes)

    assert processes.are_clean


async def test_worker_that_fails_as_it_drains() -> None:
    """It was no clean end."""
    processes = processes_of(drain_by("sys.exit(4)"))

    await drain(processes)

    assert not processes.are_clean


async def test_worker_that_does_not_drain(capsys: pytest.CaptureFixture[str]) -> None:
    """It is killed after a while, which is said, and that was no clean end."""
    processes = processes_of(drain_by("pass"), patience=0.1)

    await drain(processes)

    assert not processes.are_clean
    said = r"triows: worker \d+ did not end within 0\.1 s and was killed\n"
    assert re.fullmatch(said, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("second", "is_clean"), [("sys.exit(0)", True), ("None", False)], ids=["obeys", "does-not"]
)
async def test_drain_that_is_cut_short(
    second: str, is_clean: bool, pipe: Pipe, capsys: pytest.CaptureFixture[str]
) -> None:
    """The worker gets a second signal; if it does not care it is killed soon."""
    stream, write = pipe
    hurry = trio.Event()
    again = f"signal.signal(signal.SIGTERM, lambda *_: {second})"
    code = drain_by(f"{again}; os.write({write}, b'.')")
    processes = processes_of(code, write, hurry=hurry)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(set_when_told, hurry, stream)
        await drain(processes)

    assert is_clean == processes.are_clean
    assert is_clean == ("did not end within 1 s and was killed" not in capsys.readouterr().err)


def patience(tmp_path: Path, *options: str, file: str = "") -> float:
    """Return how long the workers of a command line may take to end."""
    (tmp_path / "hypercorn.toml").write_text(file)
    parser = argparse.ArgumentParser()
    add_options(parser)
    arguments = parser.parse_args([f"--config={tmp_path / 'hypercorn.toml'}", *options])
    return patience_of(settings_of(argparse.Namespace(**vars(arguments), target="shop:app")))


def test_patience(tmp_path: Path) -> None:
    """A worker has what its drain takes: batches, the grace, the lifespan's end, and a little."""
    batches = CROWD / Drain().batch * Drain().interval
    base = batches + OVERTIME

    assert base + 10 + 60 == pytest.approx(patience(tmp_path))
    assert base + 0.5 + 60 == pytest.approx(patience(tmp_path, "--drain-grace=0.5"))
    assert base + 10 + 7 == pytest.approx(patience(tmp_path, file="shutdown_timeout = 7"))


async def test_worker_that_does_not_serve_yet(pipe: Pipe) -> None:
    """It has nobody to let go, and is ended by the signal itself: that is clean."""
    stream, write = pipe
    processes = processes_of(f"{TELL}os.write({write}, b'.'); signal.pause()", write)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(processes.run, bool)
        await stream.receive_some(1)
        nursery.cancel_scope.cancel()

    assert processes.are_clean


async def test_supervisor_that_is_killed(pipe: Pipe) -> None:
    """A worker's stdin ends with its supervisor, even one that is killed."""
    stream, write = pipe
    worker = f"{SERVE}sys.stdin.read(); os.write({write}, b'alone')"
    supervisor = dedent(
        f"""
        import os, signal, trio
        from triows.cli._processes import Processes

        processes = Processes(
            {[sys.executable, "-S", "-c", worker]!r}, [{write}], patience=1, hurry=trio.Event()
        )
        trio.run(processes.run, lambda: os.kill(os.getpid(), signal.SIGKILL))
        """
    )
    command = [sys.executable, "-c", supervisor]
    done = await trio.run_process(command, pass_fds=[write], check=False)

    assert -signal.SIGKILL == done.returncode
    assert b"alone" == await stream.receive_some()


def test_endings_in_words() -> None:
    """An exit status is a number, and a signal has a name."""
    assert "exited with 3" == ending_of(3)
    assert "was killed by SIGSEGV" == ending_of(-signal.SIGSEGV)
