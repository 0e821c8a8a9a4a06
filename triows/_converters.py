"""Types of path parameters: what each looks like in a path, and the values it stands for."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from math import isfinite
from typing import Any, TypeAlias
from uuid import UUID

from triows._errors import RouteError


@dataclass(frozen=True, slots=True)
class Converter:
    """A type of path parameter.

    Attributes:
        regex: What it looks like; no capturing groups.
        parse: From the path's text to the value. ValueError means that this is no
            such value after all, and the next route is tried.
        format: From the value to a text that the regex matches.
    """

    regex: str
    parse: Callable[[str], Any]
    format: Callable[[Any], str] = str


Converters: TypeAlias = Mapping[str, Converter]


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text} is beyond a 64-bit float")
    return value


ANY = Converter(".*", str)

CONVERTERS: Converters = {
    "int": Converter("-?[0-9]+", int),
    "float": Converter(r"-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?", _finite),
    "str": Converter("[^/]+", str),
    "date": Converter("[0-9]{4}-[0-9]{2}-[0-9]{2}", date.fromisoformat),
    "alpha": Converter(r"[^\W\d_]+", str),
    "any": ANY,
    "uuid": Converter("-".join(f"[0-9a-fA-F]{{{n}}}" for n in (8, 4, 4, 4, 12)), UUID),
}
"""The types of path parameters that every app has, by the name they have in a template."""

_NEGATED_SET = re.compile(r"\[\^[^\]]*\]")


def check_converter(name: str, converter: Converter, known: Converters) -> None:
    """Refuse a converter that could not work.

    Raises:
        RouteError: The name is taken or no name, or the expression is malformed, has
            capturing groups, or speaks of slashes.
    """
    if not re.fullmatch(r"\w+", name):
        raise RouteError(f"{name!r} cannot be the name of a converter")
    if name in known:
        raise RouteError(f"there is a converter {name!r} already")
    try:
        groups = re.compile(converter.regex).groups
        # What is well-formed by itself may not be in the middle: "(?i)x".
        re.compile(f"x({converter.regex})")
    except re.error as exc:
        raise RouteError(f"the regex of converter {name!r} is malformed: {exc}") from exc
    if groups:
        raise RouteError(f"the regex of converter {name!r} captures; write (?:...) for its groups")
    if "/" in _NEGATED_SET.sub("", converter.regex):
        raise RouteError(
            f"the regex of converter {name!r} has a slash: a value lies within one segment of "
            "the path; there is <any:...> for more"
        )
