"""Echo on hypercorn's trio worker: triows next to Starlette, Quart-Trio and no framework.

python -m benchmarks.echo_hypercorn --rounds 5 --clients 64 --size 32 --record
"""

import argparse
import signal
import sys
from contextlib import ExitStack
from functools import partial

from benchmarks.cpu import leave_core, own_core
from benchmarks.load import Load, add_load_options, load_of, measure
from benchmarks.report import judge, record, table
from benchmarks.rounds import Round, run_rounds, summarize
from benchmarks.servers import hypercorn, running

BASE = "bare ASGI"
OURS = "triows"
APPS = {
    BASE: "benchmarks.apps.bare_asgi:app",
    "Starlette": "benchmarks.apps.starlette_app:app",
    "Quart-Trio": "benchmarks.apps.quart_app:app",
    OURS: "benchmarks.apps.triows_app:app",
}
PATH = "/echo"
PACKAGES = ["triows", "hypercorn", "trio", "wsproto", "h11", "starlette", "quart", "quart-trio"]

BOUND, GOAL = 1.10, 1.05
"""What triows may cost, and what it should, to bare ASGI."""


def measure_apps(names: list[str], *, load: Load, core: int | None) -> Round:
    """Measure apps in turn, each on a server that is started for it, and stopped again."""
    with ExitStack() as stack:
        starting = [running(hypercorn(APPS[name]), PATH, core=core) for name in names]
        servers = [stack.enter_context(server) for server in starting]
        return dict(zip(names, measure(load, servers, PATH), strict=True))


def compare(load: Load, rounds: int) -> str:
    """Measure all apps in rounds; return the table and the verdict."""
    core = own_core()
    leave_core(core)
    measured = run_rounds(list(APPS), partial(measure_apps, load=load, core=core), rounds)
    rows = summarize(measured, list(APPS), BASE)
    ours = next(row for row in rows if row.name == OURS)
    return f"{table(rows, BASE)}\n\n{judge(OURS, ours.ratio, bound=BOUND, goal=GOAL)}"


def main() -> None:
    """Run the comparison that the command line asks for."""
    parser = argparse.ArgumentParser(
        description="Compare triows with others on hypercorn's trio worker.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="times to measure each")
    add_load_options(parser)
    parser.add_argument("--record", action="store_true", help="write it to benchmarks/results")
    options = parser.parse_args()
    load = load_of(options)
    # So that the server is stopped then too; Ctrl-C raises anyway.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))

    report = compare(load, options.rounds)
    print(report)
    if options.record:
        words = ["python -m benchmarks.echo_hypercorn --rounds", str(options.rounds)]
        command = " ".join([*words, *load.options()])
        title = "Echo on hypercorn's trio worker"
        path = record(
            "echo_hypercorn", title=title, command=command, packages=PACKAGES, body=report
        )
        print(f"recorded in {path.name}")


if __name__ == "__main__":
    main()
