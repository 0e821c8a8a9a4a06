"""Memory of a connection that does nothing: what the server's processes grow by for each.

python -m benchmarks.idle_memory --rounds 3 --connections 10000 --record

What is measured is resident memory, without the kernel's. Some connections are there before,
so that what the first ones take, once, is nobody's. Then every connection echoes a message, and
is measured again: a buffer may come with the first one.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from benchmarks.client import close_websockets, open_websockets
from benchmarks.comparison import chosen, make_parser, prepare, publish, serving
from benchmarks.contenders import SERVERS, TRIOWS, Contender
from benchmarks.cpu import processes_of, resident_bytes
from benchmarks.crowd import Crowd
from benchmarks.report import Column, cost_columns, judge, table
from benchmarks.rounds import Round, Row, run_rounds, summarize
from benchmarks.servers import Server

WARM_UP = 100
"""Connections that are there before."""

SETTLING = 0.3
"""Seconds for a server to finish what it has begun."""

BOUND, GOAL = 10.0, 8.0
"""KiB that a connection of ours may and should take."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a connection takes.

    Attributes:
        cost: KiB of one that has never sent anything.
        used: KiB of one that has echoed a message.
    """

    cost: float
    used: float


def measure_memory(
    names: list[str],
    *,
    contenders: Mapping[str, Contender],
    connections: int,
    core: int | None,
) -> Round[Memory]:
    """Measure contenders one after the other, each on a server that is started for it."""
    return {name: _measure(contenders[name], connections, core) for name in names}


def _measure(contender: Contender, connections: int, core: int | None) -> Memory:
    with serving([contender], core) as [server]:
        earlier = open_websockets(server.port, Crowd.PATH, WARM_UP)
        before = _settled(server)
        crowd = Crowd(server.port, clients=connections, size=32, depth=1)
        idle = _settled(server)
        crowd.run(0)
        used = _settled(server)
        crowd.close()
        close_websockets(earlier)
    return Memory(*((after - before) / connections / 1024 for after in (idle, used)))


def _settled(server: Server) -> int:
    time.sleep(SETTLING)
    return resident_bytes(processes_of(server.session))


def compare(contenders: list[Contender], connections: int, rounds: int) -> list[Row[Memory]]:
    """Measure contenders in rounds, and return what it amounts to."""
    by_name = {contender.name: contender for contender in contenders}
    run = partial(measure_memory, contenders=by_name, connections=connections, core=prepare())
    return summarize(run_rounds(list(by_name), run, rounds, "KiB"), list(by_name), [TRIOWS.name])


def report(rows: list[Row[Memory]]) -> str:
    """Return the table and the verdict."""
    used: Column[Memory] = Column(
        "KiB after an echo", lambda row: f"{row.median(lambda each: each.used):.1f}"
    )
    ours = [row for row in rows if row.name == TRIOWS.name]
    verdicts = [
        judge(f"KiB a connection, {row.name}", row.cost, bound=BOUND, goal=GOAL) for row in ours
    ]
    columns = [*cost_columns(rows, "KiB/connection"), used]
    return "\n\n".join([table(rows, columns), *verdicts])


def main() -> None:
    """Run the comparison that the command line asks for."""
    parser = make_parser("Compare what an idle connection takes of a server's memory.")
    parser.add_argument("--connections", type=int, default=2000, help="that are idle")
    options = parser.parse_args()
    contenders = chosen(options, SERVERS)
    rows = compare(contenders, options.connections, options.rounds)
    publish(
        options,
        ["--connections", f"{options.connections}"],
        report(rows),
        name="idle_memory",
        title="Memory of an idle connection",
        contenders=contenders,
    )


if __name__ == "__main__":
    main()
