"""Workers are kept up, until that is hopeless. They are tasks here, and not processes."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from triows.cli._workers import DELAYS, STEADY, supervise

FOREVER = 1000.0


class Workers:
    """Workers that serve for some seconds each, in the order of their starts, then for ever.

    Args:
        lives: Seconds until the end, and the exit status; it never serves if they are not
            positive.

    Attributes:
        starts: When each was started.
        drained: How many were asked to end.
        served_at: When all were said to serve.
    """

    def __init__(self, *lives: tuple[float, int]) -> None:
        self.starts: list[float] = []
        self.drained = 0
        self.served_at: list[float] = []
        self._lives = list(lives)
        self._began = trio.current_time()

    def now(self) -> float:
        """Return the seconds since the beginning."""
        return trio.current_time() - self._began

    async def run(self, on_ready: Callable[[], object]) -> int:
        """Live as a worker, which takes a second to come up."""
        self.starts.append(self.now())
        seconds, status = self._lives.pop(0) if self._lives else (FOREVER, 0)
        try:
            await trio.sleep(1)
            if seconds > 0:
                on_ready()
            await trio.sleep(abs(seconds))
        except trio.Cancelled:
            self.drained += 1
            raise
        return status

    def note_serving(self) -> None:
        """Be told that all serve."""
        self.served_at.append(self.now())


async def supervise_for(seconds: float, count: int, workers: Workers) -> int | None:
    """Keep workers up for so long; return the exit status if they were given up before."""
    with trio.move_on_after(seconds):
        return await supervise(count, workers.run, workers.note_serving)
    return None


async def test_first_worker_comes_up_alone(autojump_clock: MockClock) -> None:
    """The others follow together, and when all of them serve that is said, once."""
    workers = Workers()

    status = await supervise_for(10, 3, workers)

    assert status is None
    assert [0, 1, 1] == workers.starts
    assert [2] == workers.served_at
    assert 3 == workers.drained


async def test_single_worker(autojump_clock: MockClock) -> None:
    """There are no others to wait for."""
    workers = Workers()

    await supervise_for(10, 1, workers)

    assert ([0], [1]) == (workers.starts, workers.served_at)


@pytest.mark.parametrize("status", [1, 2, 4, 5])
async def test_target_that_fails(
    status: int, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first worker has said why; that is said once, and its status is the supervisor's."""
    workers = Workers((0, status))

    assert status == await supervise_for(10, 3, workers)
    assert [0] == workers.starts
    assert [] == workers.served_at
    assert "" == capsys.readouterr().err


async def test_worker_that_never_serves(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that dies as it starts, and cannot say why, is reported; the others drain."""
    workers = Workers((FOREVER, 0), (0, -9), (FOREVER, 0))

    assert 5 == await supervise_for(10, 3, workers)
    assert 2 == workers.drained
    assert "triows: a worker was killed by SIGKILL before it served\n" == capsys.readouterr().err


async def test_crash(autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    """Another worker comes after a second, and the other one goes on."""
    workers = Workers((FOREVER, 0), (5, -9))

    assert await supervise_for(20, 2, workers) is None
    assert [0, 1, 8] == workers.starts
    assert [2] == workers.served_at
    assert "triows: a worker was killed by SIGKILL; another one starts in 1 s\n" == (
        capsys.readouterr().err
    )


async def test_crash_after_crash(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each time it takes longer, and the fifth quick death in a row was the last."""
    workers = Workers(*[(5, 4)] * (len(DELAYS) + 1))

    assert 5 == await supervise_for(FOREVER, 1, workers)
    gaps = [
        after - before for before, after in zip(workers.starts, workers.starts[1:], strict=False)
    ]
    assert [6 + delay for delay in DELAYS] == gaps
    assert "a worker exited with 4, and so did 4 before it: giving up\n" in capsys.readouterr().err


async def test_steady_worker(autojump_clock: MockClock) -> None:
    """A worker that has run for long makes up for those before it."""
    quick, steady = (5, 4), (STEADY, 4)
    workers = Workers(quick, quick, steady, quick, quick, quick)

    assert await supervise_for(FOREVER / 2, 1, workers) is None
    assert 7 == len(workers.starts)


async def test_worker_that_does_not_come_up_again(autojump_clock: MockClock) -> None:
    """It is a quick death like any other: what is broken may be mended meanwhile."""
    workers = Workers((5, 4), (0, 1), (0, 1))

    assert await supervise_for(100, 1, workers) is None
    assert [0, 7, 10, 15] == workers.starts


async def test_worker_that_ends_before_it_serves(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is a death, also with the exit status 0: the next one would do the same."""
    workers = Workers((5, 0), *[(0, 0)] * 10)

    assert 5 == await supervise_for(100, 1, workers)
    assert [0, 6, 8, 11, 16, 25] == workers.starts
    first, second, *_, last = capsys.readouterr().err.splitlines()
    assert "triows: a worker has ended, unasked by its supervisor; another one starts" == first
    assert "triows: a worker exited with 0 before it served; another one starts in 1 s" == second
    assert last.endswith("exited with 0 before it served, and so did 4 before it: giving up")


async def test_worker_that_takes_long_not_to_serve(autojump_clock: MockClock) -> None:
    """However long it took, it has not made up for those before it."""
    workers = Workers((5, 4), *[(-STEADY, 4)] * 10)

    assert 5 == await supervise_for(FOREVER, 1, workers)
    assert 5 == len(workers.starts)


async def test_worker_that_has_ended(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that has drained, since somebody else asked it to, is replaced at once; no death."""
    workers = Workers(*[(5, 0)] * 10)

    assert await supervise_for(100, 1, workers) is None
    assert [0, 6, 12] == workers.starts[:3]
    assert 11 == len(workers.starts)
    assert "triows: a worker has ended, unasked by its supervisor; another one starts\n" in (
        capsys.readouterr().err
    )
