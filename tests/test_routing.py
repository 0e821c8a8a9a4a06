"""From a path to a route."""

import re
import string
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import date
from typing import Any, TypeAlias
from uuid import UUID

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from triows._converters import CONVERTERS, Converter
from triows._errors import RouteError
from triows._paths import parse_template
from triows._routing import SCHEMES, Router, check_host, hosts_of

ID = "12345678-1234-5678-1234-56789abcdef0"

Declared: TypeAlias = tuple[str, str | None, frozenset[str]]
"""A template, its hostname and its schemes."""


def router_of(*templates: str) -> Router[str]:
    """Return a router in which every template stands for itself."""
    router: Router[str] = Router()
    for template in templates:
        router.add(parse_template(template), template)
    return router


def test_match() -> None:
    """A path finds what was added for it, with the values of its parameters."""
    router: Router[int] = Router()
    router.add(parse_template("/"), 1)
    router.add(parse_template("/room/<int:number>/<str:name>"), 2)

    assert (1, {}) == router.match("/")
    assert (2, {"number": 7, "name": "a b"}) == router.match("/room/7/a b")


NO: dict[str, Any] | None = None

MATCHES: list[tuple[str, str, dict[str, Any] | None]] = [
    # As it stands
    ("/", "/", {}),
    ("/", "", {}),
    ("/", "//", NO),
    ("/", "/a", NO),
    ("/a/b", "/a/b", {}),
    ("/a/b", "/a/b/", {}),
    ("/a/b/", "/a/b", {}),
    ("/a/b", "/a/b//", NO),
    ("/a/b", "/a//b", NO),
    ("/a//b", "/a//b", {}),
    ("/a/b", "//a/b", NO),
    ("/a", "/A", NO),
    ("/a", "a", NO),
    ("/größe", "/größe", {}),
    ("/größe", "/GRÖSSE", NO),
    ("/a b", "/a b", {}),
    # Nothing in a literal means anything
    ("/v1.0", "/v1.0", {}),
    ("/v1.0", "/v1x0", NO),
    ("/a+", "/a+", {}),
    ("/a+", "/aa", NO),
    ("/a*", "/", NO),
    ("/[ab]", "/[ab]", {}),
    ("/[ab]", "/a", NO),
    ("/a{2}", "/aa", NO),
    ("/a|b", "/a", NO),
    ("/^a$", "/^a$", {}),
    ("/\\d", "/\\d", {}),
    ("/\\d", "/5", NO),
    ("/a(b)", "/a(b)", {}),
    ("/a(b)", "/ab", NO),
    ("/(?:a)", "/(?:a)", {}),
    ("/v<int:n>.x", "/v1.x", {"n": 1}),
    ("/v<int:n>.x", "/v1yx", NO),
    ("/(<int:n>)", "/(1)", {"n": 1}),
    ("/<str:a>+<str:b>", "/x+y", {"a": "x", "b": "y"}),
    # int
    ("/<int:n>", "/0", {"n": 0}),
    ("/<int:n>", "/-12", {"n": -12}),
    ("/<int:n>", f"/{2**64}", {"n": 2**64}),
    ("/<int:n>", f"/-{10**40}", {"n": -(10**40)}),
    ("/<int:n>", "/1.0", NO),
    ("/<int:n>", "/+1", NO),
    ("/<int:n>", "/1_0", NO),
    ("/<int:n>", "/٣", NO),
    ("/<int:n>", "/1\n", NO),
    ("/<int:n>", "/", NO),
    ("/<int:n>/", "/5", {"n": 5}),
    ("/<int:n>", "/5/", {"n": 5}),
    # float
    ("/<float:x>", "/1", {"x": 1.0}),
    ("/<float:x>", "/0.1", {"x": 0.1}),
    ("/<float:x>", "/-2.5e-7", {"x": -2.5e-7}),
    ("/<float:x>", "/9007199254740993", {"x": 9007199254740992.0}),
    ("/<float:x>", "/1e309", NO),
    ("/<float:x>", "/nan", NO),
    ("/<float:x>", "/.5", NO),
    # date
    ("/<date:d>", "/2024-02-29", {"d": date(2024, 2, 29)}),
    ("/<date:d>", "/2023-02-29", NO),
    ("/<date:d>", "/2024-13-01", NO),
    ("/<date:d>", "/2024-1-1", NO),
    ("/<date:d>", "/0000-01-01", NO),
    # str, alpha, uuid
    ("/<str:s>", "/a.b-c_d~e", {"s": "a.b-c_d~e"}),
    ("/<str:s>", "/50%", {"s": "50%"}),
    ("/<str:s>", "/%2F", {"s": "%2F"}),
    ("/<str:s>", "/漢字 🎈", {"s": "漢字 🎈"}),
    ("/<str:s>", "/a\nb", {"s": "a\nb"}),
    ("/<str:s>", "/a/b", NO),
    ("/<str:s>", "/", NO),
    ("/<str:s>/x", "//x", NO),
    ("/<alpha:s>", "/Straße", {"s": "Straße"}),
    ("/<alpha:s>", "/a1", NO),
    ("/<alpha:s>", "/a_b", NO),
    ("/<uuid:u>", f"/{ID}", {"u": UUID(ID)}),
    ("/<uuid:u>", f"/{ID.upper()}", {"u": UUID(ID)}),
    ("/<uuid:u>", f"/{ID[:-1]}", NO),
    # any
    ("/f/<any:r>", "/f", {"r": ""}),
    ("/f/<any:r>", "/f/", {"r": ""}),
    ("/f/<any:r>", "/f/a", {"r": "a"}),
    ("/f/<any:r>", "/f/a/", {"r": "a/"}),
    ("/f/<any:r>", "/f/a/b.c", {"r": "a/b.c"}),
    ("/f/<any:r>", "/f//a//", {"r": "/a//"}),
    ("/f/<any:r>", "/fa", NO),
    ("/<any:r>", "", {"r": ""}),
    ("/<any:r>", "/", {"r": ""}),
    ("/<any:r>", "//", {"r": "/"}),
    ("/f<any:r>", "/f", {"r": ""}),
    ("/f<any:r>", "/f/a", {"r": "/a"}),
    ("/<any:r>/edit", "/a/b/edit", {"r": "a/b"}),
    ("/<any:r>/edit", "/a/b/edit/", {"r": "a/b"}),
    ("/<any:r>/edit", "//edit", {"r": ""}),
    ("/<any:r>/edit", "/edit", NO),
    ("/<int:n>/<any:r>", "/1/a/b", {"n": 1, "r": "a/b"}),
    ("/<int:n>/<any:r>", "/x/a/b", NO),
    # Several in a segment
    ("/<str:a>-<str:b>", "/x-y-z", {"a": "x-y", "b": "z"}),
    ("/<int:a>-<int:b>", "/1--2", {"a": 1, "b": -2}),
    ("/<str:name>.<str:ext>", "/a.tar.gz", {"name": "a.tar", "ext": "gz"}),
    ("/<alpha:a><int:b>", "/ab12", {"a": "ab", "b": 12}),
    # Optional groups
    ("/p(/<int:n>)?", "/p", {"n": None}),
    ("/p(/<int:n>)?", "/p/", {"n": None}),
    ("/p(/<int:n>)?", "/p/2", {"n": 2}),
    ("/p(/<int:n>)?", "/p/2/", {"n": 2}),
    ("/p(/<int:n>)?", "/p/x", NO),
    ("/p(/<int:n>)?(/<str:s>)?", "/p/2/x", {"n": 2, "s": "x"}),
    ("/p(/<int:n>)?(/<str:s>)?", "/p/x", {"n": None, "s": "x"}),
    ("/p(/<int:n>)?(/<str:s>)?", "/p/2", {"n": 2, "s": None}),
    ("/p(/<date:d>)?(/<str:s>)?", "/p/2023-02-29", {"d": None, "s": "2023-02-29"}),
    ("/p(/<int:n>(/<str:s>)?)?", "/p/2/x", {"n": 2, "s": "x"}),
    ("/p(/<int:n>(/<str:s>)?)?", "/p/x", NO),
    ("/f/<str:name>(.<str:ext>)?", "/f/a.b.c", {"name": "a.b", "ext": "c"}),
    ("/f/<str:name>(.<str:ext>)?", "/f/a", {"name": "a", "ext": None}),
    ("/f/<str:name>(.<str:ext>)?", "/f/a.", {"name": "a.", "ext": None}),
    ("/f(/<str:name>(.<str:ext>)?)?", "/f", {"name": None, "ext": None}),
    ("/f/<any:path>(.<str:ext>)?", "/f/a/b.c", {"path": "a/b", "ext": "c"}),
    ("/f/<any:path>(.<str:ext>)?", "/f/a/b", {"path": "a/b", "ext": None}),
    ("(/<alpha:lang>)?/home", "/de/home", {"lang": "de"}),
    ("(/<alpha:lang>)?/home", "/home", {"lang": None}),
    ("/a(/b)?", "/a/b", {}),
    ("/a(/b)?", "/a", {}),
    ("/a(/b)?", "/a(/b)?", NO),
    ("/colo(u)?r", "/color", {}),
    ("/colo(u)?r", "/colour", {}),
    ("/(a)(b)?", "/(a)b", {}),
    ("/x((a))?", "/x(a)", {}),
    ("/a?", "/a?", {}),
    ("/a?", "/", NO),
]


