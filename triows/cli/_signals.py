"""SIGTERM and SIGINT, as requests: the first one asks for a drain, the second cuts it short."""

import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import trio

from triows.cli._statuses import SIGNALLED

STOPPING = (signal.SIGTERM, signal.SIGINT)

ECHO = 0.25
"""Seconds after the first signal in which another one is the same request.

`timeout` and other programs that pass signals on reach a process twice: by its own number, and
with its group. Whoever presses Ctrl-C a second time takes longer.
"""


class Requests:
    """What the process has been asked for.

    Attributes:
        drain: Set by the first signal, or by whoever else has a reason to drain.
        cut_short: Set by the second signal; another reason to drain is no signal.
        status: What the process should exit with if the drain was cut short; else 0.
    """

    def __init__(self) -> None:
        self.drain = trio.Event()
        self.cut_short = trio.Event()
        self.status = 0

    async def listen(self, signals: AsyncIterator[int]) -> None:
        """Take signals for requests; a third one says nothing new."""
        await anext(signals)
        self.drain.set()
        asked_at = trio.current_time()
        async for number in signals:
            if trio.current_time() - asked_at > ECHO and not self.cut_short.is_set():
                self.status = SIGNALLED + number
                self.cut_short.set()


@asynccontextmanager
async def receive_requests() -> AsyncGenerator[Requests]:
    """Take signals for requests within a block; around it they do what they always do."""
    requests = Requests()
    with trio.open_signal_receiver(*STOPPING) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(requests.listen, signals)
            yield requests
            nursery.cancel_scope.cancel()


async def cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    """Cancel a scope once an event has happened."""
    await event.wait()
    scope.cancel()
