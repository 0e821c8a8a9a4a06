"""Which pages may talk to us: the Origin header of a handshake (RFC 6455 §10.2, RFC 6454).

Browsers let any page open a WebSocket to any host, and send the host's cookies along; the
check here is the only one there is. Programs that are no browsers send no Origin.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from triows._errors import RouteError
from triows._headers import RawHeaders

Origins: TypeAlias = str | re.Pattern[str] | Iterable[str | re.Pattern[str]]
"""`"same"`, `"*"`, an origin like `"https://example.org"`, a compiled regex, or several."""

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

# Stricter than URL parsers, which make an origin of almost anything.
_ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{0,5}))?", re.ASCII
)

Place: TypeAlias = tuple[str, str, int | None]
"""Scheme, host and port of an origin, in lower case and with the default port filled in."""


@dataclass(frozen=True, slots=True)
class OriginPolicy:
    """The origins that a route accepts.

    Attributes:
        setting: As the developer wrote it, for the log.
        anything: Every origin is accepted, `null` too.
        same: So is one whose host and port are those of the Host header.
        exact: So are these.
        patterns: So is one that matches one of these as a whole.
    """

    setting: object
    anything: bool
    same: bool
    exact: frozenset[Place]
    patterns: tuple[re.Pattern[str], ...]

    def allows(self, headers: RawHeaders) -> bool:
        """Return whether a handshake with these headers may go on."""
        origins = _values_of(headers, b"origin")
        if not origins or self.anything:
            return True
        # Two Origin headers come from no browser; which one is true cannot be told.
        return len(origins) == 1 and self._allows_one(origins[0], _values_of(headers, b"host"))

    def _allows_one(self, origin: str, hosts: list[str]) -> bool:
        if _place_of(origin) in self.exact or any(p.fullmatch(origin) for p in self.patterns):
            return True
        return self.same and len(hosts) == 1 and is_same_origin(origin, hosts[0])


def parse_origins(setting: Origins) -> OriginPolicy:
    """Return the policy that a setting asks for.

    Raises:
        RouteError: A part of it is neither a keyword, nor an origin, nor a regex for str.
    """
    parts: list[object] = [setting]
    if isinstance(setting, Iterable) and not isinstance(setting, str):
        parts = list(setting)
    texts = [part for part in parts if isinstance(part, str)]
    patterns = tuple(
        part for part in parts if isinstance(part, re.Pattern) and isinstance(part.pattern, str)
    )
    if len(texts) + len(patterns) != len(parts):
        raise RouteError(f"origins={setting!r}: give strings and compiled regexes of strings")
    exact = frozenset(_parse_exact(text) for text in texts if text not in ("same", "*"))
    return OriginPolicy(setting, "*" in texts, "same" in texts, exact, patterns)


def _values_of(headers: RawHeaders, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]


def _parse_exact(text: str) -> Place:
    place = _place_of(text.removesuffix("/"))
    if place is None:
        raise RouteError(
            f'origins: {text!r} is not an origin: write "same", "*", "null" or what a browser '
            "sends, scheme://host:port without path or wildcard, hosts beyond ASCII as xn--...; "
            "for several hosts at once give a compiled regex"
        )
    return place


def _place_of(origin: str) -> Place | None:
    """Return what an origin names; None if it is malformed."""
    if origin == "null":
        return "null", "", None
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None:
        return None
    scheme, host, port = match.groups()
    number = int(port) if port else _DEFAULT_PORTS.get(scheme)
    return None if number is not None and number > 65535 else (scheme, host, number)


def is_same_origin(origin: str, host: str) -> bool:
    """Return whether the Origin and the Host header name the same host and port.

    Schemes are left aside: behind a proxy that ends TLS this side cannot know its own.
    For the same reason the default port of both is that of the Origin's scheme.
    """
    scheme = origin.partition(":")[0].lower()
    # Pages of other schemes belong to apps and extensions, and their host is only a name.
    if scheme not in _DEFAULT_PORTS:
        return False
    place = _place_of(origin)
    return place is not None and place == _place_of(f"{scheme}://{host}")