@pytest.mark.parametrize(("template", "path", "expected"), MATCHES)
def test_paths(template: str, path: str, expected: dict[str, Any] | None) -> None:
    """What a path, percent-decoded, gives a template; None where it is another's."""
    found = router_of(template).match(path)

    assert expected == (None if found is None else found[1])


def test_empty_router() -> None:
    """An app without routes finds nothing."""
    assert None is Router[str]().match("/")


@pytest.mark.parametrize("path", ["room", "x/room", "*", "http://localhost/room"])
def test_target_that_is_no_path(path: str) -> None:
    """What does not begin with a slash is no path, and must not get past a proxy's rules as one."""
    assert None is router_of("/", "/room", "/<str:a>/room", "/<any:rest>").match(path)


@pytest.mark.parametrize(
    ("templates", "path", "expected"),
    [
        (["/x", "/<str:a>"], "/x", "/x"),
        (["/<int:a>", "/<str:a>"], "/7", "/<int:a>"),
        (["/<float:a>", "/<int:a>"], "/7", "/<float:a>"),
        (["/<any:a>/z", "/x/y/z"], "/x/y/z", "/<any:a>/z"),
        (["/x/<any:a>", "/<any:a>"], "/x/y", "/x/<any:a>"),
        (["/<str:a>/y", "/x/<str:b>"], "/x/y", "/<str:a>/y"),
        (["/x/<str:b>", "/<str:a>/y"], "/x/y", "/x/<str:b>"),
        (["/<str:a>/z", "/x/<str:b>"], "/x/y", "/x/<str:b>"),
        (["/x(/<int:a>)?", "/<str:a>"], "/x", "/x(/<int:a>)?"),
        (["/<str:a>", "/x(/<int:a>)?"], "/x", "/<str:a>"),
        (["/<str:a>", "/x(/<int:a>)?"], "/x/1", "/x(/<int:a>)?"),
        (["/<int:a>(/<str:b>)?", "/<str:a>/<any:b>"], "/x/y", "/<str:a>/<any:b>"),
    ],
)
def test_first_declared_wins(templates: list[str], path: str, expected: str) -> None:
    """Of several templates that match, the first declared is taken, not the most literal."""
    found = router_of(*templates).match(path)

    assert found is not None
    assert expected == found[0]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/2024-02-29", "/<date:day>"),
        ("/2023-02-29", "/<str:text>"),
        ("/1e3", "/<float:number>"),
        ("/1e999", "/<str:text>"),
    ],
)
def test_value_that_does_not_convert(path: str, expected: str) -> None:
    """A path that looks like a value but is none goes on to the next route."""
    found = router_of("/<date:day>", "/<float:number>", "/<str:text>").match(path)

    assert found is not None
    assert expected == found[0]


