"""Contenders measured in rounds, and what the rounds amount to.

A machine drifts: frequencies, neighbours, caches. So every contender is measured once a round,
each round begins with another, and contenders are compared within a round only. The median of
those ratios says more than the ratio of the medians.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

from benchmarks.measurement import Measurement

Round: TypeAlias = Mapping[str, Measurement]
Measure: TypeAlias = Callable[[list[str]], Round]
"""Measures contenders, by name and in that order."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the ends of what several rounds gave."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One contender over all rounds.

    Attributes:
        name: Of the contender.
        cost: CPU time of the server a message, in µs.
        ratio: That cost to the base's in the same round.
        rate: Messages a second, the median.
        busy: Share of the time that the server had work, the median.
    """

    name: str
    cost: Spread
    ratio: Spread
    rate: float
    busy: float


def run_rounds(names: list[str], measure: Measure, rounds: int) -> list[Round]:
    """Measure all contenders so many times; tell how it goes on stderr."""
    return [_run_round(rotated(names, i), measure, i + 1) for i in range(rounds)]


def _run_round(names: list[str], measure: Measure, number: int) -> Round:
    measured = measure(names)
    costs = ", ".join(f"{name} {measured[name].cost:.1f}" for name in names)
    print(f"round {number}: {costs} µs", file=sys.stderr, flush=True)
    return measured


def rotated(names: list[str], by: int) -> list[str]:
    """Return the names beginning with another, those before it at the end."""
    start = by % len(names)
    return names[start:] + names[:start]


def summarize(rounds: list[Round], names: list[str], base: str) -> list[Row]:
    """Return a row for each name, in their order; ratios are to the base."""
    return [_row(rounds, name, base) for name in names]


def _row(rounds: list[Round], name: str, base: str) -> Row:
    return Row(
        name=name,
        cost=_spread([each[name].cost for each in rounds]),
        ratio=_spread([each[name].cost / each[base].cost for each in rounds]),
        rate=median(each[name].rate for each in rounds),
        busy=median(each[name].busy for each in rounds),
    )


def _spread(values: list[float]) -> Spread:
    return Spread(median(values), min(values), max(values))
