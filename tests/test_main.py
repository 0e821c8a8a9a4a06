"""`python -m triows`."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_status_is_that_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The process ends with what the command returned."""
    monkeypatch.setattr(sys, "argv", ["triows"])

    with pytest.raises(SystemExit) as leaving:
        runpy.run_path(str(ROOT / "triows" / "__main__.py"), run_name="__main__")

    assert 2 == leaving.value.code
    assert capsys.readouterr().err.startswith("usage: triows ")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, where the examples are."""
    command = [sys.executable, "-m", "triows", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_routes_of_an_example() -> None:
    """The table of an example with a module, as a shell shows it."""
    done = run("routes", "examples.chat:app")

    assert (0, "") == (done.returncode, done.stderr)
    rows = [re.split(" {2,}", line) for line in done.stdout.splitlines()]
    assert [
        ["PATH", "NAME", "PIPES", "HANDLER"],
        ["/rooms/<room:room>", "rooms.talk", "Named, Resuming, JSONPipe", "examples.chat.talk"],
        ["/rooms", "overview", "JSONPipe", "examples.chat.overview"],
    ] == [[row[i] for i in (0, 1, 4, 5)] for row in rows]


def test_target_that_does_not_exist() -> None:
    """A shell sees 2, and one line."""
    done = run("routes", "examples.nothing:app")

    assert (2, "") == (done.returncode, done.stdout)
    assert (
        f"triows: there is no module 'examples.nothing'; the current directory, {ROOT}, is on "
        "the path\n"
    ) == done.stderr
