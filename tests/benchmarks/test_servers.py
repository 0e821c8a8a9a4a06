"""The benchmarks of servers: that they run. What they measure is no test's business."""

import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

import pytest

from benchmarks.contenders import (
    SERVERS,
    SOCKET_IO,
    SOCKETS,
    TRIO,
    TRIOWS,
    TRIOWS_HYPERCORN,
    Contender,
    present,
)
from benchmarks.handshakes import HANDSHAKES
from benchmarks.redis import MEMORY, REDIS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the load generator needs epoll")

SMALL = ["--rounds", "1", "--seconds", "0.2", "--clients"]
PRESENT = [server.name for server in SERVERS if not server.missing]
PATIENCE = 60.0
"""Seconds."""


Table: TypeAlias = dict[str, list[str]]
"""Its rows by their first cells."""


def run(name: str, *options: str) -> tuple[Table, list[str]]:
    """Run a benchmark; return its first table and all lines."""
    output = printed(name, *options)
    return tables(output)[0], output.splitlines()


def printed(name: str, *options: str) -> str:
    """Run a benchmark; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *options],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


def tables(output: str) -> list[Table]:
    """Return the tables that are in it."""
    return [table(part) for part in output.split("\n\n") if "|" in part]


def table(part: str) -> Table:
    """Return the table that is in it."""
    lines = [line for line in part.splitlines() if "|" in line]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return {row[0]: row[1:] for row in rows[2:]}


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


def test_messages_go_through_redis() -> None:
    """The table tells what each process had of it; with the memory broker there is one."""
    rows, _ = run("redis", *SMALL, "3")

    parts = {name: [float(cell) for cell in row[4:7] if cell != "-"] for name, row in rows.items()}
    processes = [(MEMORY, 1), (REDIS, 3)]
    assert {
        f"{broker.name}, 3 in flight": count for broker, count in processes if not broker.missing
    } == {name: len(part) for name, part in parts.items()}
    assert all(cost > 0 for part in parts.values() for cost in part)


@pytest.mark.parametrize(
    ("name", "words", "contenders"),
    [
        ("scaling", ["triows", "bare Trio"], (TRIOWS, TRIO)),
        ("fanout_scaling", ["triows", "socketio"], (TRIOWS, TRIOWS_HYPERCORN, SOCKET_IO)),
    ],
)
def test_costs_are_drawn_by_the_number_of_clients(
    name: str, words: list[str], contenders: tuple[Contender, ...], tmp_path: Path
) -> None:
    """The tables have a column for each number of clients, and so has the plot a point."""
    pytest.importorskip("matplotlib")
    path = tmp_path / "plot.svg"
    output = printed(name, *SMALL, "1", "3", "--plot", str(path), "--only", *words)

    costs, ratios, busy = tables(output)
    assert [one.name for one in contenders if not one.missing] == list(costs)
    assert list(costs) == list(ratios) == list(busy)
    assert all(2 == len(row) for row in (*costs.values(), *ratios.values(), *busy.values()))
    assert ["1.000", "1.000"] == ratios[TRIOWS.name]
    assert b"<svg" in path.read_bytes()


def test_one_that_is_not_installed_is_left_out_with_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is missing is named, and the others are compared."""
    unknown = Contender(name="unknown", command=lambda _: [], packages=("trio", "no-such-package"))

    assert [TRIO] == present([unknown, TRIO])
    assert "left out: unknown, without no-such-package\n" == capsys.readouterr().out
