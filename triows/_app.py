"""The app: routes are registered on it, and a server calls it (ASGI 3)."""

import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeAlias, TypeVarTuple

import trio

from triows._asgi import open_asgi_transport
from triows._broker import Broker
from triows._channels import Channels, Hub
from triows._connection import Connection
from triows._context import current_websocket, the_websocket
from triows._converters import Converter
from triows._datastructures import Headers
from triows._draining import Draining
from triows._errors import NotRunning, Reject, RouteError, StateError
from triows._http import (
    Mounts,
    answer_plainly,
    answer_upgrade_required,
    refuse_handshake,
    route_path,
)
from triows._lifespan import Lifespan, LifespanFunction, Ticket
from triows._limits import Limits
from triows._logs import log_failure, log_refusal, reporter_of
from triows._modules import Module, ModuleGroup
from triows._native import claim_native
from triows._origins import Origins, parse_origins
from triows._pipes import check_pipes
from triows._request import Request
from triows._routes import Route, RouteTable, check_limits
from triows._rules import Rules
from triows._timer import open_timer
from triows._transport import Transport
from triows._types import ASGIApp, Receive, Scope, Send
from triows._urls import Place, Urls, current_place
from triows._websocket import WebSocket
from triows.brokers import MemoryBroker

Args = TypeVarTuple("Args")

Found: TypeAlias = tuple[Route, dict[str, Any]]
"""What a path leads to: a route, and its path parameters."""