def test_value_that_an_own_type_refuses() -> None:
    """A ValueError of an app's own type means: try the next route."""

    def even(text: str) -> int:
        if int(text) % 2:
            raise ValueError
        return int(text)

    converters = {**CONVERTERS, "even": Converter("[0-9]+", even)}
    router: Router[str] = Router()
    router.add(parse_template("/<even:n>", converters), "even")
    router.add(parse_template("/<int:n>"), "any")

    assert [("even", {"n": 2}), ("any", {"n": 3})] == [router.match("/2"), router.match("/3")]


# Hosts and schemes


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("example.org", ["example.org"]),
        ("EXAMPLE.org:8000", ["example.org:8000", "example.org"]),
        ("example.org:", ["example.org:", "example.org"]),
        ("127.0.0.1:80", ["127.0.0.1:80", "127.0.0.1"]),
        ("[::1]", ["[::1]"]),
        ("[::1]:8000", ["[::1]:8000", "[::1]"]),
        ("", [""]),
    ],
)
def test_hosts_of(host: str, names: list[str]) -> None:
    """A Host header answers to its name with the port and without, in small letters."""
    assert names == hosts_of(host)


@pytest.mark.parametrize(
    ("hostname", "host", "is_found"),
    [
        (None, "a.org", True),
        (None, "", True),
        ("a.org", "a.org", True),
        ("a.org", "A.ORG", True),
        ("A.org", "a.org", True),
        ("a.org", "a.org:8000", True),
        ("a.org:8000", "a.org:8000", True),
        ("a.org:8000", "a.org", False),
        ("a.org:8000", "a.org:80", False),
        ("a.org", "b.org", False),
        ("a.org", "x.a.org", False),
        ("a.org", "a.org.evil", False),
        ("a.org", "", False),
        ("[::1]", "[::1]:8000", True),
    ],
)
def test_hostname(hostname: str | None, host: str, is_found: bool) -> None:
    """A route for a host answers there alone, in any case, and on any port unless it has one."""
    router: Router[int] = Router()
    router.add(parse_template("/a"), 1, hostname=hostname)

    assert ((1, {}) if is_found else None) == router.match("/a", host=host)


