"""Header fields on their way out."""

import re

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from triows._headers import (
    HeadersInput,
    RawHeaders,
    check_raw_headers,
    encode_headers,
    header_lines,
    without_framing,
)

NAMES = st.from_regex(r"[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True)


@pytest.mark.parametrize(
    ("headers", "raw"),
    [
        (None, []),
        ({}, []),
        ({"X-Name": "value"}, [(b"x-name", b"value")]),
        ({"x": "München"}, [(b"x", b"M\xfcnchen")]),
        ({"x": ""}, [(b"x", b"")]),
        ({"x": " a b\t"}, [(b"x", b"a b")]),
        ({"x": "a\tb"}, [(b"x", b"a\tb")]),
        (
            [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")],
            [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")],
        ),
        ((pair for pair in [("a", "1")]), [(b"a", b"1")]),
    ],
    ids=[
        "none",
        "empty",
        "case",
        "latin-1",
        "empty value",
        "spaces",
        "tab",
        "repeated",
        "iterator",
    ],
)
def test_encoded(headers: HeadersInput | None, raw: RawHeaders) -> None:
    """A mapping or pairs become lower-case names and Latin-1 values, in order, repeats kept."""
    assert raw == encode_headers(headers)


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a:", ":path", "a\n", "näme", "a\0", '"a"', "a,b"]
)
def test_name_that_is_no_token(name: str) -> None:
    """A name that is no token is refused: servers would write it as it is."""
    with pytest.raises(ValueError, match="is not a token"):
        encode_headers({name: "value"})


@pytest.mark.parametrize("hostile", ["\r", "\n", "\0", "\r\n\r\n", "\x0b", "\x0c", "\x1b", "\x7f"])
@pytest.mark.parametrize("form", ["{}a", "a{}b", "a{}"])
def test_control_character(form: str, hostile: str) -> None:
    """A control character is refused wherever it stands: at best the server fails at it."""
    value = form.format(hostile)

    with pytest.raises(ValueError, match="the value of header 'x' has a control character") as info:
        encode_headers({"x": value})

    assert repr(value) in str(info.value)


@pytest.mark.parametrize("value", ["漢字", "€", "\ud800"])
def test_value_beyond_latin_1(value: str) -> None:
    """A value that headers cannot carry is refused, with what to do about it."""
    with pytest.raises(ValueError, match="is not Latin-1; percent-encode it first"):
        encode_headers({"x": value})


@given(st.text(), st.lists(st.integers(0, 0x1FF).map(chr)).map("".join))
@example("x", "a\r\nset-cookie: admin=1")
def test_nothing_splits_the_response(name: str, value: str) -> None:
    """Whatever is given: it is refused, or there is no CR, LF or NUL in what comes out."""
    try:
        raw = encode_headers({name: value})
    except ValueError:
        return

    assert not re.search(rb"[\r\n\0]", b"".join(b"".join(pair) for pair in raw))


@given(NAMES, st.lists(st.integers(0, 0xFF).map(chr)).map("".join))
@example("x", "a\x0bb")
def test_servers_write_what_is_let_through(name: str, value: str) -> None:
    """What is let through is legal for h11 as well, which writes it for hypercorn."""
    try:
        raw = encode_headers({f"x-{name}": value})
    except ValueError:
        return

    assert raw == list(h11.Response(status_code=200, headers=raw).headers)


@pytest.mark.parametrize("name", [b"", b" ", b"a b", b"a:", b":path", b"a\n", b"n\xe4me", b"a\0"])
def test_raw_name_that_is_no_token(name: bytes) -> None:
    """Headers that another framework has encoded are checked by the same rule: names."""
    with pytest.raises(ValueError, match="is not a token"):
        check_raw_headers([(b"x", b"fine"), (name, b"value")])


@pytest.mark.parametrize("hostile", [b"\r", b"\n", b"\0", b"\r\n\r\n", b"\x0b", b"\x7f"])
@pytest.mark.parametrize("form", [b"%ba", b"a%bb", b"a%b"])
def test_raw_control_character(form: bytes, hostile: bytes) -> None:
    """And values."""
    with pytest.raises(ValueError, match="the value of header b'x' has a control character"):
        check_raw_headers([(b"x", form % hostile)])


def test_raw_headers_that_are_fine() -> None:
    """A value may have tabs, and bytes above ASCII."""
    check_raw_headers([(b"x-a", b"a\tb"), (b"X-B", b"\xe4"), (b"x-c", b"")])


@given(st.text(), st.lists(st.integers(0, 0xFF).map(chr)).map("".join))
def test_what_is_encoded_here_passes(name: str, value: str) -> None:
    """The two rules are one: what `encode_headers` lets through can be written as it is."""
    try:
        raw = encode_headers({name: value})
    except ValueError:
        return

    check_raw_headers(raw)


def test_lines() -> None:
    """Each header is a line; other frameworks' pairs may be lists."""
    pair: tuple[bytes, bytes] = [b"x-b", b""]  # type: ignore[assignment]

    assert b"x-a: 1\r\nx-b: \r\n" == header_lines([(b"x-a", b"1"), pair])
    assert b"" == header_lines([])
    with pytest.raises(ValueError, match="has a control character"):
        header_lines([(b"x", b"a\r\nset-cookie: admin=1")])


def test_framing_is_left_out() -> None:
    """What delimits a response goes, in any case of letters, and all else stays in order."""
    headers: RawHeaders = [
        (b"x-a", b"1"),
        (b"Connection", b"keep-alive"),
        (b"content-length", b"99"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Content-Type", b"text/plain"),
    ]

    assert [(b"x-a", b"1"), (b"Content-Type", b"text/plain")] == without_framing(headers)
