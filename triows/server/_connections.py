"""The WebSocket connections of the fast lane, each in a task of its own."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio
from hypercorn.config import Config

from triows._datastructures import Headers
from triows._groups import leaves_of
from triows._headers import RawHeaders
from triows._logs import log_failure
from triows._native import EXTENSION, Offer
from triows._types import Address, ASGIApp, Scope
from triows.server._bounds import limits_of
from triows.server._channel import Channel
from triows.server._handshake import check_handshake, websocket_scope
from triows.server._opening import Compression, Opening
from triows.server._request_head import BadRequest, RequestHead
from triows.server._roster import Roster
from triows.server._server_headers import ServerHeaders
from triows.server._transport import ServerTransport
from triows.server._wheel import Wheel, WheelTimer
from triows.server._wire import Wire


class Connections:
    """Serves an app to connections whose handshakes have come.

    Args:
        app: The ASGI app.
        config: Hypercorn's; the bounds of apps that bring none of their own are in it.
        wheel: Keeps the deadlines of all connections.
        roster: Has all connections.
        state: What the lifespan has yielded.
        compression: What is agreed to, if a client asks for it.

    Attributes:
        headers: Those that this server adds to every answer.

    Raises:
        ValueError: A header or a bound of the config is none.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: Config,
        wheel: Wheel,
        roster: Roster,
        *,
        state: dict[str, object],
        compression: Compression | None,
    ) -> None:
        self._app = app
        self._config = config
        self._wheel = wheel
        self._roster = roster
        self._state = state
        self._compression = compression
        self._limits = limits_of(config)
        self.headers = ServerHeaders(self._make_headers)

    def open(
        self,
        head: RequestHead,
        wire: Wire,
        timer: WheelTimer,
        *,
        is_secure: bool,
        client: Address | None,
        server: Address | None,
        rest: bytes,
    ) -> Callable[[], Awaitable[None]]:
        """Return the async function that serves a new connection.

        Args:
            head: The handshake.
            wire: Of the socket, which is watched already.
            timer: Of the connection.
            is_secure: It is one over TLS.
            client: Of the socket.
            server: Of the socket.
            rest: What has come behind the head.

        Raises:
            BadRequest: The handshake is none.
        """
        key = check_handshake(head)
        opening = Opening(
            key,
            [value.decode("latin-1") for value in head.values(b"sec-websocket-extensions")],
            self._compression,
            self.headers,
        )
        transport = ServerTransport(wire, opening, timer, self._limits)
        channel = Channel(transport, self._limits, client)
        receive, send = channel.receive, channel.send
        scope = websocket_scope(
            head,
            scheme="wss" if is_secure else "ws",
            client=client,
            server=server,
            root_path=self._config.root_path,
            state=self._state,
            extensions={EXTENSION: Offer(transport, receive, send)},
        )
        self._check_host(scope)
        wire.user = transport
        if rest:
            transport.take(rest)
        self._roster.add(transport)
        return partial(self._serve, transport, timer, channel, scope)

    def _make_headers(self) -> RawHeaders:
        headers = self._config.response_headers("h11")
        return [(k, b"triows" if k == b"server" else v) for k, v in headers]

    def _check_host(self, scope: Scope) -> None:
        names = self._config.server_names
        if names and Headers(scope["headers"])["host"] not in names:
            raise BadRequest(404, "There is no such host here.")

    async def _serve(
        self, transport: ServerTransport, timer: WheelTimer, channel: Channel, scope: Scope
    ) -> None:
        offer = scope["extensions"][EXTENSION]
        started_at = trio.current_time()
        failures: list[Exception] = []
        try:
            try:
                # No coroutine of our own between: it would stay as long as the connection does.
                await self._app(scope, offer.receive, offer.send)
            except* Exception as group:
                # In here, or those beside a cancellation would be lost with it.
                failures = [leaf for leaf in leaves_of(group) if not channel.is_departure(leaf)]
                for failure in failures:
                    log_failure("an app failed", failure=failure)
            await channel.end(has_failed=bool(failures))
            if channel.is_used and self._config.accesslog:
                await self._log_access(scope, channel.status, trio.current_time() - started_at)
        finally:
            # Cancelled, it has said its farewell, or does it now.
            transport.leave()
            self._wheel.discard(timer)
            self._roster.remove(transport)

    async def _log_access(self, scope: Any, status: int, seconds: float) -> None:
        # Its types name every kind of scope; ours are of any ASGI app.
        summary: Any = {"status": status, "headers": []}
        try:
            await self._config.log.access(scope, summary, seconds)
        except Exception as exc:
            # `logger_class` may be anybody's.
            log_failure("the access log failed", failure=exc)
