"""The life of an app: its lifespan, its tasks, its live connections, and how they all end.

From the outside in: the developer's lifespan (a pool, a cache), the app's nursery, and the
live connections. These are no tasks of ours, the server runs them; so they sign in and out,
and are told when the app ends. Never a half-dead server: once an app task has failed, be it in
the app's nursery or in one of the developer's lifespan, new handshakes get 503, live connections
1011, and the server is told to stop.
"""

import contextvars
import inspect
import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    nullcontext,
)
from functools import partial
from typing import Any, Protocol, Self, TypeAlias, TypeVarTuple

import trio

from triows._close import GOING_AWAY, INTERNAL_ERROR
from triows._draining import EXTENSION, Draining
from triows._endings import Stop
from triows._errors import Close, NotRunning, Reject, RouteError, StateError
from triows._groups import leaves_of
from triows._guard import guard_hypercorn
from triows._limits import Limits
from triows._logs import error_log, log_failure, reporter_of
from triows._types import Receive, Scope, Send

Args = TypeVarTuple("Args")

State: TypeAlias = Mapping[str, Any] | None
LifespanFunction: TypeAlias = (
    Callable[[], AbstractAsyncContextManager[State]] | Callable[[], AsyncIterator[State]]
)
"""What `@app.lifespan` takes: makes an async context manager, or is an async generator."""

DRAIN_GRACE = 10.0
"""Seconds that live connections have to end, once they were told that the app does."""

SHUTDOWN = 5.0
"""Seconds: a server that shuts down cuts its connections off first, then tells the app."""


class Stoppable(Protocol):
    """A live connection, as far as its app knows it."""

    def stop(self, stop: Stop) -> None:
        """End, for this reason."""


class Ticket:
    """A connection's place among the live ones, from `admit` to the end of its block.

    It is held from before there is a connection: the handshake is still to come from the
    server then, and the app may end meanwhile.
    """

    __slots__ = ("_connection", "_lifespan", "_stop")

    def __init__(self, lifespan: "Lifespan") -> None:
        self._lifespan = lifespan
        self._connection: Stoppable | None = None
        self._stop: Stop | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, exc: BaseException | None, __: object) -> None:
        # A connection itself raises nothing: if it does, the server has cut it off.
        self._lifespan._sign_out(self, is_cut_off=exc is not None)

    def admit(self) -> None:
        """Count it as live from now on."""
        self._lifespan._live.add(self)

    def attach(self, connection: Stoppable) -> None:
        """Name the connection; it is ended at once if it should have been already."""
        self._connection = connection
        if self._stop is not None:
            connection.stop(self._stop)

    def stop(self, stop: Stop) -> None:
        """End the connection, now or as soon as there is one."""
        if self._connection is not None:
            self._connection.stop(stop)
        else:
            self._stop = self._stop or stop


