"""Refusing a handshake over ASGI."""

from triows._close import NORMAL
from triows._headers import RawHeaders
from triows._types import Event, Scope

_FRAMING = frozenset({b"connection", b"content-length", b"transfer-encoding"})
"""How the response is delimited is said here; a second opinion breaks it (RFC 9112 §6.3)."""


def denial(scope: Scope, status: int, headers: RawHeaders, body: bytes) -> list[Event]:
    """Return the events that answer a handshake with an HTTP response.

    Servers without the `websocket.http.response` extension can answer 403 only.
    """
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        return [{"type": "websocket.close", "code": NORMAL, "reason": ""}]
    headers = [pair for pair in headers if pair[0] not in _FRAMING]
    headers.append((b"content-length", b"%d" % len(body)))
    if scope.get("http_version") == "1.1":
        # Connection headers are illegal in HTTP/2 (RFC 9113 §8.2.2).
        headers.append((b"connection", b"close"))
    return [
        {"type": "websocket.http.response.start", "status": status, "headers": headers},
        {"type": "websocket.http.response.body", "body": body, "more_body": False},
    ]
