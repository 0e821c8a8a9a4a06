"""Path templates: `/room/<int:number>(/<str:tab>)?`, taken apart into what a router can index.

A template with optional groups stands for several paths, its variants. Each is cut at its
slashes. A segment without parameters is compared as it stands; one with parameters is a
regular expression in which everything outside of `<...>` is literal. `<any:name>` may hold
slashes, so from its segment on the rest of the path is one expression.

An expression with several parameters can split a text in many ways, and `re` tries them all
before it gives up: 16 KiB of hyphens keep `<str:a>-<str:b>.json` busy for half a second, and
one with three parameters for minutes. So the length of what they share is bounded.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import factorial
from typing import Any, TypeAlias
from urllib.parse import quote

from triows._converters import ANY, CONVERTERS, Converter, Converters
from triows._errors import RouteError

MAX_SPLITS = 1_000_000
"""Ways to split a text among parameters that a look-up may try: a few milliseconds."""

MAX_GROUPS = 6
"""Optional groups of a template: each doubles the number of its variants."""

_PARAMETER = re.compile(r"<(?:(\w+):)?(\w*)>")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A path parameter."""

    name: str
    converter: Converter


Piece: TypeAlias = "str | Parameter"


@dataclass(frozen=True, slots=True)
class Segment:
    """What parameters are in, between two slashes or up to the end of the path.

    Attributes:
        pattern: Its expression, with a group for each parameter.
        converters: In the order of the groups.
    """

    pattern: re.Pattern[str]
    converters: tuple[Converter, ...]

    def split(self, text: str) -> tuple[str, ...] | None:
        """Return the texts of its parameters; None if it does not match."""
        match = self.pattern.fullmatch(text)
        if match is None:
            return None
        texts = match.groups()
        # In a tail the regex of an app's own converter sees slashes, and may take them.
        for converter, part in zip(self.converters, texts, strict=True):
            if converter is not ANY and "/" in part:
                return None
        return texts

    def takes(self, text: str) -> bool:
        """Return whether it matches this text, and every value converts."""
        texts = self.split(text)
        return texts is not None and convert(self.converters, texts) is not None

    def covers(self, other: "str | Segment") -> bool:
        """Return whether it takes whatever the other does; False where that is not plain to see."""
        if isinstance(other, str):
            return self.takes(other)
        if self == other:
            return True
        is_lone_str = self.pattern.pattern == "([^/]+)" and self.converters[0].parse is str
        return is_lone_str and other.pattern.fullmatch("") is None


def convert(converters: tuple[Converter, ...], texts: tuple[str, ...]) -> tuple[Any, ...] | None:
    """Return the values of the texts, or None if one is no such value."""
    try:
        return tuple(
            [converter.parse(text) for converter, text in zip(converters, texts, strict=True)]
        )
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the paths that a template stands for.

    Attributes:
        pieces: Its text and parameters, in order.
        segments: What stands between the slashes, before `<any:...>`.
        tail: The rest of the path, if there is an `<any:...>` in it.
    """

    pieces: tuple[Piece, ...] = field(compare=False)
    segments: "tuple[str | Segment, ...]"
    tail: Segment | None

    @property
    def parameters(self) -> list[Parameter]:
        """The parameters, in the order of the groups."""
        return [piece for piece in self.pieces if isinstance(piece, Parameter)]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters, in the same order."""
        return tuple(parameter.name for parameter in self.parameters)

    def build(self, texts: Mapping[str, str]) -> str:
        """Return the path with these texts for its parameters."""
        return "".join(
            piece if isinstance(piece, str) else texts[piece.name] for piece in self.pieces
        )


@dataclass(frozen=True, slots=True)
class Template:
    """A path template, parsed.

    Attributes:
        text: As it was written.
        variants: The paths that it stands for; with every group first, with none last.
    """

    text: str
    variants: tuple[Variant, ...]

    @property
    def parameters(self) -> list[Parameter]:
        """Every parameter; those of optional groups may be None."""
        return self.variants[0].parameters

    def choose(self, values: Mapping[str, Any]) -> tuple[Variant, dict[str, str]]:
        """Return the variant for these values, and their texts; None is an absent value.

        Raises:
            RouteError: A parameter is missing or unknown, or a value is not of its type.
        """
        if unknown := values.keys() - set(self.variants[0].names):
            raise RouteError(f"{self.text} has no parameter {', '.join(sorted(unknown))}")
        given = {name for name, value in values.items() if value is not None}
        fitting = [variant for variant in reversed(self.variants) if given <= set(variant.names)]
        variant = min(fitting, key=lambda variant: len(variant.names))
        if missing := [name for name in variant.names if name not in given]:
            raise RouteError(f"{self.text} needs a value for {', '.join(missing)}")
        return variant, {p.name: self._format(p, values[p.name]) for p in variant.parameters}

    def _format(self, parameter: Parameter, value: Any) -> str:
        converter = parameter.converter
        cause: Exception | None = None
        try:
            text = converter.format(value)
            if re.fullmatch(converter.regex, text, re.DOTALL):
                converter.parse(text)
                return text
        except (ValueError, TypeError, AttributeError, LookupError) as exc:
            cause = exc
        raise RouteError(f"{self.text}: {_show(value)} cannot be its {parameter.name}") from cause


