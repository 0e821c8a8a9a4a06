"""Which pages may talk to us."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triows._errors import RouteError
from triows._headers import RawHeaders
from triows._origins import Origins, is_same_origin, parse_origins


def handshake(origin: str | None, host: str | None = "example.org") -> RawHeaders:
    """Return the headers of a handshake that matter here."""
    fields = {"host": host, "origin": origin}
    return [(n.encode(), v.encode("latin-1")) for n, v in fields.items() if v is not None]


# Same origin, the default


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://example.org", "example.org"),
        ("http://example.org:8000", "example.org:8000"),
        ("http://example.org", "example.org:80"),
        ("http://example.org:80", "example.org"),
        ("http://example.org", "example.org:"),
        ("https://example.org", "example.org:443"),
        ("https://example.org:443", "example.org"),
        ("HTTP://Example.ORG", "eXample.org"),
        ("http://localhost:8000", "localhost:8000"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://[2001:DB8::1]", "[2001:db8::1]:80"),
        ("http://my_service:8000", "my_service:8000"),
        ("http://xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("ws://example.org", "example.org"),
        ("wss://example.org", "example.org:443"),
    ],
)
def test_same(origin: str, host: str) -> None:
    """A page of the same host and port may connect; default ports are filled in, case is not."""
    assert is_same_origin(origin, host)
    assert parse_origins("same").allows(handshake(origin, host))


@pytest.mark.parametrize("host", ["example.org", "example.org:443"])
def test_behind_a_proxy_that_ends_tls(host: str) -> None:
    """The page came by https and the proxy talks plain HTTP: it is still the same origin."""
    assert parse_origins("same").allows(handshake("https://example.org", host))


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.com", "example.org"),
        ("http://example.org.evil.com", "example.org"),
        ("http://evil-example.org", "example.org"),
        ("http://www.example.org", "example.org"),
        ("http://example.org", "www.example.org"),
        ("http://example.org.", "example.org"),
        ("http://localhost:3000", "localhost:8000"),
        ("http://localhost", "127.0.0.1"),
        ("http://example.org", "example.org:443"),
        ("https://example.org", "example.org:80"),
        ("http://example.org:8000", "example.org"),
        ("http://[::1]", "::1"),
        ("http://[::1]", "[::2]"),
    ],
)
def test_foreign(origin: str, host: str) -> None:
    """A page of another host or port may not connect, however much the names resemble."""
    assert not is_same_origin(origin, host)
    assert not parse_origins("same").allows(handshake(origin, host))


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "example.org",
        "//example.org",
        "http:example.org",
        "http:/example.org",
        "http://",
        "http://example.org/",
        "http://example.org/path",
        "http://example.org?",
        "http://example.org#",
        "http://example.org\\",
        "http://user@example.org",
        "http://evil.com@example.org",
        "http://example.org@evil.com",
        "http://evil.com#@example.org",
        "http://evil.com/@example.org",
        "http://evil.com\\@example.org",
        "http://exa\tmple.org",
        " http://example.org",
        "http://example.org ",
        "http://example.org, http://example.org",
        "http://example.org http://evil.com",
        "http://example.org:0",
        "http://example.org:99999",
        "http://example.org:080080",
        "http://example.org:-80",
        "http://example.org:8_0",
        "http://example.org:\xb2",
        "http://example.org:80:80",
        "http://ex%61mple.org",
        "http://[example.org]",
        "http://[::1",
        "http://\xe9xample.org",
        "://example.org",
        "1http://example.org",
        "file://example.org",
        "app://example.org",
        "chrome-extension://example.org",
    ],
)
def test_origin_that_is_not_same(origin: str) -> None:
    """What no browser sends for a page of this host is foreign, whatever URL parsers make of it."""
    assert not is_same_origin(origin, "example.org")
    assert not parse_origins("same").allows(handshake(origin))


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":80",
        "user@example.org",
        "example.org/path",
        "example.org?",
        "example.org#",
        "http://example.org",
        "example.org:99999",
        "example.org:x",
        "example.org:0",
        "example.org, example.org",
        "[example.org",
        " example.org",
    ],
)
def test_malformed_host(host: str) -> None:
    """A Host header that is none is nobody's origin."""
    assert not is_same_origin("http://example.org", host)


def test_no_origin() -> None:
    """A program that is no browser sends no Origin, and may connect under any policy."""
    settings: list[Origins] = ["same", "*", []]

    assert all(parse_origins(setting).allows(handshake(None)) for setting in settings)


def test_no_host() -> None:
    """Without a Host header there is nothing that an Origin could be the same as."""
    assert not parse_origins("same").allows(handshake("http://example.org", None))


@pytest.mark.parametrize("second", ["http://example.org", "http://evil.com"])
def test_two_origins(second: str) -> None:
    """Two Origin headers come from no browser; which one is true cannot be told."""
    headers = [
        (b"host", b"example.org"),
        (b"origin", b"http://example.org"),
        (b"Origin", second.encode()),
    ]

    assert not parse_origins("same").allows(headers)
    assert not parse_origins(re.compile(".*")).allows(headers)


