"""Path templates: `/room/<int:number>`, taken apart into what a router can index.

A template is cut at its slashes. A segment without parameters is compared as it stands;
one with parameters is a regular expression in which everything outside of `<...>` is
literal. `<any:name>` may hold slashes, so from its segment on the rest of the path is one
expression.

An expression with several parameters can split a text in many ways, and `re` tries them all
before it gives up: 16 KiB of hyphens keep `<str:a>-<str:b>.json` busy for half a second, and
one with three parameters for minutes. So the length of what they share is bounded.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from math import factorial, isfinite
from typing import Any
from uuid import UUID

from triows._errors import RouteError


@dataclass(frozen=True, slots=True)
class Converter:
    """A type of path parameter.

    Attributes:
        regex: What it looks like; no capturing groups.
        parse: From the path's text to the value. ValueError means that this is no
            such value after all, and the next route is tried.
    """

    regex: str
    parse: Callable[[str], Any]


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text} is beyond a 64-bit float")
    return value


CONVERTERS = {
    "int": Converter("-?[0-9]+", int),
    "float": Converter(r"-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?", _finite),
    "str": Converter("[^/]+", str),
    "date": Converter("[0-9]{4}-[0-9]{2}-[0-9]{2}", date.fromisoformat),
    "alpha": Converter(r"[^\W\d_]+", str),
    "any": Converter(".*", str),
    "uuid": Converter("-".join(f"[0-9a-fA-F]{{{n}}}" for n in (8, 4, 4, 4, 12)), UUID),
}
"""The types of path parameters, by the name they have in a template."""

MAX_SPLITS = 1_000_000
"""Ways to split a text among parameters that a look-up may try: a few milliseconds."""

_PARAMETER = re.compile(r"<(?:(\w+):)?(\w*)>")


@dataclass(frozen=True, slots=True)
class Template:
    """A path template, parsed.

    Attributes:
        text: As it was written.
        segments: What stands between the slashes, before `<any:...>`.
        tail: The expression for the rest of the path, if there is an `<any:...>`.
        parameters: Names and converters, in the order of the expressions' groups.
    """

    text: str
    segments: tuple["str | re.Pattern[str]", ...]
    tail: re.Pattern[str] | None
    parameters: tuple[tuple[str, Converter], ...]

    def convert(self, texts: tuple[str, ...]) -> dict[str, Any] | None:
        """Return the values of the captured texts by name, or None if one is no such value."""
        try:
            return {
                name: converter.parse(text)
                for (name, converter), text in zip(self.parameters, texts, strict=True)
            }
        except ValueError:
            return None


def parse_template(text: str) -> Template:
    """Take a path template apart.

    Raises:
        RouteError: A type is unknown, or a name is missing, repeated or no identifier.
    """
    if not text.startswith("/"):
        text = f"/{text}"
    if re.search("[<>]", _PARAMETER.sub("", text)):
        raise RouteError(f"{text}: a parameter is written <type:name>")
    parameters: list[tuple[str, Converter]] = []
    segments: list[str | re.Pattern[str]] = []
    parts = split_path(text)
    for i, part in enumerate(parts):
        if re.search("<any:", part):
            tail = _compile("/".join(parts[i:]), text, parameters)
            return Template(text, tuple(segments), tail, tuple(parameters))
        is_literal = not _PARAMETER.search(part)
        segments.append(part if is_literal else _compile(part, text, parameters))
    return Template(text, tuple(segments), None, tuple(parameters))


def split_path(path: str) -> list[str]:
    """Return the segments of a path; one trailing slash more or less makes no difference."""
    return path.removesuffix("/").split("/")[1:]


def _compile(part: str, template: str, parameters: list[tuple[str, Converter]]) -> re.Pattern[str]:
    regex, end = _bound(len(_PARAMETER.findall(part))), 0
    for match in _PARAMETER.finditer(part):
        kind, name = match.groups()
        _check_parameter(kind, name, template, parameters)
        converter = CONVERTERS[kind]
        regex += re.escape(part[end : match.start()]) + f"({converter.regex})"
        parameters.append((name, converter))
        end = match.end()
    return re.compile(regex + re.escape(part[end:]), re.DOTALL)


def _bound(count: int) -> str:
    """Return the beginning of an expression with so many parameters: how long the text may be.

    With two, 1414 characters; with three, 181; with four, 69.
    """
    if count < 2:
        return ""
    # n characters can be split among k parameters in about n**k / k! ways.
    longest = int((MAX_SPLITS * factorial(count)) ** (1 / count))
    return f"(?=.{{0,{longest}}}\\Z)"


def _check_parameter(
    kind: str | None, name: str, template: str, parameters: list[tuple[str, Converter]]
) -> None:
    if kind is None:
        raise RouteError(f"{template}: <{name}> has no type; write <str:{name}>")
    if kind not in CONVERTERS:
        known = ", ".join(CONVERTERS)
        raise RouteError(f"{template}: unknown parameter type {kind!r}; there are {known}")
    if not name.isidentifier():
        raise RouteError(f"{template}: {name!r} cannot be the name of a parameter")
    if name in dict(parameters):
        raise RouteError(f"{template}: the parameter {name!r} is there twice")
