"""A worker's process, as its supervisor sees it.

Each is in a session of its own: a terminal sends Ctrl-C to all of its foreground processes, and
a worker that was reached twice, once by the supervisor, would take it for the second request.
"""

import math
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from functools import partial

import trio

from triows._channels import PROCESSES
from triows._groups import leaves_of
from triows.cli._logs import say
from triows.cli._settings import Settings, reason_of
from triows.cli._statuses import NOT_KEPT_UP

WORKER = "TRIOWS_WORKER"
"""The environment variable of a worker: the file descriptor to tell its supervisor by."""

CROWD = 30_000
"""Connections that a worker has time to close: it says to nobody how many it has."""

OVERTIME = 15.0
"""Seconds beyond that, for pipes and error hooks: each has a `pipe_close_timeout` of its own."""

CUT_SHORT = 1.0
"""Seconds that a worker has when its drain was cut short; then it is killed."""


class Processes:
    """Starts the processes of workers, all alike, and ends them.

    Args:
        sockets: The file descriptors that a worker inherits.
        patience: Seconds between asking a worker to end, and killing it.
        hurry: Set to cut drains short.
        count: Workers that there are; they are told.

    Attributes:
        are_clean: Every worker that was asked to end did so, with 0.
    """

    def __init__(
        self,
        command: Sequence[str],
        sockets: Sequence[int],
        *,
        patience: float,
        hurry: trio.Event,
        count: int = 1,
    ) -> None:
        self.are_clean = True
        self._command = command
        self._sockets = sockets
        self._patience = patience
        self._hurry = hurry
        self._count = count

    async def run(self, on_ready: Callable[[], object]) -> int:
        """Run a worker until it ends by itself, and return its exit status as Python has it.

        Cancelling it asks the worker to drain, and waits for its end. When the worker serves,
        `on_ready` is called.
        """
        try:
            return await self._run(on_ready)
        except* OSError as group:
            say(f"cannot start a worker: {reason_of(leaves_of(group)[0])}")
        return NOT_KEPT_UP

    async def _run(self, on_ready: Callable[[], object]) -> int:
        async with AsyncExitStack() as stack:
            # The worker has its own; with ours open its end would not be seen.
            with ExitStack() as theirs:
                ready, tell = os.pipe()
                theirs.callback(os.close, tell)
                told = await stack.enter_async_context(trio.lowlevel.FdStream(ready))
                # Wherever the supervisor ends, by whatever means, so does a worker's lifeline.
                lifeline, hold = os.pipe()
                theirs.callback(os.close, lifeline)
                stack.callback(os.close, hold)
                nursery = await stack.enter_async_context(trio.open_nursery())
                process: trio.Process = await nursery.start(self._prepare(lifeline, tell))
            if await told.receive_some(1):
                on_ready()
        assert process.returncode is not None, "its nursery has waited for it"
        return process.returncode

    def _prepare(self, lifeline: int, tell: int) -> Callable[..., Awaitable[object]]:
        return partial(
            trio.run_process,
            self._command,
            stdin=lifeline,
            pass_fds=(*self._sockets, tell),
            env={**os.environ, WORKER: str(tell), PROCESSES: str(self._count)},
            start_new_session=True,
            check=False,
            deliver_cancel=self._end,
        )

    async def _end(self, process: trio.Process) -> None:
        """Ask a worker to end, and kill it if it does not; cancelled once it has ended."""
        seconds = self._patience
        try:
            process.terminate()
            with trio.move_on_after(seconds) as patience:
                await self._hurry.wait()
                process.terminate()
                seconds = CUT_SHORT
                patience.deadline = trio.current_time() + seconds
                await trio.sleep_forever()
            say(f"worker {process.pid} did not end within {seconds:g} s and was killed")
            process.kill()
        finally:
            # A worker that does not serve yet has the signal's default action.
            self.are_clean &= process.returncode in {0, -signal.SIGTERM}


def patience_of(settings: Settings) -> float:
    """Return how many seconds a worker's drain may take, from its request to its end."""
    drain = settings.drain
    batches = math.ceil(CROWD / drain.batch) * drain.interval
    return drain.notice + batches + drain.grace + settings.config.shutdown_timeout + OVERTIME


def ending_of(status: int) -> str:
    """Return how a process ended, as words behind its name."""
    if status >= 0:
        return f"exited with {status}"
    return f"was killed by {signal.Signals(-status).name}"
