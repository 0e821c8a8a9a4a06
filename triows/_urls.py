"""URLs of routes by their names, and the app and module that a task belongs to.

Inside a connection a URL is relative to where its app is mounted, and `.name` is a route of
the same module. An app's own `url` works anywhere, but knows of a mount only inside a
connection.
"""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, cast
from urllib.parse import quote, urlencode

from triows._channels import Channels
from triows._errors import OutsideConnection, RouteError
from triows._paths import Template, encode_path
from triows._routing import SCHEMES, Router, check_host, hosts_of
from triows._websocket import WebSocket

Arguments: TypeAlias = Mapping[str, Any] | Sequence[Any] | Any
"""Path parameters: by name, in the order of the path, or the only one by itself."""


class Target(Protocol):
    """A route, as far as its URL needs it."""

    @property
    def template(self) -> Template:
        """The template of its path."""

    @property
    def hostname(self) -> str | None:
        """The only host that it is for."""

    @property
    def schemes(self) -> frozenset[str]:
        """The schemes that it is for."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task is.

    Attributes:
        urls: Of the app.
        module: The name of the module that its route belongs to; "" for the app itself.
        websocket: Its connection, if it has one.
        channels: Of the app, if that is running.
    """

    urls: "Urls"
    module: str = ""
    websocket: WebSocket | None = None
    channels: Channels | None = None

    @property
    def root_path(self) -> str:
        """What the app is mounted at, percent-encoded."""
        root_path = "" if self.websocket is None else self.websocket.root_path
        return quote(root_path.rstrip("/"))


current_place: ContextVar[Place | None] = ContextVar("current_place", default=None)


class Urls:
    """The URLs of an app's routes."""

    def __init__(self, routes: Mapping[str, Target]) -> None:
        self._routes = routes

    def ws(
        self,
        name: str,
        args: Arguments = (),
        params: Mapping[str, Any] | None = None,
        scheme: str | Literal[True] | None = None,
        host: str | None = None,
    ) -> str:
        """Return the URL of a WebSocket route, percent-encoded.

        It is a path, below where the app is mounted, unless a scheme or host is asked
        for, or the route is for another host or scheme than the current connection.
        Outside of a connection that is so for every route with a hostname.

        Args:
            name: Of the route; `.name` is one of the module that the current
                connection's route is in.
            args: The path parameters: a mapping, a list in their order, or the only one
                by itself. None is that of an optional group which is to be absent.
            params: The query: a list repeats its parameter, None leaves it out.
            scheme: "ws" or "wss"; True for that of the current connection.
            host: And port, if it is not the scheme's.

        Raises:
            RouteError: There is no such route; a parameter is missing, unknown, or not of
                its type; the values would be read otherwise from the path; or a scheme
                or host is needed and not known.
        """
        place = current_place.get()
        if place is None or place.urls is not self:
            place = Place(self)
        route = self._find(name, place)
        path = place.root_path + _build(route.template, args)
        tail = _query(params or {})
        if scheme is None and host is None and not _is_elsewhere(route, place.websocket):
            if path.startswith("//"):
                raise RouteError(f"what follows the // of {path} would be a host; give host=")
            return path + tail
        origin = (
            f"{_scheme(route, scheme, place.websocket)}://{_host(route, host, place.websocket)}"
        )
        return origin + path + tail

    def _find(self, name: str, place: Place) -> Target:
        if name.startswith("."):
            if place.websocket is None:
                raise RouteError(f"{name!r} means the module of a connection, and there is none")
            name = f"{place.module}{name}" if place.module else name[1:]
        route = self._routes.get(name)
        if route is None:
            known = ", ".join(sorted(self._routes)) or "none"
            raise RouteError(f"there is no route named {name!r}; there are: {known}")
        return route


def _build(template: Template, args: Arguments) -> str:
    variant, texts = template.choose(_by_name(template, args))
    path = variant.build(texts)
    # "a-b" and "c" for /<str:x>-<str:y> would be read as they were meant, "a" and "b-c" not.
    router: Router[None] = Router()
    router.add(template, None)
    if router.read(path) != texts:
        raise RouteError(f"{template.text}: {path!r} would be read as other values than {texts}")
    return encode_path(path)


def _by_name(template: Template, args: Arguments) -> Mapping[str, Any]:
    if args is None:
        return {}
    if isinstance(args, Mapping):
        return args
    values = args if isinstance(args, list | tuple) else [args]
    parameters = template.parameters
    if len(values) > len(parameters):
        raise RouteError(f"{template.text} has {len(parameters)} parameters, not {len(values)}")
    return {parameter.name: value for parameter, value in zip(parameters, values, strict=False)}


def _query(params: Mapping[str, Any]) -> str:
    given = {name: value for name, value in params.items() if value is not None}
    try:
        query = urlencode(given, doseq=True, quote_via=quote)
    except UnicodeEncodeError as exc:
        raise RouteError(f"{given!a} has no UTF-8") from exc
    return f"?{query}" if query else ""


# Scheme and host


def _is_elsewhere(route: Target, websocket: WebSocket | None) -> bool:
    """Return whether a path alone would not lead from a connection to a route."""
    if websocket is None:
        return route.hostname is not None
    is_here = route.hostname is None or route.hostname in hosts_of(websocket.host)
    return not is_here or websocket.scheme not in route.schemes


def _scheme(route: Target, scheme: str | Literal[True] | None, websocket: WebSocket | None) -> str:
    if isinstance(scheme, str):
        if scheme not in SCHEMES:
            raise RouteError(f"the scheme of a WebSocket is ws or wss, not {scheme!r}")
        return scheme
    current = None if websocket is None else websocket.scheme
    if current in route.schemes:
        return str(current)
    if len(route.schemes) == 1:
        return min(route.schemes)
    raise RouteError("outside of a connection the scheme must be given, as scheme='wss'")


def _host(route: Target, host: str | None, websocket: WebSocket | None) -> str:
    if host is not None:
        return str(check_host(host))
    current = "" if websocket is None else websocket.host
    if route.hostname is not None and route.hostname not in hosts_of(current):
        return route.hostname
    if not current:
        raise RouteError("outside of a connection the host must be given, as host='example.org'")
    return current


class UrlsProxy:
    """Stands for the `Urls` of the app that the current task belongs to."""

    __slots__ = ()

    def ws(self, name: str, *args: Any, **kwargs: Any) -> str:
        """Stand for `Urls.ws`."""
        place = current_place.get()
        if place is None:
            raise OutsideConnection(
                "url.ws was used where no app is running: use `app.url.ws`, which works anywhere"
            )
        return place.urls.ws(name, *args, **kwargs)


url: Urls = cast("Urls", UrlsProxy())
"""The URLs of the current app's routes."""
