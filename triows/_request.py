"""What a client asked for: the facts of a handshake, read from its ASGI scope."""

from functools import cached_property
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from triows._datastructures import Headers, parse_cookies, parse_query, sdict
from triows._types import Address, Scope


class Request:
    """The request that a connection began with. Parsed as far as it is asked for."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    @property
    def scheme(self) -> str:
        """What the server saw, "ws" or "wss". Behind a proxy that ends TLS it is "ws"."""
        return "wss" if self._scope.get("scheme") in ("wss", "https") else "ws"

    @property
    def path(self) -> str:
        """The full path of the request, percent-decoded, mount prefixes included."""
        return str(self._scope["path"])

    @property
    def root_path(self) -> str:
        """What the app is mounted at, percent-decoded; "" if it is not."""
        return str(self._scope.get("root_path", ""))

    @cached_property
    def host(self) -> str:
        """The Host header: host, and port unless it is the scheme's default."""
        host = self.headers.get("host")
        if host is not None:
            return host
        return "{}:{}".format(*self.server) if self.server is not None else ""

    @cached_property
    def headers(self) -> Headers:
        """The request's headers, case-insensitive."""
        return Headers(list(self._scope.get("headers", [])))

    @cached_property
    def cookies(self) -> dict[str, str]:
        """The request's cookies, name to value."""
        return parse_cookies(self.headers)

    @cached_property
    def query_params(self) -> sdict:
        """The query parameters: a str each, a list where repeated, None where missing."""
        return parse_query(self._scope.get("query_string", b""))

    @cached_property
    def url(self) -> str:
        """The whole URL of the request, percent-encoded."""
        raw_path: bytes | None = self._scope.get("raw_path")
        path = (
            quote(self.path, errors="replace") if raw_path is None else raw_path.decode("latin-1")
        )
        query: bytes = self._scope.get("query_string", b"")
        tail = "?" + query.decode("latin-1") if query else ""
        return f"{self.scheme}://{self.host}{path}{tail}"

    @property
    def client(self) -> Address | None:
        """The peer's host and port, as the server saw them, or None."""
        return _address(self._scope.get("client"))

    @property
    def server(self) -> Address | None:
        """The server's own host and port, or None."""
        return _address(self._scope.get("server"))

    @property
    def http_version(self) -> str:
        """The version of the handshake: "1.1", or "2" for a WebSocket over HTTP/2 (RFC 8441)."""
        return str(self._scope.get("http_version", "1.1"))

    @property
    def subprotocols(self) -> list[str]:
        """The subprotocols that the peer offered, in its order of preference."""
        return list(self._scope.get("subprotocols", []))

    @cached_property
    def id(self) -> str:
        """A name for this connection that no other has, in any process."""
        return uuid4().hex


def _address(value: Any) -> Address | None:
    return None if value is None else (value[0], value[1])