def test_first_declared_wins_across_hosts() -> None:
    """A route for all hosts and one for this are in the order in which they were declared."""
    router: Router[int] = Router()
    router.add(parse_template("/a/<int:n>"), 1, hostname="a.org")
    router.add(parse_template("/a/<str:s>"), 2)
    router.add(parse_template("/<str:s>/b"), 3, hostname="a.org:80")

    found = [
        router.match(path, host=host)
        for path, host in [
            ("/a/1", "a.org"),
            ("/a/1", "b.org"),
            ("/a/b", "a.org:80"),
            ("/x/b", "a.org:80"),
            ("/x/b", "a.org"),
        ]
    ]

    assert [1, 2, 2, 3, None] == [hit and hit[0] for hit in found]


def test_schemes() -> None:
    """A route for one scheme lets the other pass to the next; without a scheme both do."""
    router: Router[int] = Router()
    router.add(parse_template("/a"), 1, schemes=frozenset({"wss"}))
    router.add(parse_template("/a"), 2)

    found = [router.match("/a", scheme=scheme) for scheme in ("wss", "ws", None)]

    assert [1, 2, 1] == [hit and hit[0] for hit in found]


# Reading back


@pytest.mark.parametrize(
    ("template", "path", "texts"),
    [
        ("/<int:n>", "/007", {"n": "007"}),
        ("/<str:a>-<str:b>", "/x-y-z", {"a": "x-y", "b": "z"}),
        ("/a(/<int:n>)?", "/a", {}),
        ("/<date:d>", "/2023-02-29", None),
        ("/a", "/b", None),
    ],
)
def test_read(template: str, path: str, texts: dict[str, str] | None) -> None:
    """The texts of a path's parameters are those that a match would convert."""
    assert texts == router_of(template).read(path)


