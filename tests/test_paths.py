"""Path templates and the types of their parameters."""

import re
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triows._errors import RouteError
from triows._paths import CONVERTERS, parse_template, split_path

ID = "12345678-1234-5678-1234-56789abcdef0"


def values(template: str, segment: str) -> dict[str, Any] | None:
    """Return what a template of a single segment makes of one of a path, or of what `any` gets."""
    parsed = parse_template(template)
    expression = parsed.tail or parsed.segments[0]
    assert isinstance(expression, re.Pattern)
    match = expression.fullmatch(segment)
    return None if match is None else parsed.convert(match.groups())


# Parameters


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "7", 7),
        ("int", "-7", -7),
        ("int", "007", 7),
        ("int", "9" * 4000, int("9" * 4000)),
        ("float", "7", 7.0),
        ("float", "-1.5", -1.5),
        ("float", "1e3", 1000.0),
        ("float", "1.5e-3", 0.0015),
        ("str", "a b", "a b"),
        ("str", "a\nb", "a\nb"),
        ("str", "漢字", "漢字"),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("alpha", "abc", "abc"),
        ("alpha", "Grüße", "Grüße"),
        ("any", "", ""),
        ("any", "a/b//c", "a/b//c"),
        ("any", "a\nb", "a\nb"),
        ("uuid", ID, UUID(ID)),
        ("uuid", ID.upper(), UUID(ID)),
    ],
)
def test_value(kind: str, text: str, value: object) -> None:
    """A parameter's text becomes a value of its type."""
    assert {"x": value} == values(f"/<{kind}:x>", text)


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("int", ["", "-", "+7", "1.0", "1_000", " 7", "7\n", "٣", "7a", "9" * 5000]),
        ("float", ["", ".5", "1.", "inf", "nan", "0x1", "1e", "1e999", "-1e999", "1.5\n", "٣"]),
        ("str", ["", "/", "a/b"]),
        ("date", ["2023-02-29", "2024-2-9", "20240229", "0000-01-01", "2024-02-29\n", "x"]),
        ("alpha", ["", "a1", "a_b", "a-b", "a b", "a\n"]),
        ("uuid", ["", ID[:-1], f"{{{ID}}}", ID.replace("-", ""), f"{ID}\n"]),
    ],
)
def test_no_value(kind: str, texts: list[str]) -> None:
    """What only resembles a value of the type is none, whatever Python would make of it."""
    assert [None] * len(texts) == [values(f"/<{kind}:x>", text) for text in texts]


@given(st.sampled_from(sorted(CONVERTERS)), st.text())
def test_any_text_can_be_tried(kind: str, text: str) -> None:
    """No text makes a type fail: it is a value or it is not."""
    values(f"/<{kind}:x>", text)


@pytest.mark.parametrize(
    ("template", "segment", "expected"),
    [
        ("/v<int:n>", "v2", {"n": 2}),
        ("/v<int:n>", "2", None),
        ("/<str:name>.json", "a.b.json", {"name": "a.b"}),
        ("/<str:name>.json", "axjson", None),
        ("/<str:a>-<str:b>", "x-y-z", {"a": "x-y", "b": "z"}),
        ("/<int:a>-<int:b>", "1--2", {"a": 1, "b": -2}),
        ("/<any:dir>/edit/<int:n>", "a/b/edit/3", {"dir": "a/b", "n": 3}),
        ("/x<any:rest>", "xyz", {"rest": "yz"}),
    ],
)
def test_literals_beside_parameters(
    template: str, segment: str, expected: dict[str, Any] | None
) -> None:
    """A segment may mix parameters with literal text; earlier parameters take what they can."""
    assert expected == values(template, segment)


# Templates


def test_segments() -> None:
    """Without parameters a segment is literal text; whatever would mean something in a regex."""
    template = parse_template("/a.b/(c)?/<int:n>/d")

    assert ("a.b", "(c)?") == template.segments[:2]
    assert ("d", None) == (template.segments[3], template.tail)
    assert [("n", CONVERTERS["int"])] == list(template.parameters)


