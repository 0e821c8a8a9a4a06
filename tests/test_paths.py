"""Path templates."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from triows._converters import ANY, CONVERTERS, Converter
from triows._errors import RouteError
from triows._paths import MAX_GROUPS, Segment, convert, encode_path, parse_template, split_path


def segment_of(template: str) -> Segment:
    """Return the only segment of a template, or what `any` begins."""
    (variant,) = parse_template(template).variants
    segment = variant.tail or variant.segments[0]
    assert isinstance(segment, Segment)
    return segment


def values(template: str, text: str) -> dict[str, Any] | None:
    """Return what a template of a single segment makes of one of a path, or of what `any` gets."""
    segment = segment_of(template)
    texts = segment.split(text)
    found = None if texts is None else convert(segment.converters, texts)
    names = parse_template(template).variants[0].names
    return None if found is None else dict(zip(names, found, strict=True))


def plain(template: str) -> list[str]:
    """Return the paths that a template stands for, with the names of parameters for their text."""
    variants = parse_template(template).variants
    return [variant.build({name: f"<{name}>" for name in variant.names}) for variant in variants]


# Segments


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
        ("/<int:n>)", "7)", {"n": 7}),
        ("/[<str:a>]{2}.*", "[x]{2}.*", {"a": "x"}),
        ("/<date:a>..<date:b>", "2024-02-29..2024-02-30", None),
    ],
)
def test_literals_beside_parameters(
    template: str, segment: str, expected: dict[str, Any] | None
) -> None:
    """A segment may mix parameters with literal text; earlier parameters take what they can."""
    assert expected == values(template, segment)


@pytest.mark.parametrize(
    ("template", "text", "texts"),
    [
        ("/<any:dir>/<word:name>.txt", "a/b/c.txt", ("a/b", "c")),
        ("/<any:dir>-<word:name>.txt", "a-b/c.txt", None),
        ("/<word:name>-<any:rest>", "a-b/c", ("a", "b/c")),
        ("/<word:name>-<any:rest>", "a/b-c", None),
    ],
)
def test_only_any_takes_slashes(template: str, text: str, texts: tuple[str, ...] | None) -> None:
    """Beside an `any` the value of an app's own type lies within one segment all the same."""
    word = Converter("[^.]+", str)
    (variant,) = parse_template(template, {"any": ANY, "word": word}).variants

    assert variant.tail is not None
    assert texts == variant.tail.split(text)


COVERS = [
    ("/<str:x>", "/a", True),
    ("/<str:x>", "/<int:y>", True),
    ("/<str:x>", "/<str:y>-<int:z>", True),
    ("/<str:x>", "/a<str:y>", True),
    ("/<int:x>", "/<int:y>", True),
    ("/<int:x>", "/7", True),
    ("/<date:x>", "/2024-02-29", True),
    ("/<date:x>", "/2023-02-29", False),
    ("/<int:x>", "/a", False),
    ("/<int:x>", "/<str:y>", False),
    ("/<int:x>", "/<float:y>", False),
    ("/<str:x>-<str:y>", "/<int:x>-<int:y>", False),
    ("/<str:x>.a", "/b.a", True),
]


@pytest.mark.parametrize(("wide", "narrow", "expected"), COVERS)
def test_covers(wide: str, narrow: str, expected: bool) -> None:
    """It is known of a segment what it takes of others, where that is plain to see."""
    (other,) = parse_template(narrow).variants[0].segments

    assert expected == segment_of(wide).covers(other)


def test_nothing_is_not_covered() -> None:
    """A `str` has a character at least, so it takes no type that may be empty."""
    maybe = Converter("[a-z]*", str)
    (other,) = parse_template("/<maybe:x>", {"maybe": maybe}).variants[0].segments

    assert not segment_of("/<str:x>").covers(other)


# Templates


def test_segments() -> None:
    """Without parameters a segment is literal text; whatever would mean something in a regex."""
    (variant,) = parse_template("/a.b/(c)/[x]*/<int:n>/d").variants

    assert ("a.b", "(c)", "[x]*") == variant.segments[:3]
    assert ("d", None) == (variant.segments[4], variant.tail)
    assert [("n", CONVERTERS["int"])] == [(p.name, p.converter) for p in variant.parameters]


