"""The HTTP side of an app: what is mounted below it, and answers to everything else."""

from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from triows._asgi import denial
from triows._asgi._link import PEER_IS_GONE
from triows._errors import Reject, RouteError
from triows._headers import RawHeaders
from triows._types import ASGIApp, Event, Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class Mount:
    """An ASGI app below a prefix; the prefix has no trailing slash, "" stands for everything."""

    prefix: str
    app: ASGIApp

    def covers(self, path: str) -> bool:
        """Return whether a path lies at or below the prefix."""
        return path == self.prefix or path.startswith(f"{self.prefix}/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on: `root_path` grows, and `path` begins with it (ASGI, HTTP scope)."""
        root_path = scope.get("root_path", "").rstrip("/")
        # Where a proxy has cut it off, what is mounted would not find its own prefix.
        path = root_path + route_path(scope)
        child = {**scope, "path": path, "root_path": root_path + self.prefix}
        try:
            await self.app(child, receive, send)
        except Exception as exc:
            # Starlette's parts say "404" so, and expect a Starlette around them to answer.
            status = getattr(exc, "status_code", None)
            if scope["type"] != "http" or not isinstance(status, int):
                raise
            await _answer(send, status, f"{getattr(exc, 'detail', '')}\n", [])


class Mounts:
    """The apps below an app, the most specific prefix first."""

    def __init__(self) -> None:
        self._mounts: list[Mount] = []

    def add(self, prefix: str, app: ASGIApp) -> None:
        """Mount an ASGI app.

        Raises:
            RouteError: The prefix does not begin with a slash, has parameters, or is taken.
        """
        if not prefix.startswith("/") or "<" in prefix:
            raise RouteError(f'cannot mount at {prefix!r}: a prefix is plain text like "/static"')
        mount = Mount(prefix.rstrip("/"), app)
        if any(other.prefix == mount.prefix for other in self._mounts):
            raise RouteError(f"there is an app mounted at {prefix} already")
        self._mounts.append(mount)
        self._mounts.sort(key=lambda other: -len(other.prefix))

    def find(self, path: str) -> Mount | None:
        """Return the mount that a path belongs to, or None."""
        return next((mount for mount in self._mounts if mount.covers(path)), None)


def route_path(scope: Scope) -> str:
    """Return the part of a request's path that is this app's: what comes after `root_path`.

    Where the path does not begin with it, a proxy has cut it off already.
    """
    path: str = scope["path"]
    root_path: str = scope.get("root_path", "").rstrip("/")
    if path == root_path or path.startswith(f"{root_path}/"):
        return path[len(root_path) :]
    return path


async def refuse_handshake(scope: Scope, receive: Receive, send: Send, answer: Reject) -> None:
    """Refuse a handshake that no handler will see, unless the peer has left already."""
    with suppress(*PEER_IS_GONE):
        if (await receive())["type"] == "websocket.disconnect":
            return
        for event in denial(scope, answer.status, answer.headers, answer.body):
            await send(event)


async def answer_upgrade_required(scope: Scope, send: Send) -> None:
    """Answer plain HTTP on a WebSocket route: 426 (RFC 9110 §15.5.22)."""
    headers: RawHeaders = []
    if scope.get("http_version", "1.1") == "1.1":
        # Connection headers are illegal in HTTP/2 (RFC 9113 §8.2.2).
        headers = [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]
    await _answer(send, 426, "This is a WebSocket endpoint.\n", headers)


async def answer_plainly(send: Send, status: int, headers: RawHeaders | None = None) -> None:
    """Answer plain HTTP with little more than its status: 404 for what belongs to nobody."""
    await _answer(send, status, f"{HTTPStatus(status).phrase}\n", headers or [])


async def _answer(send: Send, status: int, text: str, headers: RawHeaders) -> None:
    body = text.encode()
    start: Event = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            *headers,
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
        ],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})
