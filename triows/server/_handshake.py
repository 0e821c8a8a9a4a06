"""The opening handshake, the server's side of it (RFC 6455 §4.2): checks, scope and answers."""

import re
from binascii import b2a_base64
from hashlib import sha1
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from triows._headers import RawHeaders, header_lines, is_token, without_framing
from triows._types import Address, Scope
from triows.server._request_head import BadRequest, RequestHead

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What the key is hashed with (RFC 6455 §1.3)."""

_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
"""Base64 of 16 bytes."""

_VERSION = b"13"

# One for all scopes: nothing is ever put into them.
_ASGI = {"version": "3.0", "spec_version": "2.5"}
_NO_DETAILS: dict[str, Any] = {}

_ABSOLUTE = re.compile(rb"https?://([^/?#@]+)(/[^?]*)?(\?.*)?", re.IGNORECASE)
"""The absolute-form of a target (RFC 9112 §3.2.2); without user information (RFC 9110 §4.2.4)."""

_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"upgrade: websocket\r\n"
    b"connection: Upgrade\r\n"
    b"sec-websocket-accept: %b\r\n"
    b"%b\r\n"
)

_SET_HERE = frozenset(
    {b"sec-websocket-accept", b"sec-websocket-extensions", b"sec-websocket-protocol", b"upgrade"}
)

_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


def check_handshake(head: RequestHead) -> str:
    """Check the handshake of a head that `wants_websocket`, and return its Sec-WebSocket-Key.

    `parse_head` has seen to the Host.

    Raises:
        BadRequest: 405 for a method that is not GET, 426 for a version that is not 13
            (RFC 6455 §4.4), 400 for anything else against §4.2.1.
    """
    if head.method != "GET":
        raise BadRequest(405, "A WebSocket is opened with GET.", [(b"allow", b"GET")])
    if b"upgrade" not in head.options(b"connection"):
        raise BadRequest(400, "The Connection header does not name upgrade.")
    versions = head.values(b"sec-websocket-version")
    if len(versions) != 1 or versions[0] != _VERSION:
        raise BadRequest(
            426,
            "The WebSocket version spoken here is 13.",
            [(b"upgrade", b"websocket"), (b"sec-websocket-version", _VERSION)],
        )
    keys = head.values(b"sec-websocket-key")
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        raise BadRequest(400, "There is not one Sec-WebSocket-Key that is base64 of 16 bytes.")
    # Bytes behind the head must be frames, whoever counts them (RFC 9112 §6.3).
    if head.values(b"transfer-encoding") or any(
        length.strip(b"0") for length in head.values(b"content-length")
    ):
        raise BadRequest(400, "A WebSocket handshake has no body.")
    _check_subprotocols(head)
    return keys[0].decode()


def _check_subprotocols(head: RequestHead) -> None:
    if not head.values(b"sec-websocket-protocol"):
        return
    names = _subprotocols_of(head)
    if not names:
        raise BadRequest(400, "The Sec-WebSocket-Protocol header is empty.")
    if not all(is_token(name) for name in names):
        raise BadRequest(400, "A name in Sec-WebSocket-Protocol is not a token.")
    if len(set(names)) != len(names):
        raise BadRequest(400, "A name in Sec-WebSocket-Protocol is there twice.")


def _subprotocols_of(head: RequestHead) -> list[str]:
    """Return the subprotocols that are offered, in the client's order (RFC 6455 §11.3.4)."""
    names = [
        name.strip(" \t")
        for value in head.values(b"sec-websocket-protocol")
        for name in value.decode("latin-1").split(",")
    ]
    return [name for name in names if name]  # Empty elements are none (RFC 9110 §5.6.1).


