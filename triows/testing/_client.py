"""A client that drives any ASGI app in memory: connections, requests and the lifespan."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import trio

from triows._datastructures import Headers
from triows._errors import ConnectionClosed, HandshakeRejected, StateError
from triows._headers import HeadersInput, RawHeaders, encode_headers
from triows._types import ASGIApp, Event, Receive, Scope, Send
from triows.testing._calls import Call
from triows.testing._lifespan import LifespanServer, raise_all
from triows.testing._peer import Peer
from triows.testing._wire import Wire

HOST = "testserver"


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a plain HTTP request."""

    status: int
    headers: Headers
    body: bytes


class Client:
    """Connects to one app, which is running. Made by `client`."""

    def __init__(
        self, app: ASGIApp, nursery: trio.Nursery, lifespan: LifespanServer, timeout: float
    ) -> None:
        self._app = app
        self._nursery = nursery
        self._lifespan = lifespan
        self._timeout = timeout
        self._calls: set[Call] = set()
        self._is_drained = False

    @asynccontextmanager
    async def websocket(
        self,
        path: str,
        *,
        subprotocols: Sequence[str] = (),
        headers: HeadersInput | None = None,
        scheme: str = "ws",
    ) -> AsyncGenerator[Peer]:
        """Open a connection; leaving the block closes it with 1000 and waits for the app.

        The path may have a query string. No Origin is sent unless it is among the headers:
        the peer is no browser.

        Raises:
            HandshakeRejected: The app answered the handshake with HTTP.
            trio.TooSlowError: The handshake was not answered, or the app did not end
                after the block, within the client's `timeout`.
            Exception: What the handler failed with, as it is; of several, an
                `ExceptionGroup`. It comes instead of the `ConnectionClosed` that the
                failure caused in the block.
        """
        wire = Wire()
        scope = self._scope("websocket", path, headers, scheme)
        scope["subprotocols"] = list(subprotocols)
        scope["extensions"] = {"websocket.http.response": {}}
        call = self._start(scope, wire.receive, wire.send)
        self._nursery.start_soon(_finish, call, wire)
        peer = Peer(wire, self._timeout, call.whereabouts)
        thrown: BaseException | None = None
        try:
            await peer.wait_answer()
            yield peer
            await peer.close()
        except BaseException as exc:  # noqa: ASYNC103  # raised below
            thrown = exc
        if thrown is None or _is_ending(thrown):
            await self._conclude(call, peer, thrown)
        else:
            await self._abandon(call, peer)
            raise_all([thrown, *call.errors])

    async def _conclude(self, call: Call, peer: Peer, ending: BaseException | None) -> None:
        """Let the app end in its own time, and raise what it failed with, or that it ended."""
        peer.drop()
        try:
            await call.wait_ended(self._timeout)
        except BaseException as exc:  # noqa: ASYNC103  # raised by raise_all
            await self._abandon(call, peer)  # noqa: ASYNC102  # shielded there
            raise_all([exc, *call.errors])
        if call.errors:
            raise_all(call.errors, ending)
        if ending is not None:
            raise ending

    async def _abandon(self, call: Call, peer: Peer) -> None:
        """End a call whatever the test is doing; one that does not end, `drain` reports."""
        peer.drop()
        call.cancel("the test has failed")
        with trio.CancelScope(shield=True, deadline=trio.current_time() + self._timeout):
            await call.ended.wait()

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: HeadersInput | None = None,
        body: bytes = b"",
    ) -> Response:
        """Make a plain HTTP request and return the whole answer.

        Raises:
            trio.TooSlowError: The app did not answer within the client's `timeout`.
            Exception: What the app failed with.
        """
        scope = self._scope("http", path, headers, "http")
        scope["method"] = method
        events: list[Event] = [{"type": "http.request", "body": body, "more_body": False}]
        answers: list[Event] = []
        answered = trio.Event()

        async def receive() -> Event:
            await trio.lowlevel.checkpoint()
            if events:
                return events.pop()
            await answered.wait()
            return {"type": "http.disconnect"}

        async def send(event: Event) -> None:
            await trio.lowlevel.checkpoint()
            answers.append(event)
            if event["type"] == "http.response.body" and not event.get("more_body", False):
                answered.set()

        call = self._start(scope, receive, send)
        try:
            await call.wait_ended(self._timeout)
        finally:
            call.cancel("the request was given up")
        if call.errors:
            raise_all(call.errors)
        return _response(answers)

    async def drain(self) -> None:
        """Shut the app down as hypercorn does: cancel the connections, then end the lifespan.

        Peers see how the app takes its leave. Done once; leaving the client does it too.

        Raises:
            trio.TooSlowError: A connection or the lifespan did not end within the
                client's `timeout`.
            Exception: What the lifespan or a task of the app failed with.
        """
        if self._is_drained:
            return
        self._is_drained = True
        for call in list(self._calls):
            call.cancel("server shutting down")
        for call in list(self._calls):
            await call.wait_ended(self._timeout)
        await self._lifespan.stop()

    def _start(self, scope: Scope, receive: Receive, send: Send) -> Call:
        if self._is_drained:
            raise StateError("the app was drained: it takes no more connections")
        call = Call(self._app, scope, receive, send)
        self._calls.add(call)
        self._nursery.start_soon(self._run, call)
        return call

    async def _run(self, call: Call) -> None:
        try:
            await call.run()
        finally:
            self._calls.discard(call)

    def _scope(
        self, kind: str, path: str, headers: HeadersInput | None, scheme: str
    ) -> dict[str, Any]:
        path, _, query = path.partition("?")
        raw: RawHeaders = encode_headers(headers)
        if not any(name == b"host" for name, _ in raw):
            raw.insert(0, (b"host", HOST.encode()))
        return {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": scheme,
            "path": unquote(path),
            "raw_path": quote(path, safe="/%:@!$&'()*+,;=~").encode(),
            "query_string": quote(query, safe="/%:@!$&'()*+,;=~?").encode(),
            "root_path": "",
            "headers": raw,
            "client": ("127.0.0.1", 50000),
            "server": (HOST, 80),
            "state": dict(self._lifespan.state),
        }


