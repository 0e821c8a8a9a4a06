"""Header fields on their way out: what may be in them, and their encoding (RFC 9110 §5)."""

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]
"""Headers as ASGI carries them: lower-case names, in order, repeats kept."""

HeadersInput: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""What callers may give as headers: a mapping, or pairs where a name repeats."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# All but tab. CR, LF and NUL would split the response; h11, which writes it for hypercorn,
# refuses VT and FF too, in the middle of the server (RFC 9110 §5.5).
_FORBIDDEN_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_RAW_NAME = re.compile(_NAME.pattern.encode())
_FORBIDDEN_IN_RAW_VALUE = re.compile(_FORBIDDEN_IN_VALUE.pattern.encode())

_FRAMING = frozenset({b"connection", b"content-length", b"transfer-encoding"})
"""How a response is delimited, its writer says; a second opinion breaks it (RFC 9112 §6.3)."""


def encode_headers(headers: HeadersInput | None) -> RawHeaders:
    """Return the headers as ASGI wants them: lower-case names, Latin-1 bytes.

    Raises:
        ValueError: A name is not a token, or a value has a control character (CR, LF
            and NUL among them) or a character outside Latin-1.
    """
    if headers is None:
        return []
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [_encode(name, value) for name, value in pairs]


def is_token(name: str) -> bool:
    """Return whether a name is a token (RFC 9110 §5.6.2), as header names and subprotocols are."""
    return _NAME.fullmatch(name) is not None


def check_raw_headers(headers: RawHeaders) -> None:
    """Refuse headers, encoded elsewhere, that cannot be written as they are.

    Raises:
        ValueError: A name is not a token, or a value has a control character.
    """
    for name, value in headers:
        if _RAW_NAME.fullmatch(name) is None:
            raise ValueError(f"header name {name!r} is not a token (RFC 9110 §5.6.2)")
        if _FORBIDDEN_IN_RAW_VALUE.search(value):
            raise ValueError(f"the value of header {name!r} has a control character: {value!r}")


def header_lines(headers: RawHeaders) -> bytes:
    """Return headers as they go over the wire, each with its end (RFC 9112 §5).

    Raises:
        ValueError: A name is not a token, or a value has a control character.
    """
    check_raw_headers(headers)
    return b"".join([b"%b: %b\r\n" % (name, value) for name, value in headers])


def without_framing(headers: RawHeaders) -> RawHeaders:
    """Return the headers without those that say how the response is delimited."""
    return [pair for pair in headers if pair[0].lower() not in _FRAMING]


def _encode(name: str, value: str) -> tuple[bytes, bytes]:
    if not is_token(name):
        raise ValueError(f"header name {name!r} is not a token (RFC 9110 §5.6.2)")
    if _FORBIDDEN_IN_VALUE.search(value):
        raise ValueError(f"the value of header {name!r} has a control character: {value!r}")
    try:
        return name.lower().encode(), value.strip().encode("latin-1")
    except UnicodeEncodeError as exc:
        raise ValueError(
            f"the value of header {name!r} is not Latin-1; percent-encode it first: {value!r}"
        ) from exc
