"""Contenders measured in rounds, and what the rounds amount to.

A machine drifts: frequencies, neighbours, caches. So every contender is measured once a round,
each round begins with another, and contenders are compared within a round only. The median of
those ratios says more than the ratio of the medians.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Generic, Protocol, TypeAlias, TypeVar


class Measured(Protocol):
    """What a contender was measured to do."""

    @property
    def cost(self) -> float:
        """What is compared; the less, the better."""


M = TypeVar("M", bound=Measured)

Round: TypeAlias = Mapping[str, M]
Measure: TypeAlias = Callable[[list[str]], Round[M]]
"""Measures contenders, by name and in that order."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the ends of what several rounds gave."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Generic[M]):
    """One contender over all rounds.

    Attributes:
        name: Of the contender.
        cost: In the benchmark's unit.
        ratios: That cost to a base's in the same round, by the base's name.
        measured: Everything, round by round.
    """

    name: str
    cost: Spread
    ratios: Mapping[str, Spread]
    measured: list[M]

    def median(self, of: Callable[[M], float]) -> float:
        """Return the middle of another figure."""
        return median(map(of, self.measured))


def run_rounds(names: list[str], measure: Measure[M], rounds: int, unit: str) -> list[Round[M]]:
    """Measure all contenders so many times; tell how it goes on stderr."""
    return [_run_round(rotated(names, i), measure, i + 1, unit) for i in range(rounds)]


def _run_round(names: list[str], measure: Measure[M], number: int, unit: str) -> Round[M]:
    measured = measure(names)
    costs = ", ".join(f"{name} {measured[name].cost:.1f}" for name in names)
    print(f"round {number}: {costs} {unit}", file=sys.stderr, flush=True)
    return measured


def rotated(names: list[str], by: int) -> list[str]:
    """Return the names beginning with another, those before it at the end."""
    start = by % len(names)
    return names[start:] + names[:start]


def summarize(rounds: list[Round[M]], names: list[str], bases: Iterable[str]) -> list[Row[M]]:
    """Return a row for each name, in their order; ratios are to those of the bases named."""
    among = [base for base in bases if base in names]
    return [_row(rounds, name, among) for name in names]


def _row(rounds: list[Round[M]], name: str, bases: list[str]) -> Row[M]:
    return Row(
        name=name,
        cost=_spread([each[name].cost for each in rounds]),
        ratios={base: _ratio(rounds, name, base) for base in bases},
        measured=[each[name] for each in rounds],
    )


def _ratio(rounds: list[Round[M]], name: str, base: str) -> Spread:
    return _spread([each[name].cost / each[base].cost for each in rounds])


def _spread(values: list[float]) -> Spread:
    return Spread(median(values), min(values), max(values))
