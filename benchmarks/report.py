"""Tables of what was measured, and records of them that say where."""

import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Generic

from benchmarks.rounds import M, Row, Spread

RESULTS = Path(__file__).parent / "results"

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Column(Generic[M]):
    """A column of a table: its title, and how a row's cell reads."""

    title: str
    cell: Callable[[Row[M]], str]


def cost_columns(rows: list[Row[M]], unit: str) -> list[Column[M]]:
    """Return the columns that each table has: the cost, and its ratio to each base."""
    columns: list[Column[M]] = [
        Column("", lambda row: row.name),
        Column(unit, lambda row: f"{row.cost.median:.1f}"),
        Column("min-max", lambda row: f"{row.cost.least:.1f}-{row.cost.most:.1f}"),
    ]
    for base in rows[0].ratios:
        columns += _ratio_columns(base)
    return columns


def _ratio_columns(base: str) -> list[Column[M]]:
    return [
        Column(f"to {base}", lambda row: f"{row.ratios[base].median:.3f}"),
        Column("min-max", lambda row: f"{row.ratios[base].least:.3f}-{row.ratios[base].most:.3f}"),
    ]


def table(rows: list[Row[M]], columns: list[Column[M]]) -> str:
    """Return the rows as a Markdown table that also reads well in a terminal."""
    cells = [[column.cell(row) for column in columns] for row in rows]
    return table_of([[column.title for column in columns], *cells])


def table_of(lines: list[list[str]]) -> str:
    """Like `table`, of any cells; the first line is the head."""
    head, *rest = lines
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *["-" * (width - 1) + ":" for width in widths[1:]]]
    return "\n".join(_line(line, widths) for line in [head, rule, *rest])


def _line(cells: list[str], widths: list[int]) -> str:
    first = cells[0].ljust(widths[0])
    rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return "| " + " | ".join([first, *rest]) + " |"


def judge(name: str, ratio: Spread, **limits: float) -> str:
    """Return a line that says which limits the median of a ratio keeps."""
    said = [f"{label} {limit:.2f} {_kept(ratio, limit)}" for label, limit in limits.items()]
    return f"{name}: {ratio.median:.3f}; " + ", ".join(said)


def _kept(ratio: Spread, limit: float) -> str:
    return "kept" if ratio.median <= limit else "MISSED"


def record(name: str, *, title: str, command: str, packages: Iterable[str], body: str) -> Path:
    """Write a result to `results/`, over an older one, and return where.

    It names the machine's make, not the machine.
    """
    facts = {
        "date": f"{datetime.now(UTC).date()}",
        "CPU": _cpu(),
        "system": f"{platform.system()} {platform.release()}",
        "load average": f"{os.getloadavg()[0]:.1f} when it ended, its own processes counted",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{package} {_version(package)}" for package in packages),
        "command": f"`{command}`",
    }
    listed = "\n".join(f"- {label}: {fact}" for label, fact in facts.items())
    path = RESULTS / f"{name}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"# {title}\n\n{listed}\n\n{body}\n", encoding="utf-8")
    return path


def _cpu() -> str:
    lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(models, platform.machine())}, {os.cpu_count()} cores"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "from the working tree"
