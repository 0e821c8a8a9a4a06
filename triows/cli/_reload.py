"""`--reload`: one worker, which is started again whenever a file changes.

An app that fails is what a developer has all the time: its traceback is in the terminal
already, and the next change is waited for.
"""

import os
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import trio

from triows.cli._logs import say
from triows.cli._processes import ending_of
from triows.cli._statuses import CommandError
from triows.cli._workers import RunWorker

GRACE = 1.0
"""Seconds that connections have at most: who saves a file does not want to wait for them."""

PATIENCE = 15.0
"""Seconds that an app has to end; then it is killed, whatever its lifespan still does."""

LOOK = 100
"""Milliseconds between two looks of watchfiles at whether it was cancelled; its own are 5 s."""


Changes: TypeAlias = AsyncGenerator[set[tuple[Any, str]]]
"""What changed, again and again: kinds of changes, and paths."""


async def reload(
    changes: Changes, run_worker: RunWorker, on_serving: Callable[[], object]
) -> NoReturn:
    """Run a worker, and another one after each change, until it is cancelled.

    Whenever a worker serves, `on_serving` is called.
    """
    while True:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_run_once, run_worker, on_serving)
            paths = {path for _, path in await anext(changes)}
            nursery.cancel_scope.cancel()
        say(f"{_describe(sorted(paths))} changed: starting again")


async def _run_once(run_worker: RunWorker, on_serving: Callable[[], object]) -> None:
    status = await run_worker(on_serving)
    say(f"the worker {ending_of(status)}; waiting for a change")


def check_watchfiles() -> None:
    """Refuse to begin where the extra is not installed.

    Raises:
        CommandError: It is not.
    """
    try:
        import watchfiles  # noqa: F401, PLC0415  # an extra
    except ImportError as exc:
        raise CommandError("--reload needs watchfiles: pip install 'triows[reload]'") from exc


def watch(folders: Iterable[Path]) -> Changes:
    """Return the changes of Python files below folders; whoever takes them closes them."""
    from watchfiles import PythonFilter, awatch  # noqa: PLC0415  # an extra

    return awatch(*folders, watch_filter=PythonFilter(), rust_timeout=LOOK)


def folders_of(target: str) -> list[Path]:
    """Return the folders to watch: the current directory, and a file's if it lies elsewhere."""
    here = Path.cwd()
    file = Path(target.rpartition(".py")[0]).resolve()
    folder = file.parent if ".py" in target else here
    return [here] if folder.is_relative_to(here) else [here, folder]


def _describe(paths: list[str]) -> str:
    name = os.path.relpath(paths[0])
    return name if len(paths) == 1 else f"{name} and {len(paths) - 1} more"
