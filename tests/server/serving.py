"""Our server in this process, by each of its three ways, and the ways to it."""

import logging
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from copy import copy
from functools import cache, partial
from typing import Any, TypeAlias

import httpx
import pytest
import trio
import trustme
from hypercorn.config import Config
from websockets.trio.client import ClientConnection, connect

from tests.e2e.clients import Closed, Refused, see
from triows import Drain, serve
from triows._types import ASGIApp, Receive, Scope, Send
from triows.server._serve import Server

WAYS = ("pump", "stream", "tls")
"""By epoll; without it; and under TLS."""

each_way = pytest.mark.parametrize("way", WAYS)

BOUND = 100.0
"""Seconds of a clock that jumps, for a whole test."""

Stream: TypeAlias = trio.SocketStream | trio.SSLStream[trio.SocketStream]

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
"""The head of a handshake (RFC 6455 §1.3), but for its last, empty line."""


def handshake(path: str = "/", *lines: str) -> bytes:
    """Return a handshake, with some more header lines."""
    return "".join(
        [HANDSHAKE.format(path=path), *(f"{line}\r\n" for line in lines), "\r\n"]
    ).encode()


@cache
def authority() -> trustme.CA:
    """Return who has signed the certificate of every server here."""
    return trustme.CA()


@cache
def _certificate() -> trustme.LeafCert:
    return authority().issue_cert("127.0.0.1")


@cache
def client_context() -> ssl.SSLContext:
    """Return what a client trusts."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


class Running:
    """A server that runs.

    Attributes:
        addresses: Where it listens, as it has told.
        scope: Around `serve`.
        has_ended: It has returned.
    """

    def __init__(self, way: str) -> None:
        self.addresses: Sequence[str] = []
        self.scope = trio.CancelScope()
        self.has_ended = trio.Event()
        self.trigger = trio.Event()
        self._tls = client_context() if way == "tls" else None

    @property
    def port(self) -> int:
        """The port of the first address."""
        return int(self.addresses[0].rpartition(":")[2])

    def ws(self, path: str = "/") -> str:
        """Return the URL of a WebSocket."""
        return f"{'ws' if self._tls is None else 'wss'}://127.0.0.1:{self.port}{path}"

    def http(self, **options: Any) -> httpx.AsyncClient:
        """Return an HTTP client for this server."""
        scheme = "http" if self._tls is None else "https"
        verify = True if self._tls is None else self._tls
        url = f"{scheme}://127.0.0.1:{self.port}"
        return httpx.AsyncClient(base_url=url, verify=verify, trust_env=False, **options)

    def connect(
        self, path: str = "/", **options: Any
    ) -> AbstractAsyncContextManager[ClientConnection]:
        """Connect with the `websockets` library: no pings, and no compression unless asked for."""
        bare = {"compression": None, "ping_interval": None, "proxy": None, "ssl": self._tls}
        return connect(self.ws(path), **{**bare, **options})

    async def see(
        self, path: str = "/", *messages: str | bytes, **options: Any
    ) -> Closed | Refused:
        """Connect, send the messages, and return how the connection ended."""
        return await see(self.ws(path), *messages, ssl=self._tls, **options)

    @asynccontextmanager
    async def open_stream(self) -> AsyncGenerator[Stream]:
        """Connect a bare stream, and drop it on leaving."""
        stream: Stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        if self._tls is not None:
            assert isinstance(stream, trio.SocketStream)
            stream = trio.SSLStream(
                stream, self._tls, server_hostname="127.0.0.1", https_compatible=True
            )
        try:
            yield stream
        finally:
            await trio.aclose_forcefully(stream)

    @asynccontextmanager
    async def open_upgraded(self, path: str = "/", *lines: str) -> AsyncGenerator[Stream]:
        """Connect a bare stream that has been through the handshake."""
        async with self.open_stream() as stream:
            await stream.send_all(handshake(path, *lines))
            head = await read_head(stream)
            assert head.startswith("HTTP/1.1 101"), head
            yield stream

    async def exchange(self, data: bytes) -> str:
        """Send bytes on a connection of its own, and return all that comes back."""
        async with self.open_stream() as stream:
            await stream.send_all(data)
            return (await read_all(stream)).decode("latin-1")

    def stop(self) -> None:
        """Ask the server to drain and end."""
        self.trigger.set()


async def read_head(stream: Stream) -> str:
    """Read the head of a response, byte by byte so that nothing behind it is lost."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = await stream.receive_some(1)
        assert byte, f"the connection ended after {head!r}"
        head += byte
    return head.decode("latin-1")


async def read_all(stream: Stream) -> bytes:
    """Read until the peer closes or resets the connection."""
    received = b""
    try:
        while chunk := await stream.receive_some():
            received += chunk
    except trio.BrokenResourceError:
        pass
    return received


def logging_config(caplog: pytest.LogCaptureFixture, **settings: Any) -> Config:
    """Return a config with an access log that is captured: method, path and status."""
    caplog.set_level(logging.INFO)
    log = logging.getLogger("tests.access")
    return Config.from_mapping(accesslog=log, access_log_format="%(m)s %(U)s %(s)s", **settings)


def accesses(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines of that log."""
    return [r.getMessage() for r in caplog.records if r.name == "tests.access"]


def for_websockets(app: ASGIApp) -> ASGIApp:
    """Return the app without a lifespan, as the simplest are."""

    async def without_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "websocket", "there is nothing else"
        await app(scope, receive, send)

    return without_lifespan


def serve_by(way: str) -> Any:
    """Return `triows.serve`, or what is like it, by one of the ways; "tls" needs a certificate."""

    async def serve_without_epoll(  # noqa: ASYNC128  # `Server.serve` calls it
        app: ASGIApp,
        config: Config | None = None,
        *,
        bind: str | None = None,
        sockets: Any = None,
        compression: Any = None,
        shutdown_trigger: Any = None,
        drain: Drain | None = None,
        task_status: Any = trio.TASK_STATUS_IGNORED,
    ) -> None:
        server = Server(app, config, bind, compression=compression, has_epoll=False)
        drain = Drain() if drain is None else drain
        await server.serve(sockets, shutdown_trigger, drain, task_status.started)

    return serve_without_epoll if way == "stream" else serve


@asynccontextmanager
async def serving(
    app: ASGIApp,
    way: str = "pump",
    *,
    config: Config | None = None,
    bind: str | None = "127.0.0.1:0",
    **options: Any,
) -> AsyncGenerator[Running]:
    """Serve an app around a block; then the server drains, and must end by itself."""
    running = Running(way)

    async def run(  # noqa: ASYNC128  # what it serves by calls it
        task_status: trio.TaskStatus[Sequence[str]],
    ) -> None:
        with running.scope:
            serve_it = partial(serve_by(way), app, secured, bind=bind)
            await serve_it(
                shutdown_trigger=running.trigger.wait, task_status=task_status, **options
            )
        running.has_ended.set()

    with trio.fail_after(BOUND), ExitStack() as stack:
        secured = with_certificate(stack, config) if way == "tls" else config
        async with trio.open_nursery() as nursery:
            running.addresses = await nursery.start(run)
            yield running
            running.stop()


def with_certificate(stack: ExitStack, config: Config | None) -> Config:
    """Return the config with a certificate whose files last as long as the stack."""
    secured = Config() if config is None else copy(config)
    key = _certificate().private_key_pem.tempfile()
    chain = _certificate().cert_chain_pems[0].tempfile()
    secured.keyfile, secured.certfile = stack.enter_context(key), stack.enter_context(chain)
    return secured
