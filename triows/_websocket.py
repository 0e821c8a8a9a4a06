"""The object a handler holds: the handshake's facts, and messages in both directions."""

import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, TypeVarTuple

import trio

from triows._answerable import Answerable
from triows._answers import Handshake, Unanswered
from triows._channels import Joined, Since
from triows._close import NORMAL, CloseInfo, check_code, cut_reason
from triows._codecs import decode_json, encode_json, wrong_kind
from triows._datastructures import sdict
from triows._draining import Draining
from triows._errors import ConnectionClosed, StateError
from triows._flow import Flow
from triows._life import Life
from triows._outbox import Overflow
from triows._pipes import Pipeline
from triows._transport import Transport, as_message
from triows._types import Data, Scope

Args = TypeVarTuple("Args")


class WebSocket(Answerable):
    """One connection, from the handshake to the close.

    The first `receive`, `send` or iteration accepts the handshake. After the end
    every `receive` and `send` raises `ConnectionClosed`.

    Handlers reach it as `websocket`, imported from triows; `websocket.unwrap()` is
    this object itself, to be stored and used from any task of the run.

    Attributes:
        path_params: The converted path parameters, by name.
        name: The name of the route, or None outside of routing.
        draining: True once the server lets its connections go; awaitable.
        subprotocol: The chosen subprotocol, or None.
    """

    def __init__(
        self,
        scope: Scope,
        transport: Transport,
        *,
        name: str | None,
        path_params: dict[str, Any],
        state: Mapping[str, Any],
        draining: Draining,
        discard: bool,
        subprotocols: Sequence[str] = (),
    ) -> None:
        super().__init__(scope, transport, subprotocols)
        self.path_params = path_params
        self.name = name
        self._app_state = state
        self.draining = draining
        self._discard = discard
        self._nursery: trio.Nursery | None = None
        self._is_nursery_used = False
        self._context: contextvars.Context | None = None
        self._session: Any = None
        self._flow: Flow | None = None
        # From the accept on, the transport's own.
        self._receive: Callable[[], Coroutine[Any, Any, Data]] = self._receive_first
        self._send: Callable[[Data], Coroutine[Any, Any, None]] = self._send_first

    def __repr__(self) -> str:
        ending = "open" if self.closed is None else str(self.closed)
        return f"<WebSocket {self.path} {self.client} {self._handshake.name.lower()}, {ending}>"

    def unwrap(self) -> "WebSocket":
        """Return this object; of the `websocket` proxy, the object behind it."""
        return self

    @cached_property
    def state(self) -> sdict:
        """What the app's lifespan yielded, copied for this connection; anything may be added."""
        return sdict({**self._app_state, **self._scope.get("state", {})})

    # The life

    @property
    def latency(self) -> float | None:
        """Seconds of the last round trip of a ping; None before one, and over other servers."""
        return self._transport.latency

    @property
    def nursery(self) -> trio.Nursery:
        """The connection's nursery; its tasks are cancelled when the handler returns.

        Raises:
            StateError: The handler has not started.
            ConnectionClosed: The handler has ended.
        """
        if self._nursery is not None:
            self._is_nursery_used = True
            return self._nursery
        if self._context is None:
            raise StateError(
                "websocket.nursery was asked for before the handler started; "
                "start tasks from the handler"
            )
        raise ConnectionClosed(self.closed or CloseInfo(NORMAL, "", by_peer=False), self)

    def start_soon(self, fn: Callable[[*Args], Awaitable[object]], *args: *Args) -> None:
        """Start a task in the connection's nursery, which sees this connection as `websocket`.

        Unlike `nursery.start_soon`, it may be called from anywhere: Trio gives a new
        task the context of its starter, this gives it the handler's. And the task just
        ends if it finds the connection closed, where one of `nursery.start_soon` would
        cancel a handler that may still have messages to read.

        Raises:
            StateError: The handler has not started.
            ConnectionClosed: The handler has ended.
        """
        nursery = self.nursery
        assert self._context is not None, "a nursery is only set together with its context"
        # A copy: the handler itself is running in this one.
        self._context.copy().run(partial(nursery.start_soon, self._run_task, fn, args, name=fn))

    async def _run_task(self, fn: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        try:
            await fn(*args)
        except ConnectionClosed as exc:
            if exc.websocket is not self:
                raise

    def expire_after(self, seconds: float) -> None:
        """Close with 4401 in so many seconds from now; called again, it moves the expiry.

        Made for tokens: set it to the token's life, and again when it was refreshed.
        """
        if not seconds >= 0:
            raise ValueError(f"expire_after takes seconds from now, not {seconds!r}")
        self._lifeline().expire_after(seconds)

    @property
    def session(self) -> Any:
        """The session, a dict whose items are attributes too, of a route with a `SessionPipe`.

        Raises:
            StateError: The route has none, or it has not opened yet.
        """
        if self._session is None:
            raise StateError("there is no session: put a SessionPipe before what uses it")
        return self._session

    @session.setter
    def session(self, value: Any) -> None:
        if value is not self._session:  # as it is after `|=`
            raise StateError("the session cannot be replaced: change its items, as by update()")

    # Called by the connection

    def _begin(self, life: Life, pipeline: Pipeline | None) -> None:
        """Attach the connection, and what messages pass through, before its pipes open."""
        self._life = life
        if pipeline is not None and (pipeline.on_receive or pipeline.on_send):
            self._flow = Flow(self._transport, pipeline.on_receive, pipeline.on_send)

    def _enter(self, nursery: trio.Nursery) -> None:
        """Publish the nursery, as the handler starts, in its context."""
        self._nursery = nursery
        self._context = trio.lowlevel.current_task().context

    def _leave(self) -> bool:
        """Withdraw the nursery, as the handler ends; return whether anybody has had it.

        It may be without tasks then, and one still come: by a `start` that is under way.
        """
        self._nursery = None
        return self._is_nursery_used

    def _open(self, unanswered: Unanswered) -> None:
        if not self._discard:
            self._receive = (self._flow or self._transport).receive
        self._open_sends(unanswered)

    def _open_sends(self, unanswered: Unanswered) -> None:
        # Not while some wait in line: they would be overtaken.
        if not unanswered.has_line:
            self._send = (self._flow or self._transport).send
            self._unanswered = None

    # Messages

    def receive(self) -> Coroutine[Any, Any, Data]:
        """Return the next message from the peer.

        Waits while the inbox is empty. Messages that arrived before the peer left are
        still delivered; after the last one every call raises.

        Cancelling is safe: no message is lost.

        Raises:
            ConnectionClosed: The connection has ended. `info.code` is what the server
                reported (RFC 6455 §7.1.5); 1006 if it knew nothing.
            trio.BusyResourceError: Another task is already receiving.
            StateError: The route discards what comes in.
        """
        # No coroutine of our own: each one is resumed whenever the innermost is.
        return self._receive()

    async def _receive_first(self) -> Data:
        if self._discard:
            raise StateError('cannot receive: the route was declared with incoming="discard"')
        await self.accept()
        return await self._receive()

    async def receive_text(self) -> str:
        """Like `receive`, but a binary message is the peer's fault: `InvalidMessage`, 1003."""
        message = await self.receive()
        if isinstance(message, str):
            return message
        raise wrong_kind(message, "a binary message came where text was expected")

    async def receive_bytes(self) -> bytes:
        """Like `receive`, but a text message is the peer's fault: `InvalidMessage`, 1003."""
        message = await self.receive()
        if isinstance(message, bytes):
            return message
        raise wrong_kind(message, "a text message came where bytes were expected")

    async def receive_json(self) -> Any:
        """Like `receive`, but decodes JSON, text or binary; else `InvalidMessage`, 1007."""
        message = await self.receive()
        if not isinstance(message, str | bytes):
            raise wrong_kind(message, "")
        return decode_json(message)

    def __aiter__(self) -> AsyncIterator[Data]:
        """Iterate over the messages; the loop ends when the connection does."""
        return self

    async def __anext__(self) -> Data:
        try:
            return await self.receive()
        except ConnectionClosed as exc:
            if exc.websocket is not self:
                raise  # of another connection, out of a pipe: a bug
            raise StopAsyncIteration from None

    def send(self, message: Data | bytearray | memoryview) -> Coroutine[Any, Any, None]:
        """Send a message: text from a str, binary from bytes.

        Waits while the peer reads too slowly; `send_timeout` bounds that. Messages of
        several tasks go out whole, in the order of the calls. Cancelled, it went out
        whole or not at all.

        Raises:
            ConnectionClosed: The connection has ended.
            TypeError: The message is neither str nor bytes.
        """
        if isinstance(message, (str, bytes)):
            return self._send(message)
        return self._send_other(message)

    async def _send_first(self, message: Data) -> None:
        # In line, so that none is overtaken by one that comes when all of them may go.
        unanswered = self._unanswered
        if unanswered is not None:
            async with unanswered.line:
                await self.accept()
            self._open_sends(unanswered)
        await (self._flow or self._transport).send(message)

    async def _send_other(self, value: Any) -> None:
        # What pipes can make a message of, they do; the transport takes nothing else.
        await self._send(value if self._flow is not None else as_message(value))

    async def send_json(self, value: Any) -> None:
        """Like `send`, but encodes the value as JSON text; TypeError if it has no JSON form."""
        await self.send(encode_json(value))

    # Topics

    async def join(
        self,
        topic: str,
        *,
        envelope: bool = False,
        since: Since = None,
        presence: Any = None,
        overflow: Overflow | None = None,
    ) -> Joined:
        """Join a topic: what is published to it goes to this peer, until `leave` or the end.

        Accepts the handshake, if that is still to be done. With `since` it returns when
        the peer has been sent what it had missed, at the pace at which it reads; newer
        messages follow those, none twice and none left out. Cancelled, it has not joined;
        overtaken by a `leave` in another task, it returns as if that had come right behind.

        Args:
            topic: The name; what is published to it is configured by the app.
            envelope: Send JSON texts that say which topic and position a message is of,
                instead of the bare messages, and tell of gaps.
            since: The `(epoch, offset)` of the last message that the peer has, or 0 for
                all that the topic remembers; None for new ones only.
            presence: What others are told of this connection, anything with a JSON form of
                at most 32 levels. None: it is not among those that are present.
            overflow: The policy for this member; None: the topic's.

        Raises:
            ConnectionClosed: The connection has ended.
            StateError: It has joined the topic already.
            NotRunning: The app is not running.
            BrokerUnavailable: The broker cannot be reached.
            ValueError: The topic, `since`, `presence` or `overflow` cannot be.
            TypeError: `presence` has no JSON form.
        """
        await self.accept()
        return await self._lifeline().memberships.join(
            topic, envelope=envelope, since=since, presence=presence, overflow=overflow
        )

    async def leave(self, topic: str) -> None:
        """Leave a topic; messages that wait for this peer still go out. Not joined: nothing.

        Cancelled, it has left.
        """
        await self._lifeline().memberships.leave(topic)

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Send a close frame; the handler goes on and may tidy up.

        From any task, and idempotent: the first close wins. Before accept it accepts
        first, because a browser shows a code only of a connection that was open. A
        `receive` that waits elsewhere raises once the peer has answered.

        Waits while an earlier message is on its way, at most `close_timeout`; then the
        connection is aborted.

        Raises:
            ValueError: The code may not be sent by an endpoint (RFC 6455 §7.4). A reason
                beyond 123 bytes is no error: it is cut on a character.
        """
        code, reason = check_code(code), cut_reason(reason)
        try:
            if self.closed is None and self._handshake is not Handshake.ACCEPTED:
                await self.accept()
        except ConnectionClosed:
            return
        if self.closed is None:
            self._lifeline().closing(str(CloseInfo(code, reason, by_peer=False)))
        await self._transport.close(code, reason)
