"""The app: routes are registered on it, and a server calls it (ASGI 3)."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar, TypeVarTuple, get_args

import trio

from triows._asgi import open_asgi_transport
from triows._connection import Connection, OnDisconnect, Rules
from triows._context import current_websocket
from triows._datastructures import Headers, sdict
from triows._draining import Draining
from triows._endings import Ending
from triows._errors import Close, NotRunning, Reject, RouteError, StateError
from triows._http import (
    Mounts,
    answer_not_found,
    answer_upgrade_required,
    refuse_handshake,
    route_path,
)
from triows._lifespan import Lifespan, LifespanFunction
from triows._limits import Limits
from triows._logs import log_failure, log_refusal, reporter_of
from triows._origins import OriginPolicy, Origins, parse_origins
from triows._paths import parse_template
from triows._routing import Router
from triows._timer import open_timer
from triows._types import ASGIApp, Receive, Scope, Send
from triows._websocket import WebSocket

Args = TypeVarTuple("Args")
Incoming: TypeAlias = Literal["queue", "discard"]
Handler = TypeVar("Handler", bound=Callable[..., Awaitable[object]])
ErrorFunction = TypeVar("ErrorFunction", bound=Callable[[Any], object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A handler, and how its connections are to be served."""

    name: str
    path: str
    handler: Callable[..., Awaitable[object]]
    origins: OriginPolicy
    on_disconnect: OnDisconnect
    incoming: Incoming
    limits: Limits


