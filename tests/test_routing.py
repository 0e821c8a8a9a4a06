"""From a path to a route."""

import re
import string
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from triows._errors import RouteError
from triows._paths import CONVERTERS
from triows._routing import Router


def router_of(*templates: str) -> Router[str]:
    """Return a router in which every template stands for itself."""
    router: Router[str] = Router()
    for template in templates:
        router.add(template, template)
    return router


def test_match() -> None:
    """A path finds what was added for it, with the values of its parameters."""
    router: Router[int] = Router()
    router.add("/", 1)
    router.add("/room/<int:number>/<str:name>", 2)

    assert (1, {}) == router.match("/")
    assert (2, {"number": 7, "name": "a b"}) == router.match("/room/7/a b")


@pytest.mark.parametrize("path", ["/rooms", "/room", "/room/x", "/room/7/y", "/ROOM/7", "//room/7"])
def test_no_match(path: str) -> None:
    """A path that fits no template as a whole, to the letter, finds nothing."""
    assert None is router_of("/room/<int:number>").match(path)


def test_empty_router() -> None:
    """An app without routes finds nothing."""
    assert None is Router[str]().match("/")


@pytest.mark.parametrize("declared", ["/a", "/a/"])
@pytest.mark.parametrize("path", ["/a", "/a/"])
def test_trailing_slash(declared: str, path: str) -> None:
    """A trailing slash is tolerated both ways, one of them."""
    assert router_of(declared).match(path) is not None
    assert None is router_of(declared).match("/a//")


@pytest.mark.parametrize("path", ["", "/"])
def test_root(path: str) -> None:
    """The root has a slash, or none where an app is mounted."""
    assert ("/", {}) == router_of("/").match(path)


@pytest.mark.parametrize("path", ["room", "x/room", "*", "http://localhost/room"])
def test_target_that_is_no_path(path: str) -> None:
    """What does not begin with a slash is no path, and must not get past a proxy's rules as one."""
    assert None is router_of("/", "/room", "/<str:a>/room", "/<any:rest>").match(path)


@pytest.mark.parametrize(
    ("templates", "path", "expected"),
    [
        (["/<str:a>", "/x"], "/x", "/<str:a>"),
        (["/x", "/<str:a>"], "/x", "/x"),
        (["/<int:a>", "/<str:a>"], "/7", "/<int:a>"),
        (["/<str:a>", "/<int:a>"], "/7", "/<str:a>"),
        (["/<any:a>", "/x/y"], "/x/y", "/<any:a>"),
        (["/x/<any:a>", "/<any:a>"], "/x/y", "/x/<any:a>"),
        (["/<str:a>/y", "/x/<str:b>"], "/x/y", "/<str:a>/y"),
        (["/x/<str:b>", "/<str:a>/y"], "/x/y", "/x/<str:b>"),
        (["/<str:a>/z", "/x/<str:b>"], "/x/y", "/x/<str:b>"),
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


@pytest.mark.parametrize(
    ("path", "rest"), [("/f", ""), ("/f/", ""), ("/f/a/b", "a/b"), ("/f//a/", "/a")]
)
def test_rest_of_the_path(path: str, rest: str) -> None:
    """`any` takes the rest of the path, slashes and all, or nothing."""
    assert ("/f/<any:rest>", {"rest": rest}) == router_of("/f/<any:rest>").match(path)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/a", "/a"),
        ("/a", "a/"),
        ("/<int:a>", "/<int:b>"),
        ("/x/<any:a>", "/x/<any:b>/"),
    ],
)
def test_declared_twice(first: str, second: str) -> None:
    """A template that could never be reached, because the same was there before, is refused."""
    router = router_of(first)

    with pytest.raises(RouteError, match=r"^the path /.* was declared before$"):
        router.add(second, second)


def test_refused_template_leaves_no_trace() -> None:
    """A template that was refused does not change what the others match."""
    router = router_of("/a/<str:x>")

    with pytest.raises(RouteError):
        router.add("/a/<nothing:x>", "wrong")

    assert ("/a/<str:x>", {"x": "b"}) == router.match("/a/b")


# The same, by the plainest means


def naive_match(templates: Sequence[str], path: str) -> tuple[str, dict[str, Any]] | None:
    """Try one template after the other, each a regular expression for whole paths."""
    path = path.removesuffix("/")
    for template in templates:
        regex = re.compile(full_regex(template.removesuffix("/")), re.DOTALL)
        match = regex.fullmatch(path)
        if match is None and re.search("<any:[a-z]+>$", template.removesuffix("/")):
            match = regex.fullmatch(f"{path}/")
        if match is not None:
            try:
                return template, convert(template, match.groups())
            except ValueError:
                continue
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
    """Draw a template of up to four segments, with at most one `any` in it."""
    names = iter(string.ascii_lowercase)
    segments = draw(
        st.lists(
            st.lists(st.sampled_from(LITERALS) | st.sampled_from([*KINDS, "any"]), max_size=3),
            max_size=4,
        )
    )
    pieces = [
        [f"<{piece}:{next(names)}>" if piece in CONVERTERS else piece for piece in segment]
        for segment in segments
    ]
    template = "/" + "/".join("".join(segment) for segment in pieces)
    assume(template.count("<any:") <= 1)
    return template


paths = st.lists(st.sampled_from(TEXTS), max_size=5).map(lambda parts: "/" + "/".join(parts))


@given(st.lists(templates(), max_size=8), paths)
@example(["/<any:p>"], "/")
@example(["/a/<any:p>", "/a"], "/a")
@example(["/<date:p>", "/<str:q>"], "/2023-02-29")
def test_like_a_linear_scan(table: list[str], path: str) -> None:
    """Any table and any path: the answer is that of a scan in which the first declared wins."""
    router: Router[str] = Router()
    for template in table:
        with suppress(RouteError):  # declared before, and so never to be reached
            router.add(template, template)

    assert naive_match(table, path) == router.match(path)


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
    router = router_of("/<str:a>/<any:r>", "/<str:a>-<str:b>.x", "/a/<any:r>/x", "/<any:r>/y")
    short, long = "/" + filler * 1_000, "/" + filler * 16_000

    assert calls_of(lambda: router.match(long)) <= 20 * calls_of(lambda: router.match(short))


def test_number_of_routes_does_not_count() -> None:
    """Ten thousand routes that begin in their own ways are looked up like one."""
    few = router_of("/page0/<int:n>")
    many = router_of(*[f"/page{i}/<int:n>" for i in range(10_000)])

    assert ("/page9999/<int:n>", {"n": 1}) == many.match("/page9999/1")
    assert calls_of(lambda: few.match("/page0/1")) == calls_of(lambda: many.match("/page9999/1"))