def _is_ending(exc: BaseException) -> bool:
    """Tell whether a test raised nothing but that its connection has ended."""
    endings = (ConnectionClosed, HandshakeRejected)
    if isinstance(exc, BaseExceptionGroup):
        return exc.split(endings)[1] is None
    return isinstance(exc, endings)


async def _finish(call: Call, wire: Wire) -> None:
    await call.ended.wait()
    wire.finish()


def _response(answers: list[Event]) -> Response:
    if not answers or answers[0]["type"] != "http.response.start":
        raise StateError(f"the app sent no response, but {answers!r}")
    start, *rest = answers
    body = b"".join(event.get("body", b"") for event in rest)
    return Response(start["status"], Headers(list(start.get("headers", []))), body)


@asynccontextmanager
async def client(app: ASGIApp, *, timeout: float = 10.0) -> AsyncGenerator[Client]:
    """Run an ASGI app in memory, lifespan and all, around a block.

    Args:
        app: Any ASGI app that runs on Trio.
        timeout: Seconds, on Trio's clock, that anything is waited for at most.

    Raises:
        Exception: What the lifespan or a task of the app failed with.
    """
    lifespan = LifespanServer(app, timeout)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lifespan.run)
            await lifespan.start()
            tester = Client(app, nursery, lifespan, timeout)
            failures: list[BaseException] = []
            try:
                yield tester
            except BaseException as exc:  # noqa: ASYNC103  # raised below
                failures.append(exc)
            try:
                with trio.CancelScope(shield=True):
                    await tester.drain()
            except Exception as exc:
                # That a connection ended is what the app's failure led to.
                failures = [failure for failure in failures if not _is_ending(failure)] + [exc]
            nursery.cancel_scope.cancel(reason="the test client is done")
            if failures:
                raise_all(failures)
    except BaseExceptionGroup as group:
        # The nursery's own tasks raise nothing: it is the block's exception, wrapped.
        raise_all(group.exceptions)