def test_two_hosts() -> None:
    """Of two Host headers it cannot be told which one is ours."""
    headers = [(b"host", b"example.org"), (b"host", b"evil.com"), (b"origin", b"http://evil.com")]

    assert not parse_origins("same").allows(headers)


# Settings


@pytest.mark.parametrize("origin", ["http://evil.com", "null", "", "garbage"])
def test_anything(origin: str) -> None:
    """`"*"` lets every page connect, those that hide their origin too."""
    assert parse_origins("*").allows(handshake(origin))


@pytest.mark.parametrize(
    ("setting", "origin"),
    [
        ("https://a.example", "https://a.example"),
        ("https://a.example", "https://A.example"),
        ("https://a.example", "https://a.example:443"),
        ("https://A.example:443/", "https://a.example"),
        ("http://a.example:3000", "http://a.example:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("null", "null"),
        ("app://obsidian.md", "app://obsidian.md"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)
def test_exact(setting: str, origin: str) -> None:
    """An origin may be named as a developer would write it; a trailing slash does no harm."""
    assert parse_origins(setting).allows(handshake(origin))


@pytest.mark.parametrize(
    "origin",
    [
        "http://a.example",
        "https://a.example:8443",
        "https://a.example.evil.com",
        "https://b.example",
        "https://example.org",
        "https://a.example/",
        "null",
    ],
)
def test_not_exact(origin: str) -> None:
    """A named origin is scheme, host and port, and replaces `"same"`."""
    assert not parse_origins("https://a.example").allows(handshake(origin))


def test_several() -> None:
    """Keywords, origins and regexes may stand together in any iterable."""
    local = re.compile(r"http://localhost:\d+")
    policy = parse_origins(("same", "https://a.example", local))
    origins = ["http://example.org", "https://a.example", "http://localhost:3000", "http://b.com"]

    assert [True, True, True, False] == [policy.allows(handshake(origin)) for origin in origins]


def test_pattern_matches_as_a_whole() -> None:
    """A regex is for whole origins: a page cannot get by with a part that matches."""
    policy = parse_origins(re.compile(r"https://[a-z]+\.example\.org"))

    assert policy.allows(handshake("https://app.example.org"))
    assert not policy.allows(handshake("https://app.example.org.evil.com"))
    assert not policy.allows(handshake("http://evil.com/https://app.example.org"))


def test_nothing() -> None:
    """An empty list lets no page connect, not even our own."""
    assert not parse_origins([]).allows(handshake("http://example.org"))


@pytest.mark.parametrize("setting", ["same", ["*"], ("null", "same")])
def test_setting_is_kept_for_the_log(setting: Origins) -> None:
    """The line about a refused page shows the setting as the developer wrote it."""
    assert setting is parse_origins(setting).setting


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.org",
        "localhost:3000",
        "//example.org",
        "https://",
        "https://example.org/path",
        "https://example.org?a=1",
        "https://example.org#a",
        "https://user@example.org",
        "https://example.org:99999",
        "https://example.org:port",
        "https://*.example.org",
        "*.example.org",
        "https://bücher.example",
        " https://example.org",
        "https://a.example, https://b.example",
        "Same",
    ],
)
def test_text_that_is_no_origin(text: str) -> None:
    """What no browser would ever send is refused at registration, and says what to write."""
    with pytest.raises(RouteError, match=f"{re.escape(repr(text))} is not an origin: write"):
        parse_origins(["same", text])


@pytest.mark.parametrize(
    "setting", [None, 7, b"*", [b"*"], [None], re.compile(b".*"), ["same", re.compile(b".*")]]
)
def test_wrong_setting(setting: Any) -> None:
    """What is neither text nor a regex for text is refused at registration."""
    with pytest.raises(RouteError, match=r"origins=.*: give strings and compiled regexes"):
        parse_origins(setting)


# Hostile headers


@given(st.binary(), st.binary())
def test_any_bytes(origin: bytes, host: bytes) -> None:
    """No Origin and no Host make a handshake fail."""
    parse_origins(["same", "https://a.example"]).allows([(b"origin", origin), (b"host", host)])


@pytest.mark.timeout(5)  # what backtracks takes minutes, or years
@pytest.mark.parametrize("filler", ["a", ".", ":", "/", "[", "@", "a.", "a:", "-", "1", "://"])
@pytest.mark.parametrize("form", ["{}", "http://{}", "http://example.org:{}", "http://[{}"])
def test_long_origin_costs_little(form: str, filler: str) -> None:
    """An Origin of 16 KiB is judged in an instant."""
    origin = form.format(filler * (16_000 // len(filler)))
    origins = parse_origins(["same", "https://a.example"])

    assert is_same_origin(origin, origin) == origins.allows(handshake(origin, origin))
