"""Signals are requests: drain, and then cut that short."""

import os
import signal
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from triows.cli._signals import ECHO, Requests, cancel_after, receive_requests


async def signals_at(*times: float) -> AsyncIterator[int]:
    """Yield SIGTERM at the first of these times, and SIGINT at each of the others."""
    for number, time in zip([signal.SIGTERM, *[signal.SIGINT] * len(times)], times, strict=False):
        await trio.sleep_until(time)
        yield number


def states_of(requests: Requests) -> tuple[bool, bool, int]:
    """Return what is asked for now."""
    return requests.drain.is_set(), requests.cut_short.is_set(), requests.status


async def test_two_signals(autojump_clock: MockClock) -> None:
    """The first one asks for a drain; the second, which names the exit status, for its end."""
    requests = Requests()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(requests.listen, signals_at(1, 3))

        assert (False, False, 0) == states_of(requests)
        await trio.sleep(2)
        assert (True, False, 0) == states_of(requests)

    assert (True, True, 128 + signal.SIGINT) == states_of(requests)


async def test_echo(autojump_clock: MockClock) -> None:
    """A signal that reaches the process twice at once is one request."""
    requests = Requests()

    await requests.listen(signals_at(1, 1, 1 + ECHO))

    assert (True, False, 0) == states_of(requests)


async def test_third_signal(autojump_clock: MockClock) -> None:
    """It changes nothing: the process ends already, for the reason of the second."""
    requests = Requests()

    async def signals() -> AsyncIterator[int]:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            yield number
            await trio.sleep(1)

    await requests.listen(signals())

    assert (True, True, 128 + signal.SIGTERM) == states_of(requests)


async def test_drain_for_another_reason(autojump_clock: MockClock) -> None:
    """A signal that follows it is the first one still."""
    requests = Requests()
    requests.drain.set()

    await requests.listen(signals_at(1))

    assert (True, False, 0) == states_of(requests)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_of_the_system(number: signal.Signals) -> None:
    """They are requests within the block, and what they were before after it."""
    before = signal.getsignal(number)
    async with receive_requests() as requests:
        os.kill(os.getpid(), number)
        with trio.fail_after(5):
            await requests.drain.wait()

    assert before is signal.getsignal(number)


async def test_cancel_after() -> None:
    """A scope ends with an event."""
    event = trio.Event()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_after, event, scope)
            event.set()
            await trio.sleep_forever()

    assert scope.cancelled_caught
