"""`triows.serve`: an app, on sockets, from its lifespan's start to its end."""

import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from copy import copy
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import TypeAlias

import trio
from hypercorn.config import Config, Sockets

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
from triows.server._wheel import Wheel

_DEFAULT_DRAIN = Drain()

_UNIX = "unix:"

Listener: TypeAlias = trio.SocketListener | trio.SSLListener[trio.SocketStream]


async def serve(
    app: ASGIApp,
    config: Config | None = None,
    *,
    bind: str | Sequence[str] | None = None,
    sockets: Sockets | None = None,
    compression: Compression | None = None,
    shutdown_trigger: Callable[[], Awaitable[object]] | None = None,
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
        bind: Where to listen, over the config's: "HOST:PORT", "unix:PATH" or "fd://N".
            Port 0 is any that is free.
        sockets: What to listen on instead, made by `Config.create_sockets`; they are closed.
        compression: "deflate" agrees to permessage-deflate (RFC 7692) where a client
            offers it. Off by default: it costs 50 KiB and more a connection.
        shutdown_trigger: Async function; when it returns, the server drains.
        drain: How connections are let go.
        task_status: Told the addresses, as "http://127.0.0.1:8000" or "unix:PATH".

    Raises:
        OSError: It cannot listen there.
        AppFailed: The app could not start, or a task of it failed.
    """
    config = Config() if config is None else copy(config)
    if bind is not None:
        config.bind = [bind] if isinstance(bind, str) else list(bind)
    if "alpn_protocols" not in vars(config):
        # hypercorn's websockets over HTTP/2 break at an ordinary close (pgjones/hypercorn#329).
        config.alpn_protocols = ["http/1.1"]
    made = sockets is None
    if sockets is None:
        sockets = config.create_sockets()
    if sockets.quic_sockets:
        error_log.warning("HTTP/3 is not served: quic_bind is ignored")
    failure: BaseException | None = None
    try:
        async with open_lifespan(app, config.startup_timeout, config.shutdown_timeout) as lifespan:
            server = Server(app, config, sockets, lifespan, compression)
            await server.run(shutdown_trigger, drain, task_status)
    except BaseExceptionGroup as group:
        failure = unwrap(group)
    finally:
        for sock in _all(sockets):
            if made:
                _unlink(sock)
            sock.close()
    # Raised here, it does not have the group as its context.
    if failure is not None:
        raise failure


class Server:
    """An app that has started, on its sockets."""

    def __init__(
        self,
        app: ASGIApp,
        config: Config,
        sockets: Sockets,
        lifespan: Lifespan,
        compression: Compression | None,
    ) -> None:
        self._config = config
        self._sockets = sockets
        self._lifespan = lifespan
        self._wheel = Wheel()
        self._bridge = Bridge(app, config, lifespan.state)
        self._connections = Connections(
            app, config, self._wheel, state=lifespan.state, compression=compression
        )

    async def run(
        self,
        shutdown_trigger: Callable[[], Awaitable[object]] | None,
        drain: Drain,
        task_status: trio.TaskStatus[list[str]],
    ) -> None:
        """Listen and serve, until the trigger returns or the app fails; then drain."""
        async with _open_pump(self._wheel) as pump, trio.open_nursery() as nursery:
            async with self._open_listeners(pump, nursery) as addresses:
                task_status.started(addresses)
                await self._wait_end(shutdown_trigger)
            await self._drain(drain, nursery)
        self._lifespan.raise_failure()

    @asynccontextmanager
    async def _open_listeners(
        self, pump: Pump | None, nursery: trio.Nursery
    ) -> AsyncGenerator[list[str]]:
        reception = Reception(
            self._connections,
            self._bridge,
            self._wheel,
            nursery,
            max_head=self._config.h11_max_incomplete_size,
        )
        plain, secure = self._sockets.insecure_sockets, self._sockets.secure_sockets
        for sock in [*plain, *secure]:
            sock.listen(self._config.backlog)
            sock.settimeout(0)
        listeners = [reception.listen(pump, sock) for sock in plain if pump is not None]
        streams = [_listener_of(sock) for sock in plain if pump is None]
        context = self._config.create_ssl_context()
        streams += [_listener_of(sock, context) for sock in secure]
        try:
            async with trio.open_nursery() as accepting:
                accept = partial(trio.serve_listeners, handler_nursery=nursery)
                for stream in streams:
                    await accepting.start(accept, reception.welcome, [stream])
                yield [_name_of("http", sock) for sock in plain] + [
                    _name_of("https", sock) for sock in secure
                ]
                accepting.cancel_scope.cancel(reason="the server has stopped listening")
        finally:
            for listener in listeners:
                listener.close()

    async def _wait_end(self, trigger: Callable[[], Awaitable[object]] | None) -> None:
        async with trio.open_nursery() as nursery:

            async def wait(ending: Callable[[], Awaitable[object]]) -> None:
                await ending()
                nursery.cancel_scope.cancel(reason="the server is asked to end")

            nursery.start_soon(wait, self._lifespan.ended.wait)
            nursery.start_soon(wait, self._bridge.terminate.wait)
            if trigger is not None:
                nursery.start_soon(wait, trigger)

    async def _drain(self, drain: Drain, nursery: trio.Nursery) -> None:
        """Let the connections go, those of hypercorn's too; at the end cancel what is left."""
        if self._connections:
            error_log.info("server draining: %d connections", len(self._connections))
        self._lifespan.draining.set()
        await self._bridge.close_idle()
        with trio.move_on_after(drain.notice):
            await self._connections.wait_none()
        await self._connections.close_all(drain)

        def give_up() -> None:
            nursery.cancel_scope.cancel(reason=drain.reason)

        self._wheel.add().set("grace", trio.current_time() + drain.grace, give_up)


@asynccontextmanager
async def _open_pump(wheel: Wheel) -> AsyncGenerator[Pump | None]:
    """Run the tasks that all connections share; they outlive the connections' farewells."""
    pump = Pump() if HAS_EPOLL else None
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
            pump.close()


def _listener_of(sock: socket.socket, context: SSLContext | None = None) -> Listener:
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    if context is None:
        return listener
    return trio.SSLListener(listener, context, https_compatible=True)


def _name_of(scheme: str, sock: socket.socket) -> str:
    name = sock.getsockname()
    if not isinstance(name, tuple):
        return f"{_UNIX}{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{scheme}://{host}:{name[1]}"


def _all(sockets: Sockets) -> list[socket.socket]:
    return [*sockets.insecure_sockets, *sockets.secure_sockets, *sockets.quic_sockets]


def _unlink(sock: socket.socket) -> None:
    # Left behind, the path would look like a server that has crashed.
    if sock.family == getattr(socket, "AF_UNIX", None):
        with suppress(OSError):
            Path(sock.getsockname()).unlink()
