"""A look-up in a table of routes: triows' router next to Starlette's and werkzeug's.

python -m benchmarks.routing --rounds 7 --record
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

from starlette.routing import Match, WebSocketRoute
from starlette.websockets import WebSocket
from werkzeug.exceptions import NotFound
from werkzeug.routing import Map, Rule

from benchmarks.measurement import Measurement
from benchmarks.report import judge, record, table_of
from benchmarks.rounds import Round, Row, Spread, run_rounds, summarize
from triows._paths import parse_template
from triows._routing import Router

ROUTES = 100
"""Routes of the table, each with two parameters."""

PLACES = {"first": 0, "middle": ROUTES // 2, "last": ROUTES - 1, "miss": ROUTES}
"""What is looked up: the number of a route; there is none of the last number."""

OURS = "triows"
PACKAGES = ["triows", "starlette", "werkzeug"]

GOAL = 5.0
"""CPU µs that a look-up of ours should take at most, wherever it is in the table."""

GROWTH = 1.25
"""What our last route may cost to our first."""

Found: TypeAlias = tuple[Any, dict[str, Any]] | None
LookUp: TypeAlias = Callable[[str], Found]
"""Takes a path, and returns a route's number and the values of its parameters."""

Rows: TypeAlias = Mapping[str, list[Row[Measurement]]]
"""By the place that was looked up."""


def triows() -> LookUp:
    """Return a look-up in our router."""
    router: Router[int] = Router()
    for i in range(ROUTES):
        router.add(parse_template(f"/section{i}/<int:a>/item/<str:b>"), i)
    return partial(router.match, host="example.org:8000", scheme="ws")


def starlette() -> LookUp:
    """Return what Starlette's router does for a connection: it asks one route after the other."""

    async def endpoint(websocket: WebSocket) -> None:
        """Be what a route needs, and never run."""

    routes = [
        WebSocketRoute(f"/section{i}/{{a:int}}/item/{{b}}", endpoint, name=str(i))
        for i in range(ROUTES)
    ]

    scope: dict[str, Any] = {"type": "websocket", "root_path": "", "headers": []}

    def look_up(path: str) -> Found:
        scope["path"] = path
        for route in routes:
            match, child = route.matches(scope)
            if match is Match.FULL:
                return int(route.name), child["path_params"]
        return None

    return look_up


def werkzeug() -> LookUp:
    """Return a look-up in werkzeug's map, which Quart and Flask have."""
    rules = [
        Rule(f"/section{i}/<int:a>/item/<string:b>", endpoint=str(i), websocket=True)
        for i in range(ROUTES)
    ]
    adapter = Map(rules).bind("example.org", url_scheme="ws")

    def look_up(path: str) -> Found:
        try:
            endpoint, values = adapter.match(path, websocket=True)
        except NotFound:
            return None
        return int(endpoint), dict(values)

    return look_up


CONTENDERS = {OURS: triows, "Starlette": starlette, "werkzeug": werkzeug}


def path_of(number: int) -> str:
    """Return a path for the route of that number."""
    return f"/section{number}/7/item/x"


def check(look_ups: Mapping[str, LookUp]) -> None:
    """Have every route and a miss looked up by all.

    Raises:
        ValueError: One does not find what it must.
    """
    for number in range(ROUTES + 1):
        expected = (number, {"a": 7, "b": "x"}) if number < ROUTES else None
        for name, look_up in look_ups.items():
            found = look_up(path_of(number))
            if found != expected:
                raise ValueError(f"{name} found {found!r} at {path_of(number)}, not {expected!r}")


def measure(
    names: list[str], *, look_ups: Mapping[str, LookUp], number: int, count: int
) -> Round[Measurement]:
    """Look a route up so many times with each."""
    return {name: _measure(look_ups[name], path_of(number), count) for name in names}


def _measure(look_up: LookUp, path: str, count: int) -> Measurement:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        look_up(path)
    cpu = time.process_time() - cpu
    return Measurement(messages=count, seconds=time.perf_counter() - wall, server=cpu)


def compare(rounds: int, lookups: int) -> str:
    """Measure all in rounds, place by place; return the table and the verdict."""
    look_ups = {name: make() for name, make in CONTENDERS.items()}
    check(look_ups)
    rows: dict[str, list[Row[Measurement]]] = {}
    for place, number in PLACES.items():
        print(f"{place}:", file=sys.stderr)
        run = partial(measure, look_ups=look_ups, number=number, count=lookups)
        rows[place] = summarize(
            run_rounds(list(look_ups), run, rounds, "µs"), list(look_ups), [OURS]
        )
    return f"{_table(rows)}\n\n{_verdict(rows)}"


def _table(rows: Rows) -> str:
    lines = [["", *[head for place in rows for head in (f"{place}, µs", "ratio")]]]
    for i, name in enumerate(CONTENDERS):
        at = [rows[place][i] for place in rows]
        texts = [(f"{row.cost.median:.2f}", f"{row.ratios[OURS].median:.2f}") for row in at]
        lines.append([name, *[text for pair in texts for text in pair]])
    return table_of(lines)


def _verdict(rows: Rows) -> str:
    costs = {place: row.cost for place in rows for row in rows[place] if row.name == OURS}
    slowest = max(costs.values(), key=lambda cost: cost.median)
    growth = costs["last"].median / costs["first"].median
    return "\n".join(
        [
            judge(f"{OURS}, µs where it is slowest", slowest, goal=GOAL),
            judge(f"{OURS}, last to first", Spread(growth, growth, growth), bound=GROWTH),
        ]
    )


def main() -> None:
    """Run the comparison that the command line asks for."""
    parser = argparse.ArgumentParser(
        description=f"Compare look-ups in a table of {ROUTES} routes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=7, help="times to measure each")
    parser.add_argument("--lookups", type=int, default=10_000, help="look-ups to measure at a time")
    parser.add_argument("--record", action="store_true", help="write it to benchmarks/results")
    options = parser.parse_args()

    report = compare(options.rounds, options.lookups)
    print(report)
    if options.record:
        sizes = f"--rounds {options.rounds} --lookups {options.lookups}"
        path = record(
            "routing",
            title=f"A look-up among {ROUTES} routes",
            command=f"python -m benchmarks.routing {sizes}",
            packages=PACKAGES,
            body=report,
        )
        print(f"recorded in {path.name}")


if __name__ == "__main__":
    main()
