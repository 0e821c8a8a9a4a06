"""The script for browsers that comes with triows, over HTTP."""

from hashlib import sha256
from pathlib import Path

from triows._errors import Reject, StateError
from triows._headers import RawHeaders
from triows._http import answer_plainly, refuse_handshake, route_path
from triows._types import Receive, Scope, Send

# The one file that there is; nothing of a request becomes the path of another.
_SCRIPT = (Path(__file__).parent / "static" / "triows.js").read_bytes()

_ETAG = b'"%s"' % sha256(_SCRIPT).hexdigest()[:32].encode()


async def static(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve `triows.js`, the browser's side of channels: `app.mount("/triows", triows.static)`.

    An ASGI app that answers GET and HEAD of this one file, and needs no Starlette.
    """
    if scope["type"] == "websocket":
        await refuse_handshake(scope, receive, send, Reject(404))
    elif scope["type"] != "http":
        raise StateError(f"triows.static serves no scope of type {scope['type']!r}")
    elif route_path(scope) != "/triows.js":
        await answer_plainly(send, 404)
    elif scope["method"] not in {"GET", "HEAD"}:
        await answer_plainly(send, 405, [(b"allow", b"GET, HEAD")])
    else:
        await _answer(scope, send)


async def _answer(scope: Scope, send: Send) -> None:
    # The browser asks each time, and mostly gets 304: the script of an older triows must not stay.
    headers: RawHeaders = [(b"cache-control", b"no-cache"), (b"etag", _ETAG)]
    is_known = _is_known(scope)
    if not is_known:
        headers += [
            (b"content-type", b"text/javascript; charset=utf-8"),
            (b"content-length", b"%d" % len(_SCRIPT)),
            (b"x-content-type-options", b"nosniff"),
        ]
    body = b"" if is_known or scope["method"] == "HEAD" else _SCRIPT
    status = 304 if is_known else 200
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _is_known(scope: Scope) -> bool:
    """Return whether the browser has this very script already (RFC 9110 §13.1.2)."""
    values = [value for name, value in scope["headers"] if name == b"if-none-match"]
    tags = {tag.strip().removeprefix(b"W/") for value in values for tag in value.split(b",")}
    return not tags.isdisjoint({_ETAG, b"*"})
