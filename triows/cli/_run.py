"""`triows run`: our server for the shell.

One process opens the sockets. Alone, it serves; with workers or `--reload` it starts processes
that do, with the same options, never imports the app itself, and so outlives whatever it does.
"""

import argparse
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import TypeAlias

import trio
from hypercorn.config import Sockets

from triows.cli._logs import say_listening
from triows.cli._options import add_options, command_of_worker
from triows.cli._processes import WORKER, Processes, patience_of
from triows.cli._reload import GRACE, PATIENCE, check_watchfiles, folders_of, reload, watch
from triows.cli._serving import Serve, serve_alone, serve_as_worker
from triows.cli._settings import settings_of
from triows.cli._signals import receive_requests
from triows.cli._sockets import addresses_of, all_of, close, open_sockets
from triows.cli._statuses import NOT_KEPT_UP
from triows.cli._targets import add_target
from triows.cli._workers import RunWorker, supervise
from triows.server import serve

EPILOG = """\
SIGTERM and SIGINT (Ctrl-C) drain: connections are closed with 1001, handlers have --drain-grace
seconds, and the lifespan ends. A second signal cuts that short.

exit status:
  0    drained
  1    the module of the app raised while it was imported
  2    there is no such target or file, or an option is wrong
  3    an address is in use, or cannot be listened on
  4    the lifespan or a task of the app failed
  5    a worker could not be kept up, or did not end when it was asked to
  128+ and the number of the second signal, which cut a drain short
"""

Work: TypeAlias = Callable[[RunWorker, Callable[[], object]], Awaitable[int]]
"""Has workers run, calls the function once they serve, and returns an exit status."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of the program."""
    summary = "serve an app"
    parser = commands.add_parser(
        "run",
        help=summary,
        description=f"{summary.capitalize()}: any ASGI app, on triows' own server.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_target(parser)
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, serve: Serve = serve) -> int:
    """Serve the target until a signal ends it, and return the exit status.

    Raises:
        TargetNotFound: There is no such app.
        TargetFailed: Its module raised.
        CommandError: An option is wrong, or it cannot listen.
    """
    # Not for the app's own processes: one of them may be a `triows run`.
    ready = os.environ.pop(WORKER, None)
    settings = settings_of(arguments)
    if ready is not None:
        return serve_as_worker(settings, serve, int(ready))
    if not arguments.reload and settings.workers == 1:
        return serve_alone(settings, serve)
    work: Work = partial(supervise, settings.workers)
    patience = patience_of(settings)
    if arguments.reload:
        check_watchfiles()
        arguments.drain_grace = min(settings.drain.grace, GRACE)
        work = partial(_watch_and_reload, settings.target)
        patience = min(patience, PATIENCE)
    with open_sockets(settings.config) as sockets:
        command = command_of_worker(arguments, sockets)
        return trio.run(run_workers, work, command, sockets, patience, settings.workers)


async def run_workers(
    work: Work, command: Sequence[str], sockets: Sockets, patience: float, count: int
) -> int:
    """Run processes until a signal asks them to drain, and return the exit status.

    Args:
        work: Decides which processes there are, and when.
        command: What each of them runs.
        sockets: What they listen on.
        patience: Seconds that they have to end.
        count: Workers that there will be.
    """
    status = 0
    async with receive_requests() as requests:
        files = [sock.fileno() for sock in all_of(sockets)]
        processes = Processes(
            command, files, patience=patience, hurry=requests.cut_short, count=count
        )
        say_all = partial(say_listening, addresses_of(sockets))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop, requests.drain, sockets, nursery.cancel_scope)
            status = await work(processes.run, say_all)
            nursery.cancel_scope.cancel()
    if not processes.are_clean:
        status = status or NOT_KEPT_UP
    return requests.status or status


async def _stop(asked: trio.Event, sockets: Sockets, scope: trio.CancelScope) -> None:
    await asked.wait()
    # As long as one process holds them, clients can connect, and nobody would answer.
    close(sockets)
    scope.cancel()


async def _watch_and_reload(
    target: str, run_worker: RunWorker, on_serving: Callable[[], object]
) -> int:
    async with aclosing(watch(folders_of(target))) as changes:
        return await reload(changes, run_worker, on_serving)