# Routes that could not be reached


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/a", "/a"),
        ("/a", "a/"),
        ("/<int:a>", "/<int:b>"),
        ("/<int:a>", "/7"),
        ("/<str:a>", "/x"),
        ("/<str:a>", "/<int:b>"),
        ("/<str:a>", "/<str:b>.json"),
        ("/<str:a>.json", "/x.json"),
        ("/<date:a>", "/2024-02-29"),
        ("/<str:a>/b", "/a/b"),
        ("/<str:a>/<str:b>", "/a/<int:n>"),
        ("/<any:a>", "/"),
        ("/<any:a>", "/x/y/<int:n>"),
        ("/<any:a>", "/x/<any:b>"),
        ("/x/<any:a>", "/x"),
        ("/x/<any:a>", "/x/<any:b>/"),
        ("/x/<any:a>.json", "/x/<any:b>.json"),
        ("/a(/<int:n>)?", "/a"),
        ("/a(/<int:n>)?", "/a/<int:n>"),
        ("/a(/<int:n>)?", "/a(/<int:m>)?"),
        ("/a(/<str:n>)?", "/a(/<int:m>)?"),
        ("/<any:a>", "/a(/<int:m>)?"),
        ("/a(/b)?(/c)?", "/a/b(/c)?"),
    ],
)
def test_unreachable(first: str, second: str) -> None:
    """A route is refused if one that was declared before takes all that it could."""
    router = router_of(first)
    a, b = parse_template(first), parse_template(second)
    message = (
        f"the route {b.text} can never be reached: {a.text}, which was declared before, "
        "takes all that it could"
    )

    with pytest.raises(RouteError, match=f"^{re.escape(message)}$"):
        router.add(b, second)


@pytest.mark.parametrize(
    ("first", "second", "path"),
    [
        ("/a", "/A", "/A"),
        ("/<int:a>", "/<str:b>", "/x"),
        ("/<int:a>", "/<float:b>", "/1.5"),
        ("/<date:a>", "/2023-02-29", "/2023-02-29"),
        ("/<int:a>", "/" + "9" * 5000, "/" + "9" * 5000),
        ("/<str:a>", "/<str:b>/c", "/b/c"),
        ("/<str:a>", "/", "/"),
        ("/<str:a>/x", "//x", "//x"),
        ("/<str:a>", "/<any:b>", "/b/c"),
        ("/x/<str:a>", "/x/<any:b>", "/x"),
        ("/x/<any:a>", "/<any:b>", "/y"),
        ("/x/<any:a>", "/x<any:b>", "/xy"),
        ("/<any:a>.json", "/<any:b>", "/x"),
        ("/<str:a>/y", "/x/<str:b>", "/x/z"),
        ("/a", "/a(/<int:n>)?", "/a/1"),
        ("/a/<int:n>", "/a(/<int:n>)?", "/a"),
        ("/a(/<int:n>)?", "/a(/<str:n>)?", "/a/x"),
        ("/a(/<int:n>)?", "/a(/<int:n>(/<int:m>)?)?", "/a/1/2"),
        ("/<str:a>-<str:b>", "/<str:c>", "/c"),
        ("/<str:a>-<str:b>", "/<str:c>-d", "/" + "c" * 2000 + "-d"),
    ],
)
def test_overlap_is_allowed(first: str, second: str, path: str) -> None:
    """A route that takes a single path that the earlier ones do not is none too many."""
    found = router_of(first, second).match(path)

    assert found is not None
    assert second == found[0]


WS, WSS = frozenset({"ws"}), frozenset({"wss"})


