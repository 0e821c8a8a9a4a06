"""The benchmark of look-ups: that it runs. What it measures is no test's business."""

import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "benchmarks.routing"]
SMALL = ["--rounds", "1", "--lookups", "20"]


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks are for Linux")
def test_compares_every_router() -> None:
    """It ends well only if all found the same; the table then has a row for each router."""
    done = subprocess.run(
        [*COMMAND, *SMALL], capture_output=True, text=True, timeout=60, check=False
    )

    assert 0 == done.returncode, done.stderr
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith("|")]
    figures = {row[0].strip(): [float(cell) for cell in row[1:]] for row in rows[2:]}
    assert ["triows", "Starlette", "werkzeug"] == list(figures)
    assert all(figure > 0 for row in figures.values() for figure in row)
    assert "triows, last to first: " in done.stdout.splitlines()[-1]
