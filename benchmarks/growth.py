"""A comparison repeated with more and more clients, as tables and as a plot.

Recorded, there is `results/NAME.svg` too, with both axes logarithmic.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import TypeAlias

from benchmarks.comparison import Comparison, chosen, compare, make_parser, prepare, publish
from benchmarks.contenders import Contender
from benchmarks.load import Load
from benchmarks.measurement import Measurement
from benchmarks.report import RESULTS, table_of
from benchmarks.rounds import Row

CLIENTS = [1, 10, 100, 1000, 10_000]

ONCE = 5000
"""From so many clients on there is one round: opening the connections takes minutes by itself."""

MARKERS = "osD^vP*X<"
"""Of the lines of the plot, for those who do not see their colours."""

Costs: TypeAlias = Mapping[int, list[Row[Measurement]]]
"""By the number of clients."""


def measure(
    comparison: Comparison, contenders: list[Contender], load: Load, counts: list[int], rounds: int
) -> Costs:
    """Compare contenders under the load of so many clients, one count after the other."""
    core = prepare()
    costs = {}
    for count in counts:
        load = replace(load, clients=count)
        costs[count] = compare(comparison, contenders, load, rounds if count < ONCE else 1, core)
    return costs


def report(costs: Costs, comparison: Comparison) -> str:
    """Return tables with a column for each count: of costs, of ratios to ours, and who was busy."""
    one, _ = comparison.what
    ours = comparison.ours.name
    tables = [
        _table(f"CPU µs/{one}", costs, lambda row: f"{row.cost.median:.1f}"),
        _table("busy", costs, lambda row: f"{row.median(lambda each: each.busy):.0%}"),
    ]
    if ours in {row.name for row in next(iter(costs.values()))}:
        tables.insert(1, _table(f"to {ours}", costs, lambda row: f"{row.ratios[ours].median:.3f}"))
    return "\n\n".join(tables)


def _table(title: str, costs: Costs, cell: Callable[[Row[Measurement]], str]) -> str:
    head = [title, *[f"{count:,}" for count in costs]]
    lines = zip(*costs.values(), strict=True)
    return table_of([head, *[[line[0].name, *map(cell, line)] for line in lines]])


def plot(costs: Costs, comparison: Comparison, path: Path) -> None:
    """Draw the costs by the number of clients; the ending of the path says as what."""
    import matplotlib as mpl  # noqa: PLC0415 - slow, and not needed for the table
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415

    mpl.rcParams["svg.hashsalt"] = "triows"  # the same figures are the same file
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    for marker, line in zip(cycle(MARKERS), zip(*costs.values(), strict=True)):
        is_ours = line[0].name == comparison.ours.name
        axes.plot(
            list(costs),
            [row.cost.median for row in line],
            label=line[0].name,
            marker=marker,
            linewidth=3 if is_ours else 1.5,
            zorder=3 if is_ours else 2,
        )
    one, _ = comparison.what
    axes.set(xscale="log", yscale="log", title=comparison.title)
    axes.set(xlabel="clients", ylabel=f"CPU µs of the server a {one}")
    axes.set_xticks(list(costs), [f"{count:,}" for count in costs])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:,g}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True, which="both", alpha=0.25)
    figure.legend(loc="outside right upper")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main(comparison: Comparison) -> None:
    """Run the comparison with as many clients as the command line has it, and then with more."""
    parser = make_parser(f"Compare servers: {comparison.title}.")
    load = comparison.load
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, help="how many")
    parser.add_argument("--size", type=int, default=load.size, help="bytes of a message")
    parser.add_argument("--seconds", type=float, default=load.seconds, help="to measure each")
    parser.add_argument("--plot", type=Path, help="draw it to this file too, .svg or .png")
    options = parser.parse_args()
    contenders = chosen(options, comparison.contenders)
    load = replace(load, size=options.size, seconds=options.seconds)
    costs = measure(comparison, contenders, load, options.clients, options.rounds)
    words = ["--clients", *options.clients, "--size", load.size, "--seconds", load.seconds]
    publish(
        options,
        map(str, words),
        report(costs, comparison),
        name=comparison.name,
        title=comparison.title,
        contenders=contenders,
    )
    plots = [options.plot] if options.plot else []
    for path in [*plots, *([RESULTS / f"{comparison.name}.svg"] if options.record else [])]:
        plot(costs, comparison, path)
