"""URLs and headers of `triows connect`, checked before anything is sent."""

import pytest

from triows.cli._address import Address, parse_header, parse_url


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "target"),
    [
        ("ws://example.com", "example.com", 80, "example.com", "/"),
        ("wss://example.com/a", "example.com", 443, "example.com", "/a"),
        ("ws://example.com:80/", "example.com", 80, "example.com", "/"),
        ("ws://example.com:443/", "example.com", 443, "example.com:443", "/"),
        (
            "WS://Example.COM:8000/A?b=%20c&d",
            "example.com",
            8000,
            "example.com:8000",
            "/A?b=%20c&d",
        ),
        ("ws://[::1]:8000/", "::1", 8000, "[::1]:8000", "/"),
        ("wss://[::1]/", "::1", 443, "[::1]", "/"),
        ("ws://bücher.example", "xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/"),
        ('ws://a/ü b?ö="', "a", 80, "a", "/%C3%BC%20b?%C3%B6=%22"),
        ("ws://a?b", "a", 80, "a", "/?b"),
    ],
)
def test_url(url: str, host: str, port: int, authority: str, target: str) -> None:
    """Default ports are filled in and left out, and what no request line may have is quoted."""
    is_secure = url.startswith("wss")

    assert Address(url, is_secure, host, port, authority, target) == parse_url(url)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("", "has to begin with ws:// or wss://"),
        ("localhost:8000", "has to begin with ws:// or wss://"),
        ("http://a", "has to begin with ws:// or wss://"),
        ("ws://", "has no host"),
        ("ws:/a", "has no host"),
        ("ws://:80/", "has no host"),
        ("ws://a:0", "has the port 0"),
        ("ws://a:x", "has no usable host and port"),
        ("ws://a:65536", "has no usable host and port"),
        ("ws://a..b", "has no usable host and port"),
        (f"ws://{'a' * 64}/", "has no usable host and port"),
        ("ws://[::1", "is no URL"),
        ("ws://a/#b", "has a fragment"),
        ("ws://a/#", "has a fragment"),
        ("ws://me:secret@a/", "names a user"),
    ],
)
def test_url_that_is_none(url: str, fault: str) -> None:
    """The message quotes it and says what is wrong."""
    with pytest.raises(ValueError, match=r"^") as raised:
        parse_url(url)

    assert f"{url!r} {fault}" in str(raised.value).replace("is no WebSocket URL: it ", "")


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("X-Token: a: b ", (b"x-token", b"a: b")),
        ("Host:other", (b"host", b"other")),
        ("X-Name: Jörg", (b"x-name", b"J\xf6rg")),
        ("X-Empty:", (b"x-empty", b"")),
    ],
)
def test_header(text: str, header: tuple[bytes, bytes]) -> None:
    """The first colon ends the name."""
    assert header == parse_header(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("X-Token", "'X-Token' is no header: write 'Name: value'"),
        ("X Token: a", "header name 'X Token' is not a token"),
        (": a", "header name '' is not a token"),
        ("X: a\r\nY: b", "the value of header 'X' has a control character"),
        ("X: 猫", "the value of header 'X' is not Latin-1"),
        ("Upgrade: h2c", "the handshake has its own Upgrade"),
        ("connection: close", "the handshake has its own connection"),
        ("Sec-WebSocket-Key: a", "the handshake has its own Sec-WebSocket-Key"),
        ("Sec-WebSocket-Protocol: a", "subprotocols are offered by -s"),
    ],
)
def test_header_that_is_none(text: str, fault: str) -> None:
    """What would break the handshake is refused before it begins."""
    with pytest.raises(ValueError, match=r"^") as raised:
        parse_header(text)

    assert str(raised.value).startswith(fault)