@pytest.mark.parametrize(
    ("first", "second", "is_refused"),
    [
        ((None, SCHEMES), ("a.org", SCHEMES), True),
        (("a.org", SCHEMES), (None, SCHEMES), False),
        (("a.org", SCHEMES), ("A.org", SCHEMES), True),
        (("a.org", SCHEMES), ("a.org:80", SCHEMES), True),
        (("a.org:80", SCHEMES), ("a.org", SCHEMES), False),
        (("a.org:80", SCHEMES), ("a.org:81", SCHEMES), False),
        (("a.org", SCHEMES), ("b.org", SCHEMES), False),
        ((None, SCHEMES), (None, WSS), True),
        ((None, WSS), (None, SCHEMES), False),
        ((None, WSS), (None, WS), False),
        ((None, WSS), (None, WSS), True),
        ((None, WSS), ("a.org", WSS), True),
        ((None, WSS), ("a.org", WS), False),
        (("a.org", WSS), (None, WSS), False),
    ],
)
def test_unreachable_with_hosts_and_schemes(
    first: tuple[str | None, frozenset[str]],
    second: tuple[str | None, frozenset[str]],
    is_refused: bool,
) -> None:
    """A route takes from another only what comes to its own host by its own schemes."""
    router: Router[int] = Router()
    template = parse_template("/a")
    router.add(template, 1, hostname=first[0], schemes=first[1])

    try:
        router.add(template, 2, hostname=second[0], schemes=second[1])
    except RouteError:
        assert is_refused
    else:
        assert not is_refused


def test_each_path_of_a_route_taken_by_another() -> None:
    """It takes a single earlier route to make one unreachable: several are not looked for."""
    router = router_of("/a", "/a/<int:n>", "/a(/<int:n>)?")

    assert ("/a", {}) == router.match("/a")
    assert ("/a/<int:n>", {"n": 1}) == router.match("/a/1")


def test_first_of_those_that_take_it_is_named() -> None:
    """Of several routes that make a new one unreachable the message names the first."""
    router = router_of("/<int:a>", "/<str:a>", "/<any:a>")

    with pytest.raises(RouteError, match=r"reached: /<int:a>, which was declared before"):
        router.add(parse_template("/7"), "/7")


def test_refused_template_leaves_no_trace() -> None:
    """A template that was refused does not change what the others match."""
    router = router_of("/a/<str:x>")

    with pytest.raises(RouteError):
        router.add(parse_template("/a/b"), "wrong", hostname="a.org")

    assert ("/a/<str:x>", {"x": "b"}) == router.match("/a/b", host="a.org")


# The same, by the plainest means


def naive_match(
    table: Sequence[Declared], path: str, host: str, scheme: str
) -> tuple[int, dict[str, Any]] | None:
    """Try one template after the other, each path of it a regular expression for whole paths."""
    for i, (template, hostname, schemes) in enumerate(table):
        name = hostname if hostname is None or ":" in hostname else hostname.partition(":")[0]
        if scheme in schemes and name in (None, host, host.partition(":")[0]):
            for variant in expand(template):
                values = naive_values(variant.removesuffix("/"), path)
                if values is not None:
                    absent = dict.fromkeys(re.findall("<[a-z]+:([a-z]+)>", template))
                    return i, {**absent, **values}
    return None


def expand(template: str) -> Iterator[str]:
    """Yield the paths of a template, whose optional groups are not nested."""
    group = re.search(r"\(([^()]*)\)\?", template)
    if group is None:
        yield template
    else:
        for text in (group[1], ""):
            yield from expand(template[: group.start()] + text + template[group.end() :])


def naive_values(variant: str, path: str) -> dict[str, Any] | None:
    """Return the values of a path's parameters, or None."""
    regex = re.compile(full_regex(variant), re.DOTALL)
    stripped = path.removesuffix("/")
    match = regex.fullmatch(stripped)
    if "<any:" in variant:
        match = regex.fullmatch(path) or match
    if match is None and re.search("/<any:[a-z]+>$", variant):
        match = regex.fullmatch(f"{stripped}/")
    if match is not None:
        with suppress(ValueError):
            return convert(variant, match.groups())
    return None


