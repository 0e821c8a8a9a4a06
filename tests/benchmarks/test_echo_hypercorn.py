"""The benchmark of echo on hypercorn: that it runs. What it measures is no test's business."""

import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "benchmarks.echo_hypercorn"]
SMALL = ["--rounds", "1", "--seconds", "0.3", "--clients", "4"]


@pytest.mark.skipif(sys.platform != "linux", reason="the load generator needs epoll")
def test_compares_every_app() -> None:
    """It ends well only if every echo was right; the table then has a row for each app."""
    done = subprocess.run(
        [*COMMAND, *SMALL], capture_output=True, text=True, timeout=60, check=False
    )

    assert 0 == done.returncode, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("|")]
    costs = {row[1].strip(): row[2].strip() for row in rows[2:]}
    assert ["bare ASGI", "Starlette", "Quart-Trio", "triows"] == list(costs)
    assert all(float(cost) > 0 for cost in costs.values())
    assert "triows: " in done.stdout.splitlines()[-1]
