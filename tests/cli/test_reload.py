"""`--reload`: a change, and there is another worker. The workers are tasks here."""

import builtins
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock
from watchfiles import Change

from tests.cli.conftest import Write
from triows.cli._reload import check_watchfiles, folders_of, reload, watch
from triows.cli._statuses import CommandError


async def changes_at(times: list[float], *paths: Path) -> AsyncGenerator[set[tuple[Any, str]]]:
    """Yield a change of some files at each of these times."""
    for time in times:
        await trio.sleep_until(time)
        yield {(Change.modified, str(path)) for path in paths}
    await trio.sleep_forever()


class Workers:
    """Workers that end by themselves after some seconds, and take one to drain.

    Attributes:
        lives: When each was started, and when it had ended.
    """

    def __init__(self, seconds: float = 1000) -> None:
        self.lives: list[tuple[float, float]] = []
        self._seconds = seconds
        self._zero = trio.current_time()

    async def run(self, on_ready: Callable[[], object]) -> int:
        """Serve at once."""
        began = trio.current_time() - self._zero
        on_ready()
        try:
            await trio.sleep(self._seconds)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            raise
        finally:
            self.lives.append((began, trio.current_time() - self._zero))
        return 1


async def test_changes(
    write: Write, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each one ends the worker, and when that has drained another one starts."""
    now = trio.current_time()
    workers = Workers()
    served: list[float] = []
    shop = write("shop.py", "")

    with trio.move_on_after(20):
        changes = changes_at([now + 5, now + 10], shop)
        await reload(changes, workers.run, lambda: served.append(trio.current_time() - now))

    assert [(0, 6), (6, 11), (11, 21)] == workers.lives
    assert [0, 6, 11] == served
    assert "triows: shop.py changed: starting again\n" * 2 == capsys.readouterr().err


async def test_several_files(
    write: Write, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """One is named; a checkout may change thousands."""
    with trio.move_on_after(5):
        changes = changes_at([trio.current_time()], *map(Path.cwd().joinpath, "bca"))
        await reload(changes, Workers().run, bool)

    assert "triows: a and 2 more changed: starting again\n" == capsys.readouterr().err


async def test_worker_that_fails(
    write: Write, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has said why; the next change may have mended it."""
    workers = Workers(seconds=2)

    with trio.move_on_after(20):
        changes = changes_at([trio.current_time() + 5], Path.cwd() / "shop.py")
        await reload(changes, workers.run, bool)

    assert [(0, 2), (5, 7)] == workers.lives
    assert (
        "triows: the worker exited with 1; waiting for a change\n"
        "triows: shop.py changed: starting again\n"
        "triows: the worker exited with 1; waiting for a change\n"
    ) == capsys.readouterr().err


@pytest.mark.timeout(20)
async def test_watch(write: Write, tmp_path: Path) -> None:
    """Python files are seen, in folders too, and nothing else; to stop takes no time."""
    seen: list[str] = []
    async with trio.open_nursery() as nursery:

        async def look() -> None:
            async with aclosing(watch([tmp_path])) as changes:
                async for paths in changes:
                    seen.extend(path for _, path in paths)
                    nursery.cancel_scope.cancel()

        nursery.start_soon(look)
        for number in count():
            # There is no telling when it has begun to watch.
            write("parts/notes.txt", str(number))
            write("parts/shop.py", str(number))
            await trio.sleep(0.05)

    assert {str(tmp_path / "parts" / "shop.py")} == set(seen)


def test_folders(write: Write, tmp_path: Path) -> None:
    """The current directory is watched, and the folder of a file that lies elsewhere."""
    assert [tmp_path] == folders_of("shop.live:app")
    assert [tmp_path] == folders_of("parts/shop.py:app")
    assert [tmp_path, Path("/srv/shop")] == folders_of("/srv/shop/app.py")
    assert [tmp_path, tmp_path.parent] == folders_of("../app.py:other")


def test_watchfiles_is_there() -> None:
    """Where the extra is installed there is nothing to say."""
    check_watchfiles()


def test_watchfiles_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra, and which one is said."""
    really_import = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "watchfiles":
            raise ModuleNotFoundError(name)
        return really_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)

    with pytest.raises(CommandError) as refusal:
        check_watchfiles()
    assert "--reload needs watchfiles: pip install 'triows[reload]'" == str(refusal.value)
    assert 2 == refusal.value.status
