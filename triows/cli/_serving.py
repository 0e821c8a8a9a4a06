"""One process that serves: alone, or as one of a supervisor's workers.

A worker is handed the listening sockets, tells its supervisor over a pipe that it serves, and
holds the end of another: where that ends, so has the supervisor, and the worker drains.
"""

import gc
import os
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

import trio
from hypercorn.config import Sockets

from triows._groups import parts_of
from triows._types import ASGIApp
from triows.cli._logs import say, say_listening, set_up_logs
from triows.cli._settings import Settings
from triows.cli._signals import Requests, cancel_after, receive_requests
from triows.cli._sockets import open_sockets
from triows.cli._statuses import APP_FAILED
from triows.cli._targets import load_asgi_app
from triows.server import AppFailed

LIFELINE = 0
"""The file descriptor of a worker's pipe from its supervisor: its stdin."""


Serve: TypeAlias = Callable[..., Awaitable[None]]
"""`triows.server.serve`, or what stands in for it."""


class Announcement:
    """A task status that calls a function with the addresses, once the server serves."""

    def __init__(self, announce: Callable[[Sequence[str]], object]) -> None:
        self._announce = announce

    def started(self, value: list[str] | None = None) -> None:
        """Be told that the server serves."""
        self._announce(value or [])


def serve_alone(settings: Settings, serve: Serve) -> int:
    """Serve in this process, and return its exit status.

    Raises:
        TargetNotFound: There is no such app.
        TargetFailed: Its module raised.
        CommandError: It cannot listen.
    """
    app = load_asgi_app(settings.target)
    set_up_logs(settings)
    with open_sockets(settings.config) as sockets:
        prepared = _prepare(serve, app, settings, sockets)
        with _settled():
            return trio.run(serve_until_asked, prepared, say_listening)


def serve_as_worker(settings: Settings, serve: Serve, ready: int, lifeline: int = LIFELINE) -> int:
    """Like `serve_alone`, but for a supervisor, and until that asks or has ended.

    It is told by the pipe `ready` when the worker serves; it holds the other end of `lifeline`.
    Both are file descriptors.
    """
    app = load_asgi_app(settings.target)
    set_up_logs(settings)
    with open_sockets(settings.config) as sockets:
        prepared = _prepare(serve, app, settings, sockets)
        tell = partial(_tell, ready)
        with _settled():
            return trio.run(partial(serve_until_asked, prepared, tell, lifeline=lifeline))


async def serve_until_asked(
    serve: Serve,
    announce: Callable[[Sequence[str]], object],
    *,
    lifeline: int | None = None,
) -> int:
    """Serve until a signal, or the end of a pipe, asks for a drain; return the exit status.

    Args:
        serve: Takes the arguments of `Serve` that tell it when to begin and when to end.
        announce: Called with the addresses once the server serves.
        lifeline: The file descriptor of the pipe.
    """
    status = 0
    async with receive_requests() as requests, trio.open_nursery() as nursery:
        nursery.start_soon(cancel_after, requests.cut_short, nursery.cancel_scope)
        if lifeline is not None:
            nursery.start_soon(_drain_at_end, lifeline, requests)
        try:
            await serve(shutdown_trigger=requests.drain.wait, task_status=Announcement(announce))
        except AppFailed as exc:
            say(_describe(exc))
            status = APP_FAILED
        nursery.cancel_scope.cancel()
    return requests.status or status


def _prepare(serve: Serve, app: ASGIApp, settings: Settings, sockets: Sockets) -> Serve:
    return partial(
        serve,
        app,
        settings.config,
        sockets=sockets,
        compression=settings.compression,
        drain=settings.drain,
    )


@contextmanager
def _settled() -> Generator[None]:
    """Spare the garbage collector what was imported: it stays, and connections come and go.

    Looking through it again and again was a tenth of what a handshake cost.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _tell(ready: int, _: Sequence[str]) -> None:
    os.write(ready, b"\n")
    os.close(ready)


async def _drain_at_end(lifeline: int, requests: Requests) -> None:
    # Another number for the same pipe, since the stream closes what it was given.
    async with trio.lowlevel.FdStream(os.dup(lifeline)) as stream:
        async for _ in stream:
            pass
    requests.drain.set()


def _describe(failure: AppFailed) -> str:
    """Return a failure as one line; its traceback is in the log, or in its message."""
    if failure.__cause__ is None:
        return str(failure).partition("\n")[0]
    first = parts_of(failure.__cause__)[0]
    text = str(first).partition("\n")[0]
    return f"the app failed: {type(first).__name__}{f': {text}' if text else ''}"
