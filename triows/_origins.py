"""Which pages may talk to us: the Origin header of a handshake (RFC 6455 §10.2, RFC 6454).

Browsers let any page open a WebSocket to any host, and send the host's cookies along; the
check here is the only one there is. Programs that are no browsers send no Origin.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from triows._datastructures import Headers
from triows._errors import RouteError

Origins: TypeAlias = str | re.Pattern[str] | Iterable[str | re.Pattern[str]]
"""`"same"`, `"*"`, an origin like `"https://example.org"`, a compiled regex, or several."""

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class OriginPolicy:
    """The origins that a route accepts.

    Attributes:
        setting: As the developer wrote it, for the log.
        anything: Every origin is accepted, `null` too.
        same: So is one whose host and port are those of the Host header.
        exact: So are these, lower-case.
        patterns: So is one that matches one of these as a whole.
    """

    setting: object
    anything: bool
    same: bool
    exact: frozenset[str]
    patterns: tuple[re.Pattern[str], ...]

    def allows(self, headers: Headers) -> bool:
        """Return whether a handshake with these headers may go on."""
        origins = headers.get_all("origin")
        if not origins or self.anything:
            return True
        # Two Origin headers come from no browser; which one is true cannot be told.
        return len(origins) == 1 and self._allows_one(origins[0], headers.get_all("host"))

    def _allows_one(self, origin: str, hosts: list[str]) -> bool:
        if origin.lower() in self.exact or any(p.fullmatch(origin) for p in self.patterns):
            return True
        return self.same and len(hosts) == 1 and is_same_origin(origin, hosts[0])


def parse_origins(setting: Origins) -> OriginPolicy:
    """Return the policy that a setting asks for.

    Raises:
        RouteError: A part of it is neither a keyword, nor an origin, nor a regex.
    """
    parts = [setting] if isinstance(setting, str | re.Pattern) else list(setting)
    texts = [part for part in parts if isinstance(part, str)]
    patterns = tuple(part for part in parts if isinstance(part, re.Pattern))
    if len(texts) + len(patterns) != len(parts):
        raise RouteError(f"origins={setting!r}: give strings and compiled regexes")
    exact = frozenset(_normal(text) for text in texts if text not in ("same", "*"))
    return OriginPolicy(setting, "*" in texts, "same" in texts, exact, patterns)


def _normal(text: str) -> str:
    """Return an origin as browsers write it: lower-case, no default port, no path."""
    if text == "null":
        return text
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise RouteError(f"origins: {text!r} is not an origin: {exc}") from exc
    if not parts.scheme or not parts.hostname or parts.path.strip("/") or parts.query:
        raise RouteError(
            f'origins: {text!r} is not an origin: write "same", "*", "null" or '
            "scheme://host, with a port where it is not the scheme's default"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = _DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{host}" + ("" if port in (None, default) else f":{port}")


def is_same_origin(origin: str, host: str) -> bool:
    """Return whether the Origin and the Host header name the same host and port.

    Schemes are left aside: behind a proxy that ends TLS this side cannot know its own.
    For the same reason the default port of both is that of the Origin's scheme.
    """
    try:
        theirs, ours = urlsplit(origin), urlsplit(f"//{host}")
        default = _DEFAULT_PORTS.get(theirs.scheme)
        same_port = (theirs.port or default) == (ours.port or default)
    except ValueError:
        return False
    return same_port and theirs.hostname is not None and theirs.hostname == ours.hostname
