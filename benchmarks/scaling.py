"""Echo with more and more clients: does a message still cost the same with 10,000 of them?

python -m benchmarks.scaling --rounds 3 --seconds 2 --record

Recorded, it is a table and `results/scaling.svg`, a plot with both axes logarithmic.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from benchmarks.comparison import chosen, compare, make_parser, prepare, publish
from benchmarks.contenders import Contender
from benchmarks.echo import ECHO
from benchmarks.load import Load
from benchmarks.measurement import Measurement
from benchmarks.report import RESULTS, table_of
from benchmarks.rounds import Row

CLIENTS = [1, 10, 100, 1000, 10_000]

Costs: TypeAlias = Mapping[int, list[Row[Measurement]]]
"""By the number of clients."""


def measure(contenders: list[Contender], load: Load, counts: list[int], rounds: int) -> Costs:
    """Compare contenders under the load of so many clients, one count after the other."""
    core = prepare()
    return {
        count: compare(ECHO, contenders, replace(load, clients=count), rounds, core)
        for count in counts
    }


def report(costs: Costs) -> str:
    """Return a table with a column for each count, and ours to the base."""
    names = [row.name for row in next(iter(costs.values()))]
    lines = [["CPU µs/message", *[f"{count:,} clients" for count in costs]]]
    for i, name in enumerate(names):
        lines.append([name, *[f"{rows[i].cost.median:.1f}" for rows in costs.values()]])
    for base in [base for base in ECHO.limits if {base, ECHO.ours.name} <= {*names}]:
        ours = [rows[names.index(ECHO.ours.name)].ratios[base] for rows in costs.values()]
        title = f"{ECHO.ours.name} to {base}"
        lines.append([title, *[f"{ratio.median:.3f}" for ratio in ours]])
    return table_of(lines)


def plot(costs: Costs, path: Path) -> None:
    """Draw the costs by the number of clients; the ending of the path says as what."""
    import matplotlib as mpl  # noqa: PLC0415 - slow, and not needed for the table
    from matplotlib.figure import Figure  # noqa: PLC0415

    mpl.rcParams["svg.hashsalt"] = "triows"  # the same figures are the same file
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    counts = list(costs)
    for i, row in enumerate(costs[counts[0]]):
        is_ours = row.name == ECHO.ours.name
        axes.plot(
            counts,
            [rows[i].cost.median for rows in costs.values()],
            label=row.name,
            marker="o",
            linewidth=3 if is_ours else 1.5,
            zorder=3 if is_ours else 2,
        )
    axes.set(xscale="log", yscale="log")
    axes.set(xlabel="clients", ylabel="CPU µs of the server a message", title="Echo")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.grid(visible=True, which="both", alpha=0.25)
    figure.legend(loc="outside right upper")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Run the comparison that the command line asks for."""
    parser = make_parser("Compare servers under the load of more and more clients.")
    default = Load(seconds=2.0)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, help="how many")
    parser.add_argument("--size", type=int, default=default.size, help="bytes of a message")
    parser.add_argument("--seconds", type=float, default=default.seconds, help="to measure each")
    parser.add_argument("--plot", type=Path, help="draw it to this file too, .svg or .png")
    options = parser.parse_args()
    contenders = chosen(options, ECHO.contenders)
    load = replace(default, size=options.size, seconds=options.seconds)
    costs = measure(contenders, load, options.clients, options.rounds)
    words = ["--clients", *options.clients, "--size", load.size, "--seconds", load.seconds]
    publish(
        options,
        map(str, words),
        report(costs),
        name="scaling",
        title="Echo with more and more clients",
        contenders=contenders,
    )
    plots = [options.plot] if options.plot else []
    for path in [*plots, *([RESULTS / "scaling.svg"] if options.record else [])]:
        plot(costs, path)


if __name__ == "__main__":
    main()
