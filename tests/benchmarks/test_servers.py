"""The benchmarks of servers: that they run. What they measure is no test's business."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.contenders import SERVERS, SOCKETS, TRIO, Contender, present
from benchmarks.handshakes import HANDSHAKES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the load generator needs epoll")

SMALL = ["--rounds", "1", "--seconds", "0.2", "--clients"]
PRESENT = [server.name for server in SERVERS if not server.missing]
PATIENCE = 60.0
"""Seconds."""


def run(name: str, *options: str) -> tuple[dict[str, list[str]], list[str]]:
    """Run a benchmark; return the rows of its table, by their first cells, and all lines."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *options],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    lines = done.stdout.splitlines()
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
    return {row[0]: row[1:] for row in table[2:]}, lines


@pytest.mark.parametrize(
    ("name", "others"), [("echo", []), ("pipelined", []), ("fanout", [SOCKETS.name])]
)
def test_every_server_keeps_up_with_clients(name: str, others: list[str]) -> None:
    """It ends well only if every byte was right; the table then has a row for each server."""
    rows, lines = run(name, *SMALL, "4")

    assert PRESENT + others == list(rows)
    assert all(float(row[0]) > 0 for row in rows.values())
    assert "triows: " in lines[-1]


def test_servers_shake_hands() -> None:
    """Connections begin and end as they should, on each server whose connections end."""
    rows, lines = run("handshakes", *SMALL, "2")

    assert [one.name for one in HANDSHAKES.contenders if not one.missing] == list(rows)
    assert all(float(row[0]) > 0 for row in rows.values())
    assert "triows: " in lines[-1]


def test_connections_take_memory() -> None:
    """The table has a row for each server; fewer connections might fit in what it has anyway."""
    rows, _ = run("idle_memory", "--rounds", "1", "--connections", "300")

    assert PRESENT == list(rows)
    assert all(float(row[0]) > 0 for row in rows.values())


def test_costs_are_drawn_by_the_number_of_clients(tmp_path: Path) -> None:
    """The table has a column for each number of clients, and so has the plot a point."""
    pytest.importorskip("matplotlib")
    path = tmp_path / "scaling.svg"
    rows, _ = run("scaling", *SMALL, "1", "3", "--plot", str(path), "--only", "bare", "Starlette")

    assert {"hypercorn, bare ASGI", "uvicorn, Starlette", "bare Trio TCP"} & {*PRESENT} <= {*rows}
    assert all(2 == len(row) for row in rows.values())
    assert b"<svg" in path.read_bytes()


def test_one_that_is_not_installed_is_left_out_with_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is missing is named, and the others are compared."""
    unknown = Contender(name="unknown", command=lambda _: [], packages=("trio", "no-such-package"))

    assert [TRIO] == present([unknown, TRIO])
    assert "left out: unknown, without no-such-package\n" == capsys.readouterr().out