def full_regex(template: str) -> str:
    """Return the template as a regular expression, its parameters as groups."""
    literals = re.split("<[a-z]+:[a-z]+>", template)
    kinds = re.findall("<([a-z]+):[a-z]+>", template)
    groups = [f"({CONVERTERS[kind].regex})" for kind in kinds]
    return "".join(
        re.escape(literal) + group for literal, group in zip(literals, [*groups, ""], strict=True)
    )


def convert(template: str, texts: Sequence[str]) -> dict[str, Any]:
    """Return the values of the captured texts by name."""
    parameters = re.findall("<([a-z]+):([a-z]+)>", template)
    return {
        name: CONVERTERS[kind].parse(text)
        for (kind, name), text in zip(parameters, texts, strict=True)
    }


LITERALS = ["", "a", "b", "1", "-", ".", "a-1"]
KINDS = [kind for kind in CONVERTERS if kind not in ("any", "uuid")]
TEXTS = ["", "a", "b", "1", "-1", "a-1", "a-b-1", "1.5", "1e999", "2024-02-29", "2023-02-29", "."]


@st.composite
def templates(draw: st.DrawFn) -> str:
    """Draw a template of up to four segments, each maybe optional, with one `any` at most."""
    names = iter(string.ascii_lowercase)
    segments = draw(
        st.lists(
            st.lists(st.sampled_from(LITERALS) | st.sampled_from([*KINDS, "any"]), max_size=3),
            max_size=4,
        )
    )
    pieces = [
        "/" + "".join(f"<{p}:{next(names)}>" if p in CONVERTERS else p for p in segment)
        for segment in segments
    ]
    template = "".join(
        f"({piece})?" if i and draw(st.integers(0, 3)) == 0 else piece
        for i, piece in enumerate(pieces)
    )
    assume(template.count("<any:") <= 1)
    return template or "/"


paths = st.lists(st.sampled_from(TEXTS), max_size=5).map(lambda parts: "/" + "/".join(parts))
hosts = st.sampled_from(["a.org", "a.org:80", "b.org:80"])
hostnames = st.sampled_from([None, None, "a.org", "a.org:80", "b.org"])
schemes = st.sampled_from([SCHEMES, SCHEMES, WS, WSS])
declared = st.tuples(templates(), hostnames, schemes)


def everywhere(*templates: str) -> list[Declared]:
    """Return templates as they are declared for all hosts and schemes."""
    return [(template, None, SCHEMES) for template in templates]


@given(st.lists(declared, max_size=8), paths, hosts, st.sampled_from(sorted(SCHEMES)))
@example(everywhere("/<any:p>"), "/", "a.org", "ws")
@example(everywhere("/a/<any:p>", "/a"), "/a", "a.org", "ws")
@example(everywhere("/<date:p>", "/<str:q>"), "/2023-02-29", "a.org", "ws")
def test_like_a_linear_scan(table: list[Declared], path: str, host: str, scheme: str) -> None:
    """Any table and any path: the answer is that of a scan in which the first declared wins."""
    router: Router[int] = Router()
    for i, (template, hostname, wanted) in enumerate(table):
        with suppress(RouteError):  # never to be reached, as the scan must find, too
            router.add(parse_template(template), i, hostname=hostname, schemes=wanted)

    assert naive_match(table, path, host, scheme) == router.match(path, host=host, scheme=scheme)


@st.composite
def overlapping(draw: st.DrawFn) -> str:
    """Draw a template out of little, so that two are often alike."""
    names = iter(string.ascii_lowercase)
    segments = draw(
        st.lists(st.sampled_from(["a", "1", "<int:", "<str:", "<str:", "<any:"]), max_size=3)
    )
    pieces = [f"/{s}{next(names)}>" if s.startswith("<") else f"/{s}" for s in segments]
    if len(pieces) > 1 and draw(st.booleans()):
        pieces[-1] = f"({pieces[-1]})?"
    return "".join(pieces) or "/"


