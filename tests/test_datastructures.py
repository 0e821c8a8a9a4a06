"""What the application reads of a request: headers, cookies and query parameters."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from triows._datastructures import Headers, parse_cookies, parse_query, sdict

RAW_HEADERS = st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=8)))


# sdict


def test_sdict_items_are_attributes() -> None:
    """An item is read, set and deleted as an attribute, or by subscription."""
    state = sdict(a=1)
    state.b = 2
    state["c"] = 3
    del state.a

    assert {"b": 2, "c": 3} == state
    assert (2, 3) == (state["b"], state.c)


def test_sdict_missing_is_none() -> None:
    """What is not there is None, is not added by asking, and may be deleted."""
    params = sdict()

    assert (None, None) == (params.page, params["page"])
    del params.page
    assert {} == params


def test_sdict_is_a_dict() -> None:
    """`in`, `get` and the constructor work as for any dict."""
    params = sdict({"a": 1}, b=None)

    assert "b" in params
    assert "c" not in params
    assert 7 == params.get("c", 7)


def test_sdict_item_named_like_a_method() -> None:
    """A parameter that is called like a method of dict is reached by subscription."""
    params = sdict(items="3")

    assert "3" == params["items"]
    assert [("items", "3")] == list(params.items())


def test_sdict_has_no_magic_attributes() -> None:
    """Tools that look for special methods get a plain no, not None to be called."""
    assert not hasattr(sdict(), "__html__")


@pytest.mark.parametrize(
    "copied",
    [sdict.copy, copy.copy, copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state))],  # noqa: S301
    ids=["method", "copy", "deepcopy", "pickle"],
)
def test_sdict_copies(copied: Callable[[sdict], sdict]) -> None:
    """A copy is an sdict with the same items, and independent."""
    original = sdict(a=1)
    other = copied(original)
    other.b = 2

    assert (sdict, {"a": 1, "b": 2}) == (type(other), other)
    assert {"a": 1} == original


@given(st.dictionaries(st.text(), st.integers()), st.text())
def test_sdict_reads_like_its_dict(items: dict[str, int], name: str) -> None:
    """Any name gives the item or None; only attributes of dict come before the items."""
    state = sdict(items)

    assert items.get(name) == state[name]
    if not hasattr(dict, name) and not name.startswith("__"):
        assert items.get(name) == getattr(state, name)


# Headers


def test_headers_are_case_insensitive() -> None:
    """A name is found however it is written, by both sides."""
    headers = Headers([(b"Content-Type", b"text/plain"), (b"x-a", b"1")])

    assert "text/plain" == headers["content-type"] == headers["CONTENT-TYPE"]
    assert "X-A" in headers
    assert ["content-type", "x-a"] == list(headers)


def test_repeated_header() -> None:
    """A repeated name is one key: the first value counts, and all of them are to be had."""
    headers = Headers([(b"a", b"1"), (b"b", b"2"), (b"A", b"3")])

    assert "1" == headers["a"]
    assert ["1", "3"] == headers.get_all("a")
    assert {"a": "1", "b": "2"} == dict(headers)
    assert 2 == len(headers)


@pytest.mark.parametrize("name", ["b", "", "ŵ", "漢", "\ud800", "?"])
def test_missing_header(name: str) -> None:
    """A name that is not there is a KeyError, None from `get`, and [] from `get_all`."""
    headers = Headers([(b"a", b"1")])

    with pytest.raises(KeyError, match=repr(name).replace("?", r"\?").replace("\\ud", r"\\ud")):
        headers[name]
    assert name not in headers
    assert None is headers.get(name)
    assert [] == headers.get_all(name)


def test_header_names_outside_ascii() -> None:
    """A name that no header can have is not mixed up with one that merely looks like it."""
    headers = Headers([(b"?", b"1"), (b"\xc0", b"2")])

    assert "ŵ" not in headers
    assert "2" == headers["\xc0"]


def test_headers_are_shown() -> None:
    """In a debugger the headers are there as they came, and `raw` has the very list."""
    raw = [(b"Cookie", b"a=\xfc")]

    assert "Headers([('Cookie', 'a=ü')])" == repr(Headers(raw))
    assert raw is Headers(raw).raw


@given(RAW_HEADERS)
@example([(b"\xc0", b"")])
def test_headers_are_a_mapping(raw: list[tuple[bytes, bytes]]) -> None:
    """Of any bytes: every name that iterating gives can be looked up, and nothing is lost."""
    headers = Headers(raw)

    assert len(headers) == len(dict(headers))
    assert all(name in headers for name in headers)
    assert len(raw) == sum(len(headers.get_all(name)) for name in headers)


@pytest.mark.timeout(5)  # what is quadratic takes far longer
def test_many_headers_cost_little() -> None:
    """A request full of tiny headers is turned into a dict in linear time."""
    headers = Headers([(b"%x" % i, b"") for i in range(20_000)])

    assert 20_000 == len(dict(headers))


# Cookies


def cookies(*fields: bytes) -> dict[str, str]:
    """Return the cookies of a request with these Cookie headers."""
    return parse_cookies(Headers([(b"cookie", field) for field in fields]))


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"", {}),
        (b"a=1", {"a": "1"}),
        (b"a=1; b=2", {"a": "1", "b": "2"}),
        (b"a=1;b=2;", {"a": "1", "b": "2"}),
        (b" a = 1 ;\tb\t=\t2\t", {"a": "1", "b": "2"}),
        (b"a=", {"a": ""}),
        (b"a=b=c==", {"a": "b=c=="}),
        (b'a="b c"', {"a": "b c"}),
        (b'a="', {"a": '"'}),
        (b'a=""', {"a": ""}),
        (b'a=b"c"', {"a": 'b"c"'}),
        (b"a=%20", {"a": "%20"}),
        (b"a=\xfc", {"a": "ü"}),
    ],
)
def test_cookies(field: bytes, expected: dict[str, str]) -> None:
    """Pairs are split at the first equals sign; space and one pair of quotes around are no part."""
    assert expected == cookies(field)


@pytest.mark.parametrize("field", [b"a", b"=", b"=1", b" =1", b";;;", b";a;=;"])
def test_malformed_cookies(field: bytes) -> None:
    """What has no name or no value is skipped, and what is well-formed beside it is read."""
    assert {} == cookies(field)
    assert {"ok": "1"} == cookies(field + b";ok=1") == cookies(b"ok=1;" + field)


def test_first_cookie_of_a_name_counts() -> None:
    """Browsers send the most specific path first, and a later one cannot replace it."""
    assert {"a": "1", "b": "3"} == cookies(b"a=1; a=2", b"a=3; b=3")


@pytest.mark.parametrize("space", [b"\xa0", b"\x85", b"\x1c", b"\x0b"])
def test_cookie_prefixes_cannot_be_forged(space: bytes) -> None:
    """What only Python takes for space stays: else a subdomain could set any `__Host-` cookie."""
    assert "__Host-id" not in cookies(space + b"__Host-id=evil")
    assert "real" == cookies(b"__Host-id" + space + b"=evil; __Host-id=real")["__Host-id"]


def test_no_cookies() -> None:
    """Without a Cookie header there are none."""
    assert {} == cookies()


@given(st.lists(st.binary()))
def test_any_bytes_are_cookies(fields: list[bytes]) -> None:
    """No Cookie header makes a request fail."""
    assert all(isinstance(value, str) for value in cookies(*fields).values())


# Query


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", {}),
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"a=1&b=2&a=3&a=4", {"a": ["1", "3", "4"], "b": "2"}),
        (b"a", {"a": ""}),
        (b"a=", {"a": ""}),
        (b"=1", {"": "1"}),
        (b"&&a=1&", {"a": "1"}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a+b=c%20d", {"a b": "c d"}),
        (b"a=%C3%BC", {"a": "ü"}),
        (b"a=\xc3\xbc", {"a": "ü"}),
        (b"a=%FF&b=\xff", {"a": "\ufffd", "b": "\ufffd"}),
        (b"a=%&b=%zz", {"a": "%", "b": "%zz"}),
        (b"a=1;b=2", {"a": "1;b=2"}),
        (b"items=3", {"items": "3"}),
    ],
)
def test_query(query: bytes, expected: dict[str, Any]) -> None:
    """A parameter is a str, one that repeats a list of them; it is decoded as forms encode it."""
    assert expected == parse_query(query)


def test_query_parameter_that_is_missing() -> None:
    """Asking for what the URL does not have is safe."""
    assert None is parse_query(b"a=1").page


@given(st.binary())
def test_any_bytes_are_a_query(query: bytes) -> None:
    """No query string makes a request fail, and what comes out can be sent back as JSON."""
    for name, value in parse_query(query).items():
        for text in (name, *(value if isinstance(value, list) else [value])):
            text.encode()


@pytest.mark.timeout(5)  # what is quadratic takes far longer
@pytest.mark.parametrize(
    "parse",
    [
        lambda: parse_query(b"a&" * 50_000),
        lambda: parse_query(b"a=%ff" * 20_000),
        lambda: parse_query(b"".join(b"%x&" % i for i in range(20_000))),
        lambda: cookies(b"a=1;" * 25_000),
        lambda: cookies(b" " * 100_000 + b"=" + b'"' * 100_000),
        lambda: cookies(*[b"%x=" % i for i in range(20_000)]),
    ],
)
def test_long_input_costs_little(parse: Callable[[], object]) -> None:
    """However a hundred kilobytes are made up, they are parsed in linear time."""
    assert parse() is not None