class Lifespan:
    """Everything of an app that lives as long as the app does.

    Args:
        limits: The app's.
        guards_hypercorn: Hypercorn's worker is guarded.
        around: A context in which the app runs.
        beneath: What the developer's lifespan may use already.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        guards_hypercorn: bool,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
        beneath: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    ) -> None:
        self.state: dict[str, Any] = {}
        self.draining = Draining()
        self._limits = limits
        self._guards_hypercorn = guards_hypercorn
        self._around = around
        self._beneath = beneath
        self._function: LifespanFunction | None = None
        self._is_open = False
        self._has_failed = False
        self._context: contextvars.Context | None = None
        self._nursery: trio.Nursery | None = None
        self._outside: trio.Nursery | None = None  # around it all, in the server's lifespan task
        self._early: list[Callable[[trio.Nursery], None]] = []
        self._live: set[Ticket] = set()
        self._gone = trio.lowlevel.ParkingLot()
        self._cut_off = 0
        self._cut_off_at = -math.inf
        self._patience_ends = 0.0

    # Registration

    def register(self, function: LifespanFunction) -> None:
        """Set what runs around the app.

        Raises:
            RouteError: There is one already, or it cannot be one.
        """
        if self._function is not None:
            raise RouteError("the app has a lifespan already; put both into one function")
        if not callable(function) or inspect.iscoroutinefunction(function):
            raise RouteError(
                f"the lifespan {function!r} makes no async context manager; write it as an "
                "async generator that yields once"
            )
        self._function = function

    def _enter_function(self) -> AbstractAsyncContextManager[State]:
        if self._function is None:
            return nullcontext()
        if inspect.isasyncgenfunction(self._function):
            return asynccontextmanager(self._function)()
        manager = self._function()
        if not isinstance(manager, AbstractAsyncContextManager):
            raise TypeError(
                f"the lifespan made a {type(manager).__name__}, no async context manager; "
                "write it as an async generator that yields once"
            )
        return manager

    # Tasks

    @property
    def nursery(self) -> trio.Nursery:
        """The app's nursery."""
        if self._nursery is None:
            raise NotRunning("app.nursery was asked for")
        return self._nursery

    def start_soon(self, fn: Callable[[*Args], Awaitable[object]], *args: *Args) -> None:
        """Start a task in the context captured at start-up."""
        context = self._context
        if context is None:
            raise NotRunning("app.start_soon was called")
        if self._nursery is not None:
            context.run(partial(self._nursery.start_soon, fn, *args))
        else:
            # The developer's lifespan has not yielded: there is no nursery yet.
            self._early.append(lambda nursery: context.run(partial(nursery.start_soon, fn, *args)))

    # Connections

    def refusal(self) -> tuple[Reject, str] | None:
        """Return how, and why, a new handshake is to be refused; None if it is welcome.

        Whoever is welcome is admitted at once: nothing may come between, or a burst of
        handshakes would get past `max_connections`.

        Raises:
            NotRunning: The app has a lifespan, and it is not running.
        """
        if self._function is not None and not self._is_open:
            raise NotRunning("a connection came in")
        if self._has_failed:
            return Reject(503), "a task of the app has failed"
        if self.draining:
            return Reject(503), "server draining"
        bound = self._limits.max_connections
        if bound is not None and len(self._live) >= bound:
            return Reject(503, headers={"Retry-After": "5"}), f"max_connections={bound} reached"
        return None

    def ticket(self) -> Ticket:
        """Return a ticket for what may become a connection."""
        return Ticket(self)

    def _sign_out(self, ticket: Ticket, *, is_cut_off: bool) -> None:
        if ticket not in self._live:
            return  # It was refused, or is somebody else's.
        if is_cut_off:
            self._count_cut_off()
        self._live.remove(ticket)
        self._gone.unpark_all()

    def _count_cut_off(self) -> None:
        now = trio.current_time()
        if now - self._cut_off_at > SHUTDOWN:
            self._cut_off = 0
        self._cut_off += 1
        self._cut_off_at = now

    def _stop_connections(self, stop: Stop) -> None:
        self._patience_ends = trio.current_time() + DRAIN_GRACE
        for connection in list(self._live):
            connection.stop(stop)

    async def _wait_for_connections(self) -> None:
        while self._live:
            await self._gone.park()

    # The life itself

    @asynccontextmanager
    async def running(self, draining: Draining | None = None) -> AsyncGenerator[dict[str, Any]]:
        """Run the app's lifespan and its nursery around a block.

        Args:
            draining: The server's, where it has one.
        """
        if self._context is not None:
            raise StateError("the app's lifespan is running already")
        self.draining = Draining() if draining is None else draining
        self._has_failed = False
        self._cut_off = 0
        with self._around():
            self._context = contextvars.copy_context()
            try:
                with self._guard(draining):
                    async with self._beneath(), self._enter_function() as state:
                        self.state = dict(state or {})
                        async with self._open_nursery():
                            yield self.state
            finally:
                self._context = None
                self._early.clear()

    def _guard(self, draining: Draining | None) -> AbstractContextManager[None]:
        # Our own server has brought that, and needs no guard.
        if self._guards_hypercorn and draining is None:
            return guard_hypercorn(self._limits.send_timeout)
        return nullcontext()

    @asynccontextmanager
    async def _open_nursery(self) -> AsyncGenerator[None]:
        self._is_open = True
        try:
            async with trio.open_nursery() as self._nursery:
                for start in self._early:
                    start(self._nursery)
                try:
                    yield
                except BaseException as exc:
                    is_ours = False
                    # Whatever the look says, or if it says nothing in time, everybody is told.
                    with trio.move_on_after(1, shield=True):
                        is_ours = isinstance(exc, trio.Cancelled) and await self._is_ours()
                    self._end_badly(is_ours=is_ours or self._nursery.cancel_scope.cancel_called)
                    raise
                self._stop_for_drain()
                with trio.move_on_at(self._patience_ends, shield=True):
                    await self._wait_for_connections()
                self._nursery.cancel_scope.cancel(reason="the app is shutting down")
            if self._has_failed:
                raise StateError(
                    "app.nursery was cancelled, and the app cannot go on without it; to stop an "
                    "app, stop its server"
                )
        finally:
            # What the lifespan provides must outlive the handlers that use it.
            with trio.move_on_at(self._patience_ends, shield=True):
                await self._wait_for_connections()
            self._nursery = None
            self._is_open = False

    def _end_badly(self, *, is_ours: bool) -> None:
        """End at once: an app task has failed, or the server has cancelled the lifespan."""
        if is_ours:
            self._has_failed = True
            reason = "a task of the app has failed"
            self._stop_connections(Stop(Close(INTERNAL_ERROR), reason, logging.NOTSET))
        else:
            self._stop_for_drain()

    @asynccontextmanager
    async def _seen_from_outside(self) -> AsyncGenerator[None]:
        async with trio.open_nursery() as nursery:
            self._outside = nursery
            try:
                yield
            finally:
                self._outside = None

    async def _is_ours(self) -> bool:
        """Return, of a cancellation, whether it was something of the lifespan, not the server.

        Only a task that is outside of the lifespan can tell; there is one below a server.
        """
        if self._outside is None:
            return False
        deadlines: list[float] = []
        is_told = trio.Event()

        async def look() -> None:  # noqa: ASYNC124  # nurseries take no other
            deadlines.append(trio.current_effective_deadline())
            is_told.set()

        self._outside.start_soon(look)
        await is_told.wait()
        return deadlines[0] > -math.inf

    def _stop_for_drain(self) -> None:
        is_logged = bool(self.draining)  # by our own server, which has told of it
        self.draining.set()
        stop = Stop(Close(GOING_AWAY, "server draining"), "server draining", logging.NOTSET)
        is_recent = trio.current_time() - self._cut_off_at <= SHUTDOWN
        count = len(self._live) + self._cut_off * is_recent
        if count and not is_logged:
            error_log.info("server draining: %d connections are closed with 1001", count)
        self._stop_connections(stop)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak the ASGI lifespan protocol with the server."""
        await receive()
        phase, blame = "startup", "the app could not start"
        failures: list[Exception] = []
        try:
            async with (
                self._seen_from_outside(),
                self.running((scope.get("extensions") or {}).get(EXTENSION)) as state,
            ):
                if "state" in scope:
                    scope["state"].update(state)
                await send({"type": "lifespan.startup.complete"})
                phase, blame = "shutdown", "the app or a task of it failed"
                await receive()
        except* Exception as group:
            failures = leaves_of(group)
        if not failures:
            await send({"type": "lifespan.shutdown.complete"})
            return
        for failure in failures:
            log_failure(blame, failure=failure)
            reporter_of(scope)(failure)
        message = "; ".join(f"{type(failure).__name__}: {failure}" for failure in failures)
        # Unasked for, "shutdown.failed" is what makes a server stop.
        await send({"type": f"lifespan.{phase}.failed", "message": message})