class App(Module):
    """A WebSocket application for Trio; an ASGI 3 app, and the outermost module.

    Pipes around every route are set by `app.pipeline = [...]`.

    Args:
        import_name: The module it is declared in: `App(__name__)`.
        url_prefix: Goes before the paths of its routes, but not of what is mounted.
        limits: The bounds of every route; a route's own go over them.
        origins: The pages that may connect, where a route does not say otherwise:
            `"same"`, `"*"`, an origin, a compiled regex, or a list of those.
        guard_hypercorn: Keep hypercorn 0.18's trio worker, should it serve this app,
            from dying of one connection's failure.
        broker: Carries published messages; None for those of this process only.

    Attributes:
        channels: Its topics; the `channels` of the package are those of the current app.
        url: Of its routes, by name; the `url` of the package is that of the current app.
    """

    def __init__(
        self,
        import_name: str,
        *,
        url_prefix: str | None = None,
        limits: Limits | None = None,
        origins: Origins = "same",
        guard_hypercorn: bool = True,
        broker: Broker | None = None,
    ) -> None:
        self.limits: Limits = check_limits(limits) or Limits()
        table = RouteTable(self.limits, parse_origins(origins))
        super().__init__(import_name, "", table=table, url_prefix=url_prefix)
        self.url: Urls = Urls(table.routes)
        self._mounts = Mounts()
        self._rules: dict[str, Rules] = {}
        self._hub = Hub(MemoryBroker if broker is None else lambda: broker, is_local=broker is None)
        self.channels: Channels = Channels(self._hub, the_websocket)
        self._lifespan = Lifespan(
            self.limits,
            guards_hypercorn=guard_hypercorn,
            around=self._around_lifespan,
            beneath=self._hub.running,
        )

    def __repr__(self) -> str:
        return f"<App {self.import_name}, {len(self._table.routes)} routes>"

    # Registration

    @property
    def routes(self) -> list[Route]:
        """The routes, in the order in which they were declared."""
        return list(self._table.routes.values())

    def module_group(self, *modules: Module | ModuleGroup) -> ModuleGroup:
        """Return several modules as one: what is declared in it is declared in each."""
        return ModuleGroup(modules)

    def converter(
        self,
        name: str,
        regex: str,
        parse: Callable[[str], Any],
        format: Callable[[Any], str] = str,  # noqa: A002  # the counterpart of parse
    ) -> None:
        """Add a type of path parameter, for the routes declared from now on.

        Args:
            name: As in `<name:parameter>`.
            regex: What a value looks like in a path. It sees one segment, or a part of
                one; groups are written `(?:...)`.
            parse: From that text to the value. ValueError means that it is no such
                value, and the next route is tried.
            format: From the value to such a text, for `url.ws`.

        Raises:
            RouteError: The name is taken, or the regex malformed.
        """
        self._table.add_converter(name, Converter(regex, parse, format))

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

    @contextmanager
    def _around_lifespan(self) -> Generator[None]:
        """Be the current app of the lifespan and of the app's tasks."""
        for route in self.routes:
            route.check_needs()
        token = current_place.set(Place(self.url, channels=self.channels))
        try:
            yield
        finally:
            current_place.reset(token)

    # ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope: a connection, a request, or the lifespan."""
        if not trio.lowlevel.in_trio_task():
            await _refuse_other_loop(scope, receive, send)
        elif scope["type"] == "websocket":
            with self._lifespan.ticket() as ticket:
                await self._connect(scope, receive, send, ticket)
        elif scope["type"] == "http":
            await self._handle_http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan.serve(scope, receive, send)
        else:
            raise StateError(f"triows serves no scope of type {scope['type']!r}")

    async def _handle_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = route_path(scope)
        if (mount := self._mounts.find(path)) is not None:
            with _Restored():
                current_place.set(Place(self.url, channels=self.channels))
                await mount(scope, receive, send)
            return
        try:
            found = self._match(scope, path)
        except Reject as failure:
            await answer_plainly(send, failure.status)
            return
        if found is not None:
            await answer_upgrade_required(scope, send)
        else:
            await answer_plainly(send, 404)

    def _connect(
        self, scope: Scope, receive: Receive, send: Send, ticket: Ticket
    ) -> Awaitable[None]:
        """Find out who serves a connection; return what is to be awaited for that.

        No coroutine of its own: it would stay as long as the connection does.
        """
        path = route_path(scope)
        try:
            found = self._match(scope, path, Request(scope).scheme)
        except Reject as failure:
            return refuse_handshake(scope, receive, send, failure)
        if found is None:
            if (mount := self._mounts.find(path)) is not None:
                return mount(scope, receive, send)
            log_refusal(scope, 404, "no route")
            return refuse_handshake(scope, receive, send, Reject(404))
        refusal = self._refusal(found[0], scope)
        if refusal is not None:
            return refuse_handshake(scope, receive, send, refusal)
        # Admitted before anything else may run: a burst must not get past `max_connections`.
        ticket.admit()
        return self._serve(found, scope, ticket, receive, send)

    def _match(self, scope: Scope, path: str, scheme: str | None = None) -> Found | None:
        """Find the route; what a converter of the app fails with is logged, and is a 500."""
        try:
            return self._table.router.match(path, host=_host_of(scope), scheme=scheme)
        except Exception as exc:
            raise _failed(scope, "a path could not be converted", exc) from exc

    def _refusal(self, route: Route, scope: Scope) -> Reject | None:
        if not route.options.origins.allows(scope["headers"]):
            headers = Headers(scope["headers"])
            # A warning: the usual cause is a page on another port of the developer's machine.
            why = (
                f"origin {headers['origin'][:200]!r} is not allowed to connect to host "
                f"{headers.get('host')!r} by origins={route.options.origins.setting!r}"
            )
            log_refusal(scope, 403, why, level=logging.WARNING)
            return Reject(403)
        try:
            check_pipes(route.pipes)  # may have been changed since the start
            refusal = self._lifespan.refusal()
        except (NotRunning, RouteError) as exc:
            return _failed(scope, f"a connection to {route.template.text} was refused", exc)
        if refusal is None:
            return None
        answer, why = refusal
        log_refusal(scope, answer.status, why, level=logging.WARNING)
        return answer

    def _serve(
        self, found: Found, scope: Scope, ticket: Ticket, receive: Receive, send: Send
    ) -> Coroutine[Any, Any, None]:
        options = found[0].options
        native = claim_native(scope, receive, send, options.limits, discard=options.discards)
        if native is not None:
            # No coroutine of its own, as above; and the server ends the task with it, so that
            # nobody wants the current connection of before.
            connection = self._begin(found, scope, ticket, native, in_own_task=False)
            return connection.run(found[1])
        return self._serve_over_asgi(found, scope, ticket, receive, send)

    async def _serve_over_asgi(
        self, found: Found, scope: Scope, ticket: Ticket, receive: Receive, send: Send
    ) -> None:
        options = found[0].options
        with _Restored():
            async with (
                open_timer() as timer,
                open_asgi_transport(
                    scope,
                    receive,
                    send,
                    limits=options.limits,
                    timer=timer,
                    discard=options.discards,
                ) as transport,
            ):
                connection = self._begin(found, scope, ticket, transport, in_own_task=True)
                await connection.run(found[1])

    def _rules_of(self, route: Route) -> Rules:
        """Return the rules of a route, the same for all its connections while its pipes are."""
        pipes = route.pipes
        rules = self._rules.get(route.name)
        if rules is None or rules.pipes != pipes:
            rules = self._rules[route.name] = Rules(
                handler=route.call,
                limits=route.options.limits,
                on_disconnect=route.options.on_disconnect,
                pipes=pipes,
                ask_hook=route.module.ask_error_function,
                hub=self._hub,
            )
        return rules

    def _begin(
        self,
        found: Found,
        scope: Scope,
        ticket: Ticket,
        transport: Transport,
        *,
        in_own_task: bool,
    ) -> Connection:
        """Make the connection that is the current one of this task from now on."""
        route, params = found
        websocket = WebSocket(
            scope,
            transport,
            name=route.name,
            path_params=params,
            state=self._lifespan.state,
            draining=self._lifespan.draining,
            discard=route.options.discards,
            subprotocols=route.options.subprotocols,
        )
        rules = self._rules_of(route)
        connection = Connection(websocket, scope, transport, rules, in_own_task=in_own_task)
        ticket.attach(connection)
        current_websocket.set(websocket)
        current_place.set(Place(self.url, route.module.name, websocket, self.channels))
        return connection


class _Restored:
    """Gives this task the current connection back that it has had before the block, if any."""

    __slots__ = ("_place", "_websocket")

    def __enter__(self) -> None:
        self._websocket = current_websocket.get()
        self._place = current_place.get()

    def __exit__(self, *_: object) -> None:
        current_websocket.set(self._websocket)
        current_place.set(self._place)


def _failed(scope: Scope, message: str, exc: Exception) -> Reject:
    """Log what failed before there was a connection; return the answer to the handshake."""
    log_failure(message, failure=exc)
    reporter_of(scope)(exc)
    return Reject(500)


def _host_of(scope: Scope) -> str:
    return next((v.decode("latin-1") for k, v in scope["headers"] if k == b"host"), "")


async def _refuse_other_loop(scope: Scope, receive: Receive, send: Send) -> None:
    message = "triows runs on Trio: start hypercorn with --worker-class trio"
    if scope["type"] != "lifespan":
        raise StateError(message)
    await receive()
    await send({"type": "lifespan.startup.failed", "message": message})
