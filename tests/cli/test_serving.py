"""One process that serves: its app is real, and its server a fake that does what it is told."""

import gc
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import trio
from hypercorn import Config
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.cli.conftest import Write
from triows.cli._serving import serve_alone, serve_as_worker, serve_until_asked
from triows.cli._settings import Settings
from triows.cli._sockets import addresses_of
from triows.cli._statuses import CommandError
from triows.cli._targets import TargetNotFound
from triows.server import AppFailed, Drain

pytestmark = pytest.mark.timeout(20)


class Server:
    """Stands in for `triows.server.serve`: serves nobody, drains at once.

    Args:
        fails: What it raises instead.
        then: Called once it serves.

    Attributes:
        given: What it was called with.
        drained: It was asked to, and has.
    """

    def __init__(
        self, *, fails: Exception | None = None, then: Callable[[], object] = bool
    ) -> None:
        self.given: dict[str, Any] = {}
        self.drained = False
        self._fails = fails
        self._then = then

    async def serve(self, *app: Any, **options: Any) -> None:
        """Serve until the trigger returns."""
        self.given = dict(zip(("app", "config"), app, strict=False)) | options
        if self._fails is not None:
            raise self._fails
        sockets = options.get("sockets")
        options["task_status"].started([] if sockets is None else addresses_of(sockets))
        self._then()
        await options["shutdown_trigger"]()
        self.drained = True


def interrupt() -> None:
    """Send the signal of Ctrl-C to this process."""
    os.kill(os.getpid(), signal.SIGINT)


def settings() -> Settings:
    """Return the settings for the app of the test."""
    return Settings(
        target="shop:app",
        config=Config.from_mapping(bind=["127.0.0.1:0"]),
        drain=Drain(grace=3),
        compression="deflate",
        workers=1,
        reload=False,
        log_level=None,
        access_log=None,
    )


@pytest.fixture
def shop(write: Write) -> None:
    """Write an app."""
    write("shop.py", "async def app(scope, receive, send): ...\n")


def test_alone(shop: None, capsys: pytest.CaptureFixture[str]) -> None:
    """The server gets the app and the settings; what it listens on is said when it does."""
    server = Server(then=interrupt)

    assert 0 == serve_alone(settings(), server.serve)
    assert server.drained
    assert "app" == server.given["app"].__name__
    assert ("deflate", Drain(grace=3)) == (server.given["compression"], server.given["drain"])
    (line,) = capsys.readouterr().err.splitlines()
    assert " listening on http://127.0.0.1:" in line
    assert line.endswith(f" (pid {os.getpid()})")


def test_what_was_imported_is_left_alone(shop: None) -> None:
    """While it serves the garbage collector looks only at what has come since."""
    frozen: list[int] = []

    def look() -> None:
        frozen.append(gc.get_freeze_count())
        interrupt()

    serve_alone(settings(), Server(then=look).serve)

    assert frozen[0] > 10_000
    assert gc.get_freeze_count() < 10_000


def test_target_that_does_not_exist(write: Write) -> None:
    """Nothing is served, and nothing listened on."""
    server = Server()

    with pytest.raises(TargetNotFound):
        serve_alone(settings(), server.serve)
    assert {} == server.given


def test_address_that_cannot_be_listened_on(shop: None) -> None:
    """The server is not even started."""
    impossible = settings()
    impossible.config.bind = ["fd://999999"]

    with pytest.raises(CommandError) as refusal:
        serve_alone(impossible, Server().serve)
    assert 3 == refusal.value.status


def test_worker(shop: None, capsys: pytest.CaptureFixture[str]) -> None:
    """It tells its supervisor that it serves, prints nothing, and drains when that has ended."""
    lifeline, hold = os.pipe()
    told, ready = os.pipe()
    server = Server(then=lambda: os.close(hold))

    assert 0 == serve_as_worker(settings(), server.serve, ready, lifeline)
    assert server.drained
    with os.fdopen(told, "rb") as stream:
        assert b"\n" == stream.read()  # which ends, so the other end is closed
    assert "" == capsys.readouterr().err
    os.close(lifeline)


async def test_lifeline_that_says_something() -> None:
    """Only its end matters."""
    lifeline, hold = os.pipe()
    os.write(hold, b"hello")
    server = Server()

    async with trio.open_nursery() as nursery:
        ended = trio.Event()

        async def serve() -> None:
            assert 0 == await serve_until_asked(server.serve, bool, lifeline=lifeline)
            ended.set()

        nursery.start_soon(serve)
        await wait_all_tasks_blocked()
        assert not ended.is_set()
        os.close(hold)
    assert server.drained
    os.close(lifeline)


async def test_drain_that_is_cut_short(autojump_clock: MockClock) -> None:
    """The server is cancelled, and the exit status says by which signal."""

    async def serve(**options: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await options["shutdown_trigger"]()
        await trio.sleep(1)
        interrupt()
        await trio.sleep_forever()

    assert 128 + signal.SIGINT == await serve_until_asked(serve, bool)


def failed(message: str, cause: BaseException | None = None) -> AppFailed:
    """Return the failure of an app, as the server raises it."""
    failure = AppFailed(message)
    failure.__cause__ = cause
    return failure


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (failed("the app did not start within 60 s"), "the app did not start within 60 s"),
        (failed("the app failed: no\nat all"), "the app failed: no"),
        (failed("...", LookupError("no\nhats")), "the app failed: LookupError: no"),
        (failed("...", KeyError()), "the app failed: KeyError"),
        (
            failed("...", ExceptionGroup("two", [OSError("a"), OSError("b")])),
            "the app failed: OSError: a",
        ),
    ],
)
async def test_app_that_fails(
    failure: AppFailed, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what it was: the traceback is in the log already."""
    assert 4 == await serve_until_asked(Server(fails=failure).serve, bool)
    assert f"triows: {said}\n" == capsys.readouterr().err


async def test_server_that_fails() -> None:
    """That is a fault of ours, and comes with its traceback."""
    with pytest.RaisesGroup(pytest.RaisesExc(ZeroDivisionError), flatten_subgroups=True):
        await serve_until_asked(Server(fails=ZeroDivisionError()).serve, bool)