class App:
    """A WebSocket application for Trio; an ASGI 3 app.

    Args:
        import_name: The module it is declared in: `App(__name__)`.
        limits: The bounds of every route; a route's own go over them.
        origins: The pages that may connect, where a route does not say otherwise:
            `"same"`, `"*"`, an origin, a compiled regex, or a list of those.
        guard_hypercorn: Keep hypercorn 0.18's trio worker, should it serve this app,
            from dying of one connection's failure.
    """

    def __init__(
        self,
        import_name: str,
        *,
        limits: Limits | None = None,
        origins: Origins = "same",
        guard_hypercorn: bool = True,
    ) -> None:
        self.import_name = import_name
        self.limits: Limits = _check_limits(limits) or Limits()
        self._origins = parse_origins(origins)
        self._router: Router[Route] = Router()
        self._routes: dict[str, Route] = {}
        self._mounts = Mounts()
        self._error_functions: dict[type[Exception], Callable[[Any], object]] = {}
        self._lifespan = Lifespan(self.limits, guards_hypercorn=guard_hypercorn)

    def __repr__(self) -> str:
        return f"<App {self.import_name}, {len(self._routes)} routes>"

    # Registration

    def websocket(
        self,
        paths: str | Sequence[str] | None = None,
        name: str | None = None,
        *,
        origins: Origins | None = None,
        on_disconnect: OnDisconnect = "drain",
        incoming: Incoming = "queue",
        limits: Limits | None = None,
    ) -> Callable[[Handler], Handler]:
        """Decorate an async function as the handler of a path; it gets the path's parameters.

        The function itself comes back, so decorators stack.

        Args:
            paths: A path like `"/room/<int:number>"`, or several; "/" and the
                function's name by default. Types: int, float, str, date, alpha, any, uuid.
            name: Of the route; the function's by default. Of several paths the second
                is `name.1`, and so on.
            origins: The pages that may connect; the app's setting by default.
            on_disconnect: What becomes of a handler whose peer left while it is busy
                elsewhere. `"drain"` cancels it after `disconnect_grace`, counted anew at
                each message it still reads; `"cancel"` cancels it at once; `"raise"`
                leaves it to notice by itself.
            incoming: `"discard"` counts and drops what comes in, for handlers that only
                send; nobody reads the inbox of such a handler.
            limits: The bounds that differ from the app's.

        Raises:
            RouteError: Anything here is not as it should be.
        """
        if callable(paths):
            raise RouteError("decorate with @app.websocket(), with parentheses")
        _check_choice("on_disconnect", on_disconnect, get_args(OnDisconnect))
        _check_choice("incoming", incoming, get_args(Incoming))
        policy = self._origins if origins is None else parse_origins(origins)
        own = _check_limits(limits)
        bounds = self.limits if own is None else own.over(self.limits)
        if paths is not None and not paths:
            raise RouteError('there is no path in paths; the root is "/"')

        def register(handler: Handler) -> Handler:
            if not _is_async(handler):
                raise RouteError(f"the handler {handler!r} must be an async function")
            label = name or handler.__name__
            given = [f"/{handler.__name__}"] if paths is None else paths
            for i, path in enumerate([given] if isinstance(given, str) else given):
                route = Route(
                    name=f"{label}.{i}" if i else label,
                    path=path,
                    handler=handler,
                    origins=policy,
                    on_disconnect=on_disconnect,
                    incoming=incoming,
                    limits=bounds,
                )
                self._add(route)
            return handler

        return register

    def _add(self, route: Route) -> None:
        if route.name in self._routes:
            raise RouteError(f"there is a route named {route.name!r} already; give name=")
        _check_arguments(route.handler, [name for name, _ in parse_template(route.path).parameters])
        self._router.add(route.path, route)
        self._routes[route.name] = route

    def mount(self, prefix: str, app: ASGIApp) -> None:
        """Give the requests below a prefix to another ASGI app, as Starlette or its StaticFiles.

        HTTP goes there first; a WebSocket only where no route of this app matches. The
        longest prefix wins. The mounted app's lifespan is not run.

        Raises:
            RouteError: The prefix is malformed or taken.
        """
        if not callable(app):
            raise RouteError(f"cannot mount {app!r}: it is no ASGI app")
        self._mounts.add(prefix, app)

    def lifespan(self, function: LifespanFunction) -> LifespanFunction:
        """Decorate what runs around the app: an async generator that yields once.

        The mapping that it yields, if any, is the `websocket.state` of every connection.
        What comes after the yield runs when all connections and app tasks have ended.

        Raises:
            RouteError: The app has one already.
        """
        self._lifespan.register(function)
        return function

    def on_error(self, kind: type[Exception]) -> Callable[[ErrorFunction], ErrorFunction]:
        """Decorate a function, sync or async, that is asked how an exception ends a connection.

        It is called with each exception of that kind that left a handler or a task of it,
        and returns a `Close` or `Reject`, which replaces the traceback in the log; or
        None, and everything is as without it. The most specific kind is asked. It has
        `pipe_close_timeout` seconds.

        Raises:
            RouteError: It is no kind of exception that could be asked for, or is taken.
        """
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise RouteError("decorate with @app.on_error(SomeException)")
        if issubclass(kind, Close | Reject):
            raise RouteError(f"{kind.__name__} is an ending already, not an error")
        if kind in self._error_functions:
            raise RouteError(f"there is an error function for {kind.__name__} already")

        def register(function: ErrorFunction) -> ErrorFunction:
            self._error_functions[kind] = function
            return function

        return register

    # The app's life

    @property
    def nursery(self) -> trio.Nursery:
        """The app's nursery. What is started there by a handler inherits its `websocket`.

        Raises:
            NotRunning: The lifespan is not running.
        """
        return self._lifespan.nursery

    @property
    def draining(self) -> Draining:
        """True once the app is being shut down; awaitable."""
        return self._lifespan.draining

    def start_soon(self, fn: Callable[[*Args], Awaitable[object]], *args: *Args) -> None:
        """Start a task that lives as long as the app, outside of any connection.

        Tasks asked for by the app's lifespan before it yields start when it has. One
        that fails ends the app: live connections get 1011, new ones 503, and the server
        is told.

        Raises:
            NotRunning: The lifespan is not running.
        """
        self._lifespan.start_soon(fn, *args)

    def running(self) -> AbstractAsyncContextManager[dict[str, Any]]:
        """Run the lifespan around a block, for an app that is mounted in another.

        Yields what the lifespan yielded. Leaving it closes live connections with 1001.
        A failing app task cancels the block and is raised from it.

        Raises:
            StateError: It is running already.
        """
        return self._lifespan.running()

    # ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope: a connection, a request, or the lifespan."""
        if not trio.lowlevel.in_trio_task():
            await _refuse_other_loop(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._handle_websocket(scope, receive, send)
        elif scope["type"] == "http":
            await self._handle_http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan.serve(scope, receive, send)
        else:
            raise StateError(f"triows serves no scope of type {scope['type']!r}")

    async def _handle_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = route_path(scope)
        if (mount := self._mounts.find(path)) is not None:
            await mount(scope, receive, send)
        elif self._router.match(path) is not None:
            await answer_upgrade_required(scope, send)
        else:
            await answer_not_found(send)

    async def _handle_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = route_path(scope)
        found = self._router.match(path)
        if found is None:
            if (mount := self._mounts.find(path)) is not None:
                await mount(scope, receive, send)
                return
            log_refusal(scope, 404, "no route")
            await refuse_handshake(scope, receive, send, Reject(404))
            return
        route, params = found
        refusal = self._refusal(route, scope)
        if refusal is None:
            await self._serve(route, params, scope, receive, send)
        else:
            await refuse_handshake(scope, receive, send, refusal)

    def _refusal(self, route: Route, scope: Scope) -> Reject | None:
        headers = Headers(scope["headers"])
        if not route.origins.allows(headers):
            # A warning: the usual cause is a page on another port of the developer's machine.
            why = (
                f"origin {headers['origin'][:200]!r} is not allowed to connect to host "
                f"{headers.get('host')!r} by origins={route.origins.setting!r}"
            )
            log_refusal(scope, 403, why, level=logging.WARNING)
            return Reject(403)
        try:
            refusal = self._lifespan.refusal()
        except NotRunning as exc:
            log_failure("a connection to %s was refused", route.path, failure=exc)
            reporter_of(scope)(exc)
            return Reject(500)
        if refusal is None:
            return None
        answer, why = refusal
        log_refusal(scope, answer.status, why, level=logging.WARNING)
        return answer

    async def _serve(
        self, route: Route, params: dict[str, Any], scope: Scope, receive: Receive, send: Send
    ) -> None:
        rules = Rules(
            limits=route.limits,
            on_disconnect=route.on_disconnect,
            ask_hook=self._ask_error_function,
            report=reporter_of(scope),
        )
        discard = route.incoming == "discard"
        with self._lifespan.admit() as ticket:
            async with (
                open_timer() as timer,
                open_asgi_transport(
                    scope, receive, send, limits=route.limits, timer=timer, discard=discard
                ) as transport,
            ):
                websocket = WebSocket(
                    scope,
                    transport,
                    name=route.name,
                    path_params=params,
                    state=sdict({**self._lifespan.state, **scope.get("state", {})}),
                    draining=self._lifespan.draining,
                    discard=discard,
                )
                connection = Connection(websocket, scope, transport, timer, rules)
                ticket.attach(connection)
                token = current_websocket.set(websocket)
                try:
                    await connection.run(partial(route.handler, **params))
                finally:
                    current_websocket.reset(token)

    async def _ask_error_function(self, exc: Exception) -> Ending | None:
        for kind in type(exc).__mro__:
            function = self._error_functions.get(kind)
            if function is not None:
                answer = function(exc)
                if inspect.isawaitable(answer):
                    answer = await answer
                return _check_answer(function, answer)
        return None


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise RouteError(f"{name}={value!r}: choose one of {', '.join(map(repr, choices))}")


def _check_limits(limits: object) -> Limits | None:
    if limits is None or isinstance(limits, Limits):
        return limits
    raise RouteError(f"limits={limits!r}: give Limits(...)")


def _is_async(handler: object) -> bool:
    return inspect.iscoroutinefunction(handler)


def _check_arguments(handler: Callable[..., object], names: Sequence[str]) -> None:
    """Refuse a handler that cannot be called with the parameters of its path."""
    try:
        inspect.signature(handler).bind(**dict.fromkeys(names))
    except TypeError as exc:
        raise RouteError(
            f"the handler {handler!r} cannot be called with the path's parameters "
            f"({', '.join(names) or 'none'}): {exc}"
        ) from None


def _check_answer(function: Callable[[Any], object], answer: object) -> Ending | None:
    if answer is None or isinstance(answer, Close | Reject):
        return answer
    raise TypeError(
        f"the error function {function!r} returned {answer!r}; return a Close, a Reject or None"
    )


async def _refuse_other_loop(scope: Scope, receive: Receive, send: Send) -> None:
    message = "triows runs on Trio: start hypercorn with --worker-class trio"
    if scope["type"] != "lifespan":
        raise StateError(message)
    await receive()
    await send({"type": "lifespan.startup.failed", "message": message})