def _show(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # Python does not write integers of thousands of digits
        return f"so long an {type(value).__name__}"


def parse_template(text: str, converters: Converters = CONVERTERS) -> Template:
    """Take a path template apart.

    Raises:
        RouteError: A type is unknown, or a name is missing, repeated or no identifier.
    """
    text = lead(text)
    groups = _parse_groups(text)
    if _count(groups) > MAX_GROUPS:
        raise RouteError(f"{text}: there may be {MAX_GROUPS} optional groups, and here are more")
    # Equal ones, as of /a(/b)?(/b)?, are one.
    variants = dict.fromkeys(_variant(_lead(plain), text, converters) for plain in _expand(groups))
    return Template(text, tuple(variants))


def lead(template: str) -> str:
    """Return a template with a slash in front; an optional group at its beginning has one."""
    return template if template.startswith("(/") else _lead(template)


def _lead(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


# Optional groups

Groups: TypeAlias = "list[str | Groups]"
"""A text whose optional parts are lists."""


def _parse_groups(text: str) -> Groups:
    groups: Groups = []
    end = 0
    for start, stop in _find_groups(text):
        groups += [text[end:start], _parse_groups(text[start + 1 : stop])]
        end = stop + len(")?")
    return [*groups, text[end:]]


def _find_groups(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the outermost groups begin and end; parentheses without ? are literal."""
    end = 0
    for match in re.finditer(r"\(", text):
        start = match.start()
        stop = _closing(text, start)
        if start >= end and text[stop : stop + 2] == ")?":
            yield start, stop
            end = stop


def _closing(text: str, start: int) -> int:
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
    return len(text)


def _count(groups: Groups) -> int:
    return sum(1 + _count(part) for part in groups if isinstance(part, list))


def _expand(groups: Groups) -> Iterator[str]:
    """Yield the texts with every choice of groups, those with the first ones first."""
    choices = [[part] if isinstance(part, str) else [*_expand(part), ""] for part in groups]
    yield from map("".join, product(*choices))


# Segments


def _variant(plain: str, template: str, converters: Converters) -> Variant:
    pieces = tuple(_parse_pieces(plain, template, converters))
    parts = _split_pieces(pieces)
    segments: list[str | Segment] = []
    for i, part in enumerate(parts):
        if any(isinstance(piece, Parameter) and piece.converter is ANY for piece in part):
            rest = [piece for later in parts[i:] for piece in ("/", *later)][1:]
            return Variant(pieces, tuple(segments), _segment(rest))
        is_literal = not any(isinstance(piece, Parameter) for piece in part)
        segments.append("".join(map(str, part)) if is_literal else _segment(part))
    return Variant(pieces, tuple(segments), None)


def _parse_pieces(plain: str, template: str, converters: Converters) -> Iterator[Piece]:
    if re.search("[<>]", _PARAMETER.sub("", plain)):
        raise RouteError(f"{template}: a parameter is written <type:name>")
    seen: set[str] = set()
    end = 0
    for match in _PARAMETER.finditer(plain):
        kind, name = match.groups()
        _check_parameter(kind, name, template, converters)
        if name in seen:
            raise RouteError(f"{template}: the parameter {name!r} is there twice")
        seen.add(name)
        if end < match.start():
            yield plain[end : match.start()]
        yield Parameter(name, converters[kind])
        end = match.end()
    if end < len(plain):
        yield plain[end:]


def _check_parameter(kind: str | None, name: str, template: str, converters: Converters) -> None:
    if kind is None:
        raise RouteError(f"{template}: <{name}> has no type; write <str:{name}>")
    if kind not in converters:
        known = ", ".join(converters)
        raise RouteError(f"{template}: unknown parameter type {kind!r}; there are {known}")
    if not name.isidentifier():
        raise RouteError(f"{template}: {name!r} cannot be the name of a parameter")


def _split_pieces(pieces: tuple[Piece, ...]) -> list[list[Piece]]:
    """Cut at the slashes; one trailing slash more or less makes no difference."""
    parts: list[list[Piece]] = [[]]
    for piece in pieces:
        texts = piece.split("/") if isinstance(piece, str) else [piece]
        parts[-1] += [texts[0]] if texts[0] else []
        parts += [[text] if text else [] for text in texts[1:]]
    if not parts[-1]:
        parts.pop()
    return parts[1:]


def encode_path(path: str) -> str:
    """Return a decoded path percent-encoded, as it goes into a URL (RFC 3986 §3.3).

    Raises:
        RouteError: It has a segment `.` or `..`, which clients resolve however it is
            encoded, or a lone surrogate.
    """
    if {".", ".."} & set(path.split("/")):
        raise RouteError(f"clients would resolve the dots of {path}")
    try:
        return quote(path, safe="/:@!$&'()*+,;=")
    except UnicodeEncodeError as exc:
        raise RouteError(f"{path!a} has no UTF-8") from exc


def split_path(path: str) -> list[str]:
    """Return the segments of a path; one trailing slash more or less makes no difference."""
    return path.removesuffix("/").split("/")[1:]


def _segment(pieces: list[Piece]) -> Segment:
    parameters = [piece for piece in pieces if isinstance(piece, Parameter)]
    regex = _bound(len(parameters)) + "".join(
        re.escape(piece) if isinstance(piece, str) else f"({piece.converter.regex})"
        for piece in pieces
    )
    return Segment(
        re.compile(regex, re.DOTALL), tuple(parameter.converter for parameter in parameters)
    )


def _bound(count: int) -> str:
    """Return the beginning of an expression with so many parameters: how long the text may be.

    With two, 1414 characters; with three, 181; with four, 69.
    """
    if count < 2:
        return ""
    # n characters can be split among k parameters in about n**k / k! ways.
    longest = int((MAX_SPLITS * factorial(count)) ** (1 / count))
    return f"(?=.{{0,{longest}}}\\Z)"
