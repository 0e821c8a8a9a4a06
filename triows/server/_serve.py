"""`triows.serve`: an app, on sockets, from its lifespan's start to its end."""

import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import replace
from ssl import SSLContext
from typing import TypeAlias

import trio
from hypercorn.config import Config, Sockets

from triows._close import INTERNAL_ERROR
from triows._groups import unwrap
from triows._logs import error_log
from triows._types import ASGIApp
from triows.server._bridge import Bridge
from triows.server._connections import Connections
from triows.server._drain import Drain
from triows.server._lifespan import Lifespan, open_lifespan
from triows.server._opening import Compression
from triows.server._pump import HAS_EPOLL, Pump
from triows.server._reception import Reception
from triows.server._roster import Roster
from triows.server._sockets import name_of, open_sockets
from triows.server._wheel import Wheel

_DEFAULT_DRAIN = Drain()

Trigger: TypeAlias = Callable[[], Awaitable[object]]

Started: TypeAlias = Callable[[list[str]], None]
"""Is told the addresses."""

Listener: TypeAlias = trio.SocketListener | trio.SSLListener[trio.SocketStream]


async def serve(  # noqa: ASYNC128  # the server tells it
    app: ASGIApp,
    config: Config | None = None,
    *,
    bind: str | Sequence[str] | None = None,
    sockets: Sockets | None = None,
    compression: Compression | None = None,
    shutdown_trigger: Trigger | None = None,
    drain: Drain = _DEFAULT_DRAIN,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an app until `shutdown_trigger` returns, then let its connections go.

    `addresses = await nursery.start(triows.serve, app)` returns when it listens.
    Cancelled, it cancels every handler; their peers are told 1001, within a second. It
    never touches signals: that is for the program that it is a part of.

    Args:
        app: A triows app, or any ASGI app for Trio.
        config: Hypercorn's, of which bind, certificates, root path, header and timeout
            settings mean what they mean there; the defaults of `hypercorn.Config` without.
            Its `websocket_max_message_size` (16 MiB by default) bounds every route's
            `max_message_size`, and its `websocket_ping_interval` is that of every route
            that names none. `graceful_timeout` is not used, there is `drain`; nor is
            `read_timeout` of WebSockets, there is `idle_timeout`.
        bind: Where to listen, over the config's: "HOST:PORT", "unix:PATH" or "fd://N".
            Port 0 is any that is free.
        sockets: What to listen on instead, made by `Config.create_sockets`; they are closed.
        compression: "deflate" agrees to permessage-deflate (RFC 7692) where a client
            offers it. Off by default: it costs 50 KiB and more a connection.
        shutdown_trigger: Async function; when it returns, the server drains.
        drain: How connections are let go.
        task_status: Told the addresses, as "http://127.0.0.1:8000" or "unix:PATH".

    Raises:
        OSError: It cannot listen there, or read the certificate (`ssl.SSLError` is one).
        AppFailed: The app could not start, or a task of it failed. Its connections then
            get 1011 instead of the code of `drain`, and no notice.
    """
    server = Server(app, config, bind, compression=compression)
    await server.serve(sockets, shutdown_trigger, drain, task_status.started)


class Server:
    """An app and how it is to be served; by a pump where there is epoll."""

    def __init__(
        self,
        app: ASGIApp,
        config: Config | None,
        bind: str | Sequence[str] | None,
        *,
        compression: Compression | None = None,
        has_epoll: bool = HAS_EPOLL,
    ) -> None:
        self._app = app
        self._config = Config() if config is None else copy(config)
        if bind is not None:
            self._config.bind = [bind] if isinstance(bind, str) else list(bind)
        if self._config.alpn_protocols is Config.alpn_protocols:
            # hypercorn's websockets over HTTP/2 break at an ordinary close
            # (pgjones/hypercorn#329).
            self._config.alpn_protocols = ["http/1.1"]
        self._compression = compression
        self._has_epoll = has_epoll

    async def serve(
        self,
        sockets: Sockets | None,
        trigger: Trigger | None,
        drain: Drain,
        started: Started,
    ) -> None:
        """Serve the app once; see the function of this name."""
        failure: BaseException | None = None
        try:
            await self._serve(sockets, trigger, drain, started)
        except BaseExceptionGroup as group:
            failure = unwrap(group)
        # Raised here, it does not have the group as its context.
        if failure is not None:
            raise failure

    async def _serve(
        self,
        sockets: Sockets | None,
        trigger: Trigger | None,
        drain: Drain,
        started: Started,
    ) -> None:
        config = self._config
        wheel, roster = Wheel(), Roster()
        with open_sockets(config, sockets) as opened:
            context = config.create_ssl_context()
            if opened.secure_sockets and context is None:
                raise ValueError("secure sockets need a certfile and a keyfile in the config")
            async with (
                open_lifespan(self._app, config.startup_timeout, config.shutdown_timeout) as life,
                _open_pump(wheel, has_epoll=self._has_epoll) as pump,
            ):
                connections = Connections(
                    self._app,
                    config,
                    wheel,
                    roster,
                    state=life.state,
                    compression=self._compression,
                )
                service = Service(
                    config,
                    life,
                    wheel=wheel,
                    pump=pump,
                    roster=roster,
                    bridge=Bridge(self._app, config, life.state, roster),
                    connections=connections,
                )
                await service.run(opened, context, trigger, drain, started)


class Service:
    """An app that has started, with all that serves it."""

    def __init__(
        self,
        config: Config,
        lifespan: Lifespan,
        *,
        wheel: Wheel,
        pump: Pump | None,
        roster: Roster,
        bridge: Bridge,
        connections: Connections,
    ) -> None:
        self._config = config
        self._lifespan = lifespan
        self._wheel = wheel
        self._pump = pump
        self._roster = roster
        self._bridge = bridge
        self._connections = connections

    async def run(
        self,
        sockets: Sockets,
        context: SSLContext | None,
        trigger: Trigger | None,
        drain: Drain,
        started: Started,
    ) -> None:
        """Listen and serve, until the trigger returns or the app fails; then drain."""
        async with trio.open_nursery() as nursery:
            async with self._open_listeners(sockets, context, nursery):
                started(
                    [name_of("http", sock) for sock in sockets.insecure_sockets]
                    + [name_of("https", sock) for sock in sockets.secure_sockets]
                )
                await self._wait_end(trigger)
            await self._drain(drain, nursery)

    @asynccontextmanager
    async def _open_listeners(
        self, sockets: Sockets, context: SSLContext | None, nursery: trio.Nursery
    ) -> AsyncGenerator[None]:
        pump = self._pump
        reception = Reception(
            self._connections, self._bridge, self._wheel, nursery, config=self._config
        )
        everywhere = [*sockets.insecure_sockets, *sockets.secure_sockets]
        try:
            for sock in everywhere:
                sock.listen(self._config.backlog)
                sock.settimeout(0)
            async with trio.open_nursery() as accepting:
                for sock in sockets.insecure_sockets:
                    if pump is not None:
                        reception.listen(pump, sock)
                    else:
                        accepting.start_soon(self._accept, reception, _listener_of(sock), nursery)
                for sock in sockets.secure_sockets:
                    listener = _listener_of(sock, context)
                    accepting.start_soon(self._accept, reception, listener, nursery)
                yield
                accepting.cancel_scope.cancel(reason="the server has stopped listening")
        finally:
            reception.close(pump)
            for sock in everywhere:
                sock.close()

    async def _accept(
        self, reception: Reception, listener: Listener, nursery: trio.Nursery
    ) -> None:
        await trio.serve_listeners(reception.welcome, [listener], handler_nursery=nursery)

    async def _wait_end(self, trigger: Trigger | None) -> None:
        endings = [self._lifespan.failed.wait, self._bridge.terminate.wait]
        await _wait_first(*endings if trigger is None else [*endings, trigger])

    async def _drain(self, drain: Drain, nursery: trio.Nursery) -> None:
        """Let the connections go, those of hypercorn's too; at the end cancel what is left."""
        if self._roster:
            error_log.info("server draining: %d connections", len(self._roster))
        self._lifespan.draining.set()
        await self._bridge.close_idle()
        if drain.notice:  # Else nobody has the time to end by themselves.
            with trio.move_on_after(drain.notice):
                await _wait_first(self._roster.wait_none, self._lifespan.failed.wait)
        if self._lifespan.failed.is_set():
            drain = replace(drain, code=INTERNAL_ERROR, reason="")
        await self._roster.close_all(drain)

        def give_up() -> None:
            nursery.cancel_scope.cancel(reason=drain.reason)

        self._wheel.add().set("grace", trio.current_time() + drain.grace, give_up)


async def _wait_first(*endings: Trigger) -> None:
    """Wait until the first of several functions returns, and cancel the others."""
    async with trio.open_nursery() as nursery:

        async def wait(ending: Trigger) -> None:
            await ending()
            nursery.cancel_scope.cancel(reason="what was waited for has happened")

        for ending in endings:
            nursery.start_soon(wait, ending)


@asynccontextmanager
async def _open_pump(wheel: Wheel, *, has_epoll: bool) -> AsyncGenerator[Pump | None]:
    """Run the tasks that all connections share; they outlive the connections' farewells."""
    pump = Pump() if has_epoll else None
    shelter = trio.CancelScope(shield=True)

    async def run() -> None:
        with shelter:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(wheel.run)
                if pump is not None:
                    tasks.start_soon(pump.run)
                    tasks.start_soon(pump.run_flusher)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            try:
                yield pump
            finally:
                shelter.cancel(reason="the server has ended")
    finally:
        if pump is not None:
            # With those that were refused, and still have to read it.
            pump.close()


def _listener_of(sock: socket.socket, context: SSLContext | None = None) -> Listener:
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    if context is None:
        return listener
    return trio.SSLListener(listener, context, https_compatible=True)
