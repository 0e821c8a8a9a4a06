"""A benchmark of servers under one load: what it compares, and the command that runs it."""

import argparse
import shlex
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from benchmarks.contenders import Contender, present
from benchmarks.cpu import leave_core, own_core
from benchmarks.files import raise_open_files
from benchmarks.load import Load, Target, add_load_options, load_of, measure
from benchmarks.measurement import Measurement
from benchmarks.report import Column, cost_columns, judge, record, table
from benchmarks.rounds import M, Round, Row, run_rounds, summarize
from benchmarks.servers import Server, running, shakes_hands

READY = shakes_hands("/echo")
"""How a server is asked whether it serves yet."""

Limits: TypeAlias = Mapping[str, float]
"""What a ratio may be (`bound`), and should be (`goal`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A benchmark.

    Attributes:
        name: Of its module, and of its record.
        title: Of its record.
        kind: What the clients do, of `load.KINDS`.
        what: What is counted, in the singular and the plural.
        ours: The contender that is judged.
        contenders: All, in the order of the table.
        limits: What the cost of ours may be to that of another, by the other's name.
        load: The load, if the command line does not say.
    """

    name: str
    title: str
    kind: str
    what: tuple[str, str]
    ours: Contender
    contenders: tuple[Contender, ...]
    limits: Mapping[str, Limits]
    load: Load = field(default_factory=Load)

    @property
    def bases(self) -> list[str]:
        """Those to whom ratios are shown."""
        return list(dict.fromkeys([*self.limits, self.ours.name]))


def prepare() -> int | None:
    """Keep this process off a core of the servers' own, and return that core.

    As many files may be open as the system allows, and a SIGTERM raises, so that servers are
    stopped then too; Ctrl-C raises anyway. To be called once: then there is no core to leave.
    """
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    raise_open_files()
    core = own_core()
    leave_core(core)
    return core


@contextmanager
def serving(contenders: Iterable[Contender], core: int | None) -> Iterator[list[Server]]:
    """Run servers around a block, each fresh."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(running(contender.command, READY, core=core))
            for contender in contenders
        ]


def measure_servers(
    names: list[str],
    *,
    contenders: Mapping[str, Contender],
    load: Load,
    kind: str,
    core: int | None,
) -> Round[Measurement]:
    """Measure contenders in turn, each on a server that is started for it, and stopped again."""
    chosen = [contenders[name] for name in names]
    with serving(chosen, core) as servers:
        targets = [
            Target(server, contender.kind or kind)
            for server, contender in zip(servers, chosen, strict=True)
        ]
        return dict(zip(names, measure(load, targets), strict=True))


def compare(
    comparison: Comparison,
    contenders: list[Contender],
    load: Load,
    rounds: int,
    core: int | None,
) -> list[Row[Measurement]]:
    """Measure contenders in rounds, and return what it amounts to."""
    by_name = {contender.name: contender for contender in contenders}
    run = partial(measure_servers, contenders=by_name, load=load, kind=comparison.kind, core=core)
    measured = run_rounds(list(by_name), run, rounds, "µs")
    return summarize(measured, list(by_name), comparison.bases)


def columns(rows: list[Row[Measurement]], what: tuple[str, str]) -> list[Column[Measurement]]:
    """Return the columns of what was counted: of costs, how many and how fast."""
    one, many = what
    return [
        *cost_columns(rows, f"CPU µs/{one}"),
        Column(f"{many}/s", lambda row: f"{row.median(lambda each: each.rate):,.0f}"),
        Column("p50, ms", lambda row: f"{row.median(lambda each: each.p50) * 1e3:.2f}"),
        Column("p99, ms", lambda row: f"{row.median(lambda each: each.p99) * 1e3:.2f}"),
        Column("busy", lambda row: f"{row.median(lambda each: each.busy):.0%}"),
    ]


def verdict(rows: Iterable[Row[M]], ours: str, limits: Mapping[str, Limits]) -> str:
    """Return a line for each that ours is judged by; one that was left out judges nothing."""
    ratios = next((row.ratios for row in rows if row.name == ours), {})
    return "\n".join(
        judge(f"ratio to {base}, {ours}", ratios[base], **limits)
        if base in ratios
        else f"ratio to {base}, {ours}: not judged, for one of them was left out"
        for base, limits in limits.items()
    )


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser of the options that all benchmarks of servers have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="times to measure each")
    parser.add_argument(
        "--only", nargs="+", metavar="WORD", help="those whose names contain one of these words"
    )
    parser.add_argument("--record", action="store_true", help="write it to benchmarks/results")
    return parser


def chosen(options: argparse.Namespace, contenders: Iterable[Contender]) -> list[Contender]:
    """Return those that the command line asks for and that can be started."""
    words = options.only or [""]
    found = present(each for each in contenders if any(word in each.name for word in words))
    if not found:
        sys.exit("there is nobody to compare")
    return found


def publish(
    options: argparse.Namespace,
    words: Iterable[str],
    body: str,
    *,
    name: str,
    title: str,
    contenders: Iterable[Contender],
) -> None:
    """Print a result, and record it if the command line asks for that.

    `words` are those of the command that are no option of `make_parser`.
    """
    print(body)
    if not options.record:
        return
    only = ["--only", *options.only] if options.only else []
    command = ["python", "-m", f"benchmarks.{name}", "--rounds", f"{options.rounds}", *words, *only]
    packages = dict.fromkeys(package for each in contenders for package in each.packages)
    path = record(name, title=title, command=shlex.join(command), packages=packages, body=body)
    print(f"recorded in {path.name}")


def main(comparison: Comparison) -> None:
    """Run the comparison as the command line has it."""
    parser = make_parser(f"Compare servers: {comparison.title}.")
    add_load_options(parser, comparison.load)
    options = parser.parse_args()
    load = load_of(options)
    contenders = chosen(options, comparison.contenders)
    rows = compare(comparison, contenders, load, options.rounds, prepare())
    publish(
        options,
        load.options(),
        f"{table(rows, columns(rows, comparison.what))}\n\n"
        f"{verdict(rows, comparison.ours.name, comparison.limits)}",
        name=comparison.name,
        title=comparison.title,
        contenders=contenders,
    )
