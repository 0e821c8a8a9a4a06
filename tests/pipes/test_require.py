"""Conditions that a connection has to meet."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

from tests.support import tracebacks
from triows import (
    App,
    Close,
    HandshakeRejected,
    Pipe,
    Reject,
    RouteError,
    testing,
    websocket,
)
from triows._limits import Limits
from triows.pipes import RequirePipe


def guarded(*pipeline: Pipe, limits: Limits | None = None) -> App:
    """Return an app that greets at /, behind these pipes."""
    app = App(__name__)

    @app.websocket("/", pipeline=pipeline, limits=limits)
    async def greet() -> None:
        await websocket.send("welcome")

    return app


def never() -> bool:
    """Let nobody in."""
    return False


async def has_user() -> object:
    """Let those in who say who they are, after a look into a database."""
    await trio.sleep(1)
    return websocket.query_params.user


async def rejection_of(app: App, path: str = "/") -> HandshakeRejected:
    """Return how a handshake is rejected."""
    async with testing.client(app) as client:
        with pytest.raises(HandshakeRejected) as caught:
            async with client.websocket(path):
                pass
    return caught.value


@pytest.mark.parametrize("condition", [has_user, lambda: websocket.query_params.user])
async def test_condition_holds(
    condition: Callable[[], object], autojump_clock: trio.testing.MockClock
) -> None:
    """Anything true lets the connection through; the condition is sync or async."""
    app = guarded(RequirePipe(condition))
    async with testing.client(app) as client, client.websocket("/?user=joe") as peer:
        assert "welcome" == await peer.receive()


@pytest.mark.parametrize("condition", [has_user, lambda: websocket.query_params.user])
async def test_condition_does_not_hold(
    condition: Callable[[], object], autojump_clock: trio.testing.MockClock
) -> None:
    """Anything false is answered with 403, and the handler is not called."""
    assert 403 == (await rejection_of(guarded(RequirePipe(condition)))).status


async def test_otherwise_reject(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A Reject is answered with its status, headers and body, and is no failure."""
    otherwise = Reject(401, "who?", {"WWW-Authenticate": "Bearer"})

    rejection = await rejection_of(guarded(RequirePipe(never, otherwise)))

    assert (401, b"who?") == (rejection.status, rejection.body)
    assert ("www-authenticate", "Bearer") in rejection.headers
    assert [] == tracebacks(caplog)


async def test_otherwise_close(autojump_clock: trio.testing.MockClock) -> None:
    """A Close accepts first, so that a browser sees the code."""
    app = guarded(RequirePipe(never, Close(4401, "log in first")))
    async with testing.client(app) as client, client.websocket("/") as peer:
        closed = await peer.wait_closed()

    assert (4401, "log in first") == (closed.code, closed.reason)


async def ask_database() -> Close:
    """Return an ending, after a look into a database."""
    await trio.sleep(1)
    return Close(4402)


@pytest.mark.parametrize("otherwise", [ask_database, lambda: Close(4402)])
async def test_otherwise_function(
    otherwise: Callable[[], Close], autojump_clock: trio.testing.MockClock
) -> None:
    """A function, sync or async, is asked for the ending of each connection."""
    app = guarded(RequirePipe(never, otherwise))
    async with testing.client(app) as client, client.websocket("/") as peer:
        assert 4402 == (await peer.wait_closed()).code


async def test_otherwise_function_returns_something_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A function that returns no ending is a bug, and nobody is let through by it."""
    wrong: Any = lambda: 403  # noqa: E731
    app = guarded(RequirePipe(never, wrong))
    async with testing.client(app) as client:
        with pytest.raises(TypeError, match="raises a Reject or a Close, and was given 403"):
            async with client.websocket("/"):
                pass


class LogInFirst(Reject):
    """An ending that is made in a way of its own."""

    def __init__(self, *, realm: str) -> None:
        super().__init__(401, "log in", {"WWW-Authenticate": realm})
        self.realm = realm


@pytest.mark.parametrize(
    "otherwise", [Reject(401, "log in"), LogInFirst(realm="members"), Close(4401)]
)
async def test_every_connection_has_its_own(
    otherwise: Reject | Close, autojump_clock: trio.testing.MockClock
) -> None:
    """What is raised is equal to what was given, but nobody else has it or its headers."""
    seen: list[Any] = []

    class Spy(Pipe):
        async def open(self) -> None:
            try:
                await require.open()
            except (Reject, Close) as exc:
                seen.append(exc)
                if isinstance(exc, Reject):
                    exc.headers.append((b"x-seen", b"1"))
                raise

    require = RequirePipe(never, otherwise)
    app = guarded(Spy())
    async with testing.client(app) as client:
        for _ in range(2):
            with suppress(HandshakeRejected):
                async with client.websocket("/"):
                    pass

    first, second = seen
    assert first is not second
    assert first.args == second.args == otherwise.args
    assert vars(first) == vars(second)
    assert None is otherwise.__traceback__
    assert otherwise not in seen
    if isinstance(otherwise, Reject):
        assert (b"x-seen", b"1") not in otherwise.headers


async def test_condition_raises(autojump_clock: trio.testing.MockClock) -> None:
    """What the condition raises ends the connection as the handler would."""

    def condition() -> bool:
        raise Reject(402, "pay first")

    assert 402 == (await rejection_of(guarded(RequirePipe(condition)))).status


async def test_condition_takes_too_long(autojump_clock: trio.testing.MockClock) -> None:
    """A condition that waits is cancelled by accept_timeout; nobody is let through."""
    app = guarded(RequirePipe(trio.sleep_forever), limits=Limits(accept_timeout=3))

    assert 503 == (await rejection_of(app)).status
    assert 3 == trio.current_time()


async def test_pipes_outside_are_closed(autojump_clock: trio.testing.MockClock) -> None:
    """Pipes outside of it are closed, and those inside are never opened."""
    log: list[str] = []

    class Spy(Pipe):
        def __init__(self, name: str) -> None:
            self.name = name

        def open(self) -> None:
            log.append(f"{self.name} opens")

        def close(self) -> None:
            log.append(f"{self.name} closes")

    await rejection_of(guarded(Spy("outer"), RequirePipe(never), Spy("inner")))

    assert ["outer opens", "outer closes"] == log


@pytest.mark.parametrize("condition", [True, None, "is_admin"])
def test_condition_is_no_function(condition: Any) -> None:
    """A condition that was called too early is refused where it stands."""
    with pytest.raises(RouteError, match=r"^the condition of a RequirePipe is a function, not"):
        RequirePipe(condition)


@pytest.mark.parametrize("otherwise", [403, "no", ValueError("no")])
def test_otherwise_is_no_ending(otherwise: Any) -> None:
    """What could not be raised as an ending is refused where it stands."""
    with pytest.raises(RouteError, match=r"^what a RequirePipe raises is a Reject, a Close or a"):
        RequirePipe(never, otherwise)