def test_tail() -> None:
    """From `<any:...>` on the rest of a path is one expression."""
    template = parse_template("/files/<any:path>/v<int:n>")

    assert ("files",) == template.segments
    assert ["path", "n"] == [name for name, _ in template.parameters]


@pytest.mark.parametrize(
    ("one", "other"), [("a", "/a"), ("/a/", "/a"), ("", "/"), ("/<any:x>/", "/<any:x>")]
)
def test_same_template(one: str, other: str) -> None:
    """The first slash may be left out, and a trailing one makes no difference."""
    assert parse_template(one).segments == parse_template(other).segments
    assert parse_template(one).tail == parse_template(other).tail


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("/<x>", "/<x>: <x> has no type; write <str:x>"),
        ("/<number:x>", "unknown parameter type 'number'; there are int, float, str, date, "),
        ("/<int:>", "'' cannot be the name of a parameter"),
        ("/<int:1a>", "'1a' cannot be the name of a parameter"),
        ("/<int:x>/<str:x>", "the parameter 'x' is there twice"),
        ("/<int:x>-<str:x>", "the parameter 'x' is there twice"),
        ("/<int:x>/<any:x>", "the parameter 'x' is there twice"),
        ("/<int:a b>", "a parameter is written <type:name>"),
        ("/<int:x", "a parameter is written <type:name>"),
        ("/int:x>", "a parameter is written <type:name>"),
        ("/<<int:x>>", "a parameter is written <type:name>"),
        ("/<int:/x>", "a parameter is written <type:name>"),
    ],
)
def test_malformed_template(template: str, message: str) -> None:
    """A mistake in a template is found at registration, and the message says what to write."""
    with pytest.raises(RouteError, match=re.escape(message)):
        parse_template(template)


# Paths


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("", []),
        ("/", []),
        ("/a", ["a"]),
        ("/a/", ["a"]),
        ("/a//", ["a", ""]),
        ("/a/b", ["a", "b"]),
        ("//", [""]),
        ("//a", ["", "a"]),
    ],
)
def test_split_path(path: str, segments: list[str]) -> None:
    """One trailing slash more or less makes no difference; other empty segments count."""
    assert segments == split_path(path)


# Hostile paths


@pytest.mark.timeout(5)  # what backtracks takes minutes, or years
@pytest.mark.parametrize(
    ("template", "segment"),
    [
        ("/<str:a>-<str:b>.json", "-" * 16_000),
        ("/<str:a>@<str:b>-<str:c>.json", "@-" * 8_000),
        ("/<str:a>-<str:b>-<str:c>-<str:d>-<str:e>x", "-" * 16_000),
        ("/<int:a><int:b><int:c><int:d>x", "1" * 16_000),
        ("/<any:a>/x/<any:b>/y", "x/" * 8_000),
        ("/<float:a>x", "1" * 8_000 + "." + "1" * 8_000),
        ("/<any:a>.json", "." * 16_000),
        *[(f"/<{kind}:x>x", character * 16_000) for kind in CONVERTERS for character in "1a.-e"],
    ],
)
def test_expressions_do_not_explode(template: str, segment: str) -> None:
    """No path of 16 KiB keeps an expression busy, however many parameters are in it."""
    assert values(template, segment) is None


@pytest.mark.parametrize(
    ("template", "longest"),
    [
        ("/<str:a>", 16_000),
        ("/<str:a>-<str:b>", 1_400),
        ("/<str:a>-<str:b>-<str:c>", 180),
        ("/<str:a>-<str:b>-<str:c>-<str:d>", 69),
    ],
)
def test_length_of_what_is_split(template: str, longest: int) -> None:
    """What several parameters share is bounded, amply; one parameter alone may be of any length."""
    segment = "a-b-c-d".ljust(longest, "x")

    assert values(template, segment) is not None