SHORT_PATHS = ["/", *(f"/{a}" for a in "a1x"), *(f"/{a}/{b}" for a in "a1x" for b in "a1x")] + [
    f"/{a}/{b}/{c}" for a in "a1x" for b in "a1x" for c in "a1x"
]


@given(st.lists(st.tuples(overlapping(), hostnames, schemes), min_size=2, max_size=6))
def test_what_is_refused_would_never_be_reached(table: list[Declared]) -> None:
    """Whatever a refused route matches by itself, an earlier one matches before it."""
    router: Router[int] = Router()
    for i, (text, hostname, wanted) in enumerate(table):
        template = parse_template(text)
        try:
            router.add(template, i, hostname=hostname, schemes=wanted)
        except RouteError:
            alone: Router[int] = Router()
            alone.add(template, i, hostname=hostname, schemes=wanted)
            for host in ("a.org", "a.org:80", "b.org:80"):
                for scheme in SCHEMES:
                    taken = [p for p in SHORT_PATHS if alone.match(p, host=host, scheme=scheme)]
                    assert all(router.match(p, host=host, scheme=scheme) for p in taken)


@given(st.text())
def test_any_text_is_a_path(path: str) -> None:
    """No path makes a look-up fail."""
    router_of("/", "/<int:a>", "/<str:a>/<str:b>-<str:c>", "/x/<any:rest>").match(path)


# Cost


def calls_of(call: Callable[[], object]) -> int:
    """Count the calls that it makes, of Python's functions and of C's."""
    count = 0

    def profile(*_: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.timeout(5)  # what backtracks takes minutes, or years
@pytest.mark.parametrize("filler", ["/", "/a", "a", "/-"])
def test_long_path_costs_little(filler: str) -> None:
    """What a path costs grows with its length at most, whatever it is made of."""
    router = router_of("/<str:a>-<str:b>.x", "/a/<any:r>/x", "/<any:r>/y", "/<str:a>/<any:r>")
    short, long = "/" + filler * 1_000, "/" + filler * 16_000

    assert calls_of(lambda: router.match(long)) <= 20 * calls_of(lambda: router.match(short))


def test_a_hundred_routes_cost_what_one_does() -> None:
    """Of a hundred routes with two parameters each the last is found like the only one."""
    few = router_of("/section0/<int:a>/item/<str:b>")
    many = router_of(*[f"/section{i}/<int:a>/item/<str:b>" for i in range(100)])
    path = "/section99/7/item/x"

    assert ("/section99/<int:a>/item/<str:b>", {"a": 7, "b": "x"}) == many.match(path)
    assert calls_of(lambda: few.match("/section0/7/item/x")) == calls_of(lambda: many.match(path))


def test_number_of_routes_does_not_count() -> None:
    """Ten thousand routes that begin in their own ways are looked up like one."""
    few = router_of("/page0/<int:n>")
    many = router_of(*[f"/page{i}/<int:n>" for i in range(10_000)])

    assert ("/page9999/<int:n>", {"n": 1}) == many.match("/page9999/1")
    assert calls_of(lambda: few.match("/page0/1")) == calls_of(lambda: many.match("/page9999/1"))


@pytest.mark.parametrize(
    ("host", "checked"),
    [
        (None, None),
        ("example.org", "example.org"),
        ("Example.ORG:8000", "example.org:8000"),
        ("my_service", "my_service"),
        ("[::1]:8000", "[::1]:8000"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_host(host: str | None, checked: str | None) -> None:
    """A host is a name or an address, in any case, with a port or without."""
    assert checked == check_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        " example.org",
        "https://example.org",
        "example.org/",
        "*.org",
        "b\u00fccher.example",
        "a?b#c@d",
    ],
)
def test_what_is_no_host(host: str) -> None:
    """Neither a URL nor a pattern, and nothing that would end up raw in a URL."""
    with pytest.raises(RouteError, match="is no host: write"):
        check_host(host)
