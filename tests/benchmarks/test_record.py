"""What was recorded: that there is a record of each benchmark, and a way to make it anew."""

import subprocess
import sys

import pytest

from benchmarks.record import RUNS, main
from benchmarks.report import RESULTS


def test_every_benchmark_has_a_record() -> None:
    """No record is of a benchmark that is not recorded with the others any more."""
    assert sorted(RUNS) == sorted(path.stem for path in RESULTS.glob("*.md"))


def test_growth_has_a_plot() -> None:
    """The two with more and more clients are drawn too."""
    assert {"scaling", "fanout_scaling"} == {path.stem for path in RESULTS.glob("*.svg")}


def test_commands_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--list` runs nothing; a name asks for that benchmark alone."""
    monkeypatch.setattr(sys, "argv", ["record", "--list", "redis"])
    main()

    assert f"python -m benchmarks.redis {RUNS['redis']} --record\n" == capsys.readouterr().out


def test_unknown_name_is_an_error() -> None:
    """Before anything is run."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.record", "echo", "eco"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert 2 == done.returncode
    assert "there is no eco" in done.stderr
