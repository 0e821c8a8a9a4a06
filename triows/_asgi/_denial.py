"""Refusing a handshake over ASGI."""

from triows._close import NORMAL
from triows._headers import RawHeaders, without_framing
from triows._types import Event, Scope


def denial(scope: Scope, status: int, headers: RawHeaders, body: bytes) -> list[Event]:
    """Return the events that answer a handshake with an HTTP response.

    Servers without the `websocket.http.response` extension can answer 403 only.
    """
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        return [{"type": "websocket.close", "code": NORMAL, "reason": ""}]
    headers = [*without_framing(headers), (b"content-length", b"%d" % len(body))]
    if scope.get("http_version") == "1.1":
        # Connection headers are illegal in HTTP/2 (RFC 9113 §8.2.2).
        headers.append((b"connection", b"close"))
    return [
        {"type": "websocket.http.response.start", "status": status, "headers": headers},
        {"type": "websocket.http.response.body", "body": body, "more_body": False},
    ]
