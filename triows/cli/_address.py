"""Where `triows connect` goes and what it brings, checked before anything is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from triows._headers import encode_headers

PORTS = {"ws": 80, "wss": 443}

# As in RFC 3986 §3.3 and §3.4; a "%" is there already where it is meant.
_ALLOWED_IN_TARGET = "!$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True, slots=True)
class Address:
    """A WebSocket URL, in the parts that are needed (RFC 6455 §3).

    Attributes:
        url: As it was written.
        is_secure: It begins with `wss`.
        host: The name or the IP address, without brackets.
        port: The default one filled in.
        authority: What goes into the header `Host`.
        target: The path and the query, quoted.
    """

    url: str
    is_secure: bool
    host: str
    port: int
    authority: str
    target: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What is sent in the handshake besides the address.

    Attributes:
        headers: Lower-case names. A `host` replaces what the address says.
        subprotocols: Offered in this order.
    """

    headers: Sequence[tuple[bytes, bytes]] = ()
    subprotocols: Sequence[str] = ()


def parse_url(url: str) -> Address:
    """Return the parts of a WebSocket URL.

    Raises:
        ValueError: It is none; the message says what is wrong.
    """
    try:
        parts = urlsplit(url)
    except ValueError as exc:
        raise ValueError(f"{url!r} is no URL: {exc}") from exc
    if parts.scheme not in PORTS:
        raise ValueError(f"{url!r} is no WebSocket URL: it has to begin with ws:// or wss://")
    if parts.fragment or url.endswith("#"):
        raise ValueError(f"{url!r} has a fragment, which a WebSocket URL has not (RFC 6455 §3)")
    if "@" in parts.netloc:
        raise ValueError(f"{url!r} names a user: send a header instead, -H 'Authorization: ...'")
    try:
        host = (parts.hostname or "").encode("idna").decode()
        port = PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError as exc:
        raise ValueError(f"{url!r} has no usable host and port: {exc}") from exc
    if not host or not port:
        raise ValueError(f"{url!r} has no host" if port else f"{url!r} has the port 0")
    target = quote(parts.path or "/", _ALLOWED_IN_TARGET)
    if parts.query:
        target += "?" + quote(parts.query, _ALLOWED_IN_TARGET)
    name = f"[{host}]" if ":" in host else host
    authority = name if port == PORTS[parts.scheme] else f"{name}:{port}"
    return Address(url, parts.scheme == "wss", host, port, authority, target)


def parse_header(text: str) -> tuple[bytes, bytes]:
    """Return the name and the value of a header that is written `Name: value`.

    Raises:
        ValueError: It is malformed, or the handshake has it anyway.
    """
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r} is no header: write 'Name: value'")
    [(raw_name, raw_value)] = encode_headers([(name, value)])
    if raw_name == b"sec-websocket-protocol":
        raise ValueError("subprotocols are offered by -s")
    if raw_name in (b"connection", b"upgrade") or raw_name.startswith(b"sec-websocket-"):
        raise ValueError(f"the handshake has its own {name}")
    return raw_name, raw_value