def test_tail() -> None:
    """From `<any:...>` on the rest of a path is one expression."""
    (variant,) = parse_template("/files/<any:path>/v<int:n>").variants

    assert ("files",) == variant.segments
    assert ("path", "n") == variant.names
    assert variant.tail is not None
    assert ("a/b", "3") == variant.tail.split("a/b/v3")


@pytest.mark.parametrize(
    ("one", "other"),
    [("a", "/a"), ("/a/", "/a"), ("", "/"), ("/<any:x>/", "/<any:x>"), ("/a(/)?", "/a")],
)
def test_same_template(one: str, other: str) -> None:
    """The first slash may be left out, and a trailing one makes no difference."""
    assert parse_template(one).variants == parse_template(other).variants


@pytest.mark.parametrize(
    ("template", "paths"),
    [
        ("/a", ["/a"]),
        ("/a(/<int:n>)?", ["/a/<n>", "/a"]),
        ("/a(/b)?(/c)?", ["/a/b/c", "/a/b", "/a/c", "/a"]),
        ("/a(/b(/c)?)?", ["/a/b/c", "/a/b", "/a"]),
        ("/f(/<str:name>(.<str:ext>)?)?", ["/f/<name>.<ext>", "/f/<name>", "/f"]),
        ("/a(/b)?(/b)?", ["/a/b/b", "/a/b", "/a"]),
        ("/a()?", ["/a"]),
        ("/(<str:lang>/)?home", ["/<lang>/home", "/home"]),
        ("(/<str:lang>)?/home", ["/<lang>/home", "/home"]),
        ("(/<int:page>)?", ["/<page>", "/"]),
        ("(/a)?b", ["/ab", "/b"]),
        ("(a)?b", ["/ab", "/b"]),
        ("/a(b)", ["/a(b)"]),
        ("/a(b", ["/a(b"]),
        ("/a)?", ["/a)?"]),
        ("/a?", ["/a?"]),
        ("/(a)(b)?", ["/(a)b", "/(a)"]),
        ("/x((a))?", ["/x(a)", "/x"]),
        ("/((a)?b)", ["/(ab)", "/(b)"]),
        ("/a(<int:n>)?", ["/a<n>", "/a"]),
    ],
)
def test_optional_groups(template: str, paths: list[str]) -> None:
    """Of `(...)?` there is a path with it and one without; other parentheses are literal."""
    assert paths == plain(template)


def test_many_groups() -> None:
    """As many optional groups as are allowed make twice as many paths each."""
    assert 2**MAX_GROUPS == len(plain("".join(f"/{i}(a)?" for i in range(MAX_GROUPS))))


@pytest.mark.parametrize("template", ["(/a)?" * 7, "/a" + "(/b" * 7 + ")?" * 7])
def test_too_many_groups(template: str) -> None:
    """A template with very many optional groups is refused, nested ones counted too."""
    with pytest.raises(RouteError, match="there may be 6 optional groups, and here are more"):
        parse_template(template)


def test_parameters() -> None:
    """A template has the parameters of all its groups, in order."""
    template = parse_template("/<int:a>(/<str:b>(/<date:c>)?)?/x(<any:d>)?")

    assert ["a", "b", "c", "d"] == [parameter.name for parameter in template.parameters]


def test_own_types() -> None:
    """The types of an app are there by their names."""
    hexadecimal = Converter("[0-9a-f]+", lambda text: int(text, 16), "{:x}".format)
    template = parse_template("/<hex:n>", {"hex": hexadecimal})

    assert [hexadecimal] == [parameter.converter for parameter in template.parameters]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("/<int:x>(/<int:x>)?", "the parameter 'x' is there twice"),
        ("(/<x>)?", "(/<x>)?: <x> has no type; write <str:x>"),
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


# Values to texts


@pytest.mark.parametrize(
    ("template", "values", "path"),
    [
        ("/a", {}, "/a"),
        ("/<int:n>", {"n": 10**30}, f"/{10**30}"),
        ("/<float:x>", {"x": 0.1}, "/0.1"),
        ("/a(/<int:n>)?", {}, "/a"),
        ("/a(/<int:n>)?", {"n": None}, "/a"),
        ("/a(/<int:n>)?", {"n": 0}, "/a/0"),
        ("/a(/b)?", {}, "/a"),
        ("/a(/<int:n>)?(/<str:s>)?", {"s": "x"}, "/a/x"),
        ("/a(/<int:n>(/<str:s>)?)?", {"n": 1, "s": "x"}, "/a/1/x"),
    ],
)
def test_choose(template: str, values: Mapping[str, Any], path: str) -> None:
    """The values decide which of a template's paths it is; an absent group's are None."""
    variant, texts = parse_template(template).choose(values)

    assert path == variant.build(texts)