def websocket_scope(
    head: RequestHead,
    *,
    scheme: str,
    client: Address | None,
    server: Address | None,
    root_path: str,
    state: dict[str, Any],
    extensions: dict[str, Any],
) -> Scope:
    """Return the ASGI scope of a handshake that was checked; `path` is as hypercorn gives it.

    That is the whole path, `root_path` or not, percent-decoded; bytes that are no UTF-8
    become U+FFFD. Of a target in absolute-form it is the path in it, and its host is the
    Host header (RFC 9112 §3.2.2).

    Args:
        head: The request.
        scheme: "ws" or "wss".
        client: Of the socket.
        server: Of the socket.
        root_path: What the app is mounted at.
        state: Of the lifespan; copied, one level deep.
        extensions: What the server can do besides HTTP responses.

    Raises:
        BadRequest: 400 for a target that is neither a path nor an absolute URI.
    """
    target, headers = head.target, head.headers
    if not target.startswith(b"/"):
        target, headers = _resolve(target, headers)
    path, _, query = target.partition(b"?")
    return {
        "type": "websocket",
        "asgi": _ASGI,
        "http_version": head.version,
        "scheme": scheme,
        "path": unquote(path.decode()),
        "raw_path": path,
        "query_string": query,
        "root_path": root_path,
        "headers": headers,
        "client": client,
        "server": server,
        "subprotocols": _subprotocols_of(head),
        "state": state.copy(),
        "extensions": {"websocket.http.response": _NO_DETAILS, **extensions},
    }


def _resolve(target: bytes, headers: RawHeaders) -> tuple[bytes, RawHeaders]:
    """Return what an absolute-form target means: the origin-form, and the headers for it."""
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise BadRequest(400, "The request target is neither a path nor an absolute URI.")
    host, path, query = found.groups(b"")
    headers = [(name, host if name == b"host" else value) for name, value in headers]
    return (path or b"/") + query, headers


def accept_response(
    key: str,
    subprotocol: str | None,
    extensions: str | None,
    headers: RawHeaders,
    lines: bytes = b"",
) -> bytes:
    """Return the response that opens the WebSocket (RFC 6455 §4.2.2).

    Args:
        key: As `check_handshake` returned it.
        subprotocol: One that was offered, or None.
        extensions: The whole value of Sec-WebSocket-Extensions, or None.
        headers: More of them; what would delimit a body is left out.
        lines: More of them, as `header_lines` returned them.

    Raises:
        ValueError: A header cannot be written, or is one that is set here.
    """
    digest = sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    ours: RawHeaders = []
    if subprotocol is not None:
        ours.append((b"sec-websocket-protocol", subprotocol.encode()))
    if extensions is not None:
        ours.append((b"sec-websocket-extensions", extensions.encode()))
    for name, _ in headers:
        if name.lower() in _SET_HERE:
            raise ValueError(f"header {name!r} is set by the handshake itself")
    lines += header_lines([*ours, *without_framing(headers)])
    return _SWITCHING % (b2a_base64(digest, newline=False), lines)


def http_response(status: int, headers: RawHeaders, body: bytes) -> bytes:
    """Return the whole response to a handshake that is refused; the connection ends with it.

    Headers that delimit the response are replaced, and a status without a body (204, 304)
    is sent without one.

    Raises:
        ValueError: A header cannot be written, or the status is not one of a final response.
    """
    if not 200 <= status <= 599:
        raise ValueError(f"{status} is not the status of a final response (200 to 599)")
    headers = without_framing(headers)
    # An Upgrade header has to be listed, so that no proxy passes it on (RFC 9110 §7.8).
    upgrades = any(name.lower() == b"upgrade" for name, _ in headers)
    headers.append((b"connection", b"close, upgrade" if upgrades else b"close"))
    if status in _BODILESS:
        return _response(status, headers, b"")
    headers.append((b"content-length", b"%d" % len(body)))
    return _response(status, headers, body)


def _response(status: int, headers: RawHeaders, body: bytes) -> bytes:
    return b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (
        status,
        _reason_of(status),
        header_lines(headers),
        body,
    )


def _reason_of(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""