@pytest.mark.parametrize(
    ("template", "values", "message"),
    [
        ("/<int:a>/<int:b>", {}, "/<int:a>/<int:b> needs a value for a, b"),
        ("/<int:a>/<int:b>", {"a": 1}, "needs a value for b"),
        ("/<int:a>", {"a": None}, "needs a value for a"),
        ("/<int:a>(/<int:b>)?", {}, "needs a value for a"),
        ("/a(/<int:b>-<int:c>)?", {"b": 1}, "needs a value for c"),
        ("/a(/<int:b>(/<int:c>)?)?", {"c": 1}, "needs a value for b"),
        ("/a", {"y": 1, "x": 1}, "/a has no parameter x, y"),
        ("/a", {"x": None}, "/a has no parameter x"),
        ("/<int:a>", {"a": "x"}, "/<int:a>: 'x' cannot be its a"),
        ("/<int:a>", {"a": True}, "True cannot be its a"),
        ("/<int:a>", {"a": 1.5}, "1.5 cannot be its a"),
        ("/<int:a>", {"a": 10**5000}, "so long an int cannot be its a"),
        ("/<float:a>", {"a": float("inf")}, "inf cannot be its a"),
        ("/<float:a>", {"a": float("nan")}, "nan cannot be its a"),
        ("/<float:a>", {"a": 10**400}, "cannot be its a"),
        ("/<str:a>", {"a": ""}, "'' cannot be its a"),
        ("/<str:a>", {"a": "b/c"}, "'b/c' cannot be its a"),
        ("/<date:a>", {"a": "2023-02-29"}, "'2023-02-29' cannot be its a"),
        ("/<alpha:a>", {"a": "a1"}, "'a1' cannot be its a"),
        ("/<uuid:a>", {"a": "x"}, "'x' cannot be its a"),
    ],
)
def test_wrong_values(template: str, values: Mapping[str, Any], message: str) -> None:
    """What is missing, unknown, or not of its type is refused by name."""
    with pytest.raises(RouteError, match=re.escape(message) + "$"):
        parse_template(template).choose(values)


@pytest.mark.parametrize("failure", [ValueError, TypeError, AttributeError, KeyError])
def test_format_that_fails(failure: type[Exception]) -> None:
    """A value that an app's own type cannot format is refused like any other."""

    def fail(value: object) -> str:
        raise failure

    template = parse_template("/<mine:x>", {"mine": Converter(".*", str, fail)})

    with pytest.raises(RouteError, match=r"^/<mine:x>: 7 cannot be its x$") as caught:
        template.choose({"x": 7})
    assert isinstance(caught.value.__cause__, failure)


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


@pytest.mark.parametrize(
    ("path", "encoded"),
    [
        ("/a-b_c.d~e", "/a-b_c.d~e"),
        ("/a b", "/a%20b"),
        ("/50%", "/50%25"),
        ("/a?b#c", "/a%3Fb%23c"),
        ("/größe", "/gr%C3%B6%C3%9Fe"),
        ("/漢", "/%E6%BC%A2"),
        ("/a:b@c!$&'()*+,;=", "/a:b@c!$&'()*+,;="),
        ("/a\\b", "/a%5Cb"),
        ("/a\n\t\0", "/a%0A%09%00"),
        ("/%2F", "/%252F"),
        ("/.../..a/a..", "/.../..a/a.."),
    ],
)
def test_encode_path(path: str, encoded: str) -> None:
    """A path is percent-encoded where it must be, and no further."""
    assert encoded == encode_path(path)


@pytest.mark.parametrize("path", ["/.", "/..", "/a/../b", "/a/./b", "/../"])
def test_dots_are_refused(path: str) -> None:
    """A client resolves `.` and `..` before it asks, encoded or not, so no such path arrives."""
    with pytest.raises(RouteError, match=r"^clients would resolve the dots of "):
        encode_path(path)


def test_surrogate_is_refused() -> None:
    """What is no Unicode text cannot be part of a URL."""
    with pytest.raises(RouteError, match=r"^'/\\udc80' has no UTF-8$"):
        encode_path("/\udc80")


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
