"""The life of one connection: the handler's nursery, its limits, and how it ends.

Nesting, from the outside in: the transport's tasks and the timer, this scope, the pipes, the
public nursery, the handler. Every reason to end a connection early goes through `_scope`, so that a
`trio.Cancelled` seen inside says why, and the first reason is the one that counts.

A failure of the handler or of its tasks is logged here, each leaf of a group by itself, and
never handed to the server, which would log it again or die of it. Cancellation from outside
(the server drains) goes on up, after the peer was told.
"""

import logging
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

import trio

from triows._channels import Memberships
from triows._close import ABNORMAL, EXPIRED, GOING_AWAY, IDLE, INTERNAL_ERROR, CloseInfo
from triows._endings import Ending, Rank, Stop, Verdict, fit, judge, judge_return, judge_stop
from triows._errors import Close, ConnectionClosed, Reject, StateError
from triows._grace import Grace
from triows._groups import leaves_of, unwrap
from triows._logs import client_of, error_log, log_access, log_failure, reporter_of
from triows._pipes import Pipeline
from triows._rules import Rules
from triows._transport import Transport
from triows._types import Scope
from triows._websocket import WebSocket

FAREWELL = 1.0
"""Seconds for the close frame when the server has cancelled the app: it is about to exit."""


class Connection:
    """Runs one handler over one transport, from the handshake to the close frame.

    Args:
        websocket: What the handler sees.
        scope: Of ASGI.
        transport: The messages' way.
        rules: Of the route.
        in_own_task: The handler gets a task of its own. Where every wait passes through a
            server's coroutines too, it need not pass through ours; but a task has its price.
    """

    def __init__(
        self,
        websocket: WebSocket,
        scope: Scope,
        transport: Transport,
        rules: Rules,
        *,
        in_own_task: bool = True,
    ) -> None:
        self._websocket = websocket
        self._asgi_scope = scope
        self._transport = transport
        self._timer = transport.timer
        self._rules = rules
        self._in_own_task = in_own_task
        self._pipeline: Pipeline | None = None
        if rules.pipes:
            self._pipeline = Pipeline(
                rules.pipes,
                timeout=rules.limits.pipe_close_timeout,
                is_success=self._is_departure,
            )
        self._scope: trio.CancelScope | None = None
        self._is_begun = False  # the handler was called
        self._is_over = False  # it has ended, and so has what it would end with
        self._stop: Stop | None = None
        self._grace: Grace | None = None
        self._memberships: Memberships | None = None
        self._has_left_topics = False  # for good
        self._failures: Sequence[Exception] = ()
        self._verdicts: Sequence[Verdict] = ()  # one a failure, in the same order

    async def run(self, params: Mapping[str, Any]) -> None:
        """Run the handler, inside its pipes, and end the connection as it deserves.

        Raises cancellation and what is no `Exception`, nothing else.
        """
        started_at = trio.current_time()
        self._websocket._begin(self, self._pipeline)
        self._transport.observe(self._websocket, self._peer_gone, self._overrun, self._delivered)
        try:
            if self._transport.closed is None and self._stop is None:
                self._set_limits()
                try:
                    await self._live(params)
                except* Exception as group:
                    self._failures = leaves_of(group)
                finally:
                    self._is_over = True
                    self._leave_topics()
            await self._end()
        except BaseException:
            self._timer.set("farewell", trio.current_time() + FAREWELL, self._transport.abort)
            with trio.move_on_after(FAREWELL, shield=True):
                await self._say_farewell()
            raise
        finally:
            self._log_access(trio.current_time() - started_at)

    def stop(self, stop: Stop) -> None:
        """Cancel the handler for this reason; the first one wins."""
        if self._stop is None and not self._is_over:
            self._stop = stop
            if stop.level != logging.NOTSET:
                self._log(stop.level, stop.message or f"is ended: {stop.reason}")
        self._cancel(stop.reason)

    def _cancel(self, reason: str) -> None:
        # Before there is anything to cancel, `run` sees that it is stopped or closed.
        if self._scope is not None:
            self._scope.cancel(reason=reason)

    def _live(self, params: Mapping[str, Any]) -> Coroutine[Any, Any, None]:
        # No coroutine of its own: it would stay as long as the connection does.
        if self._pipeline is None:
            return self._call(**params)
        return self._call_through(self._pipeline, params)

    async def _call_through(self, pipeline: Pipeline, params: Mapping[str, Any]) -> None:
        with trio.CancelScope() as self._scope:
            await pipeline.run(self._call, params)

    async def _call(self, /, **params: Any) -> None:
        """Run the handler in its nursery; what comes out of it is as few groups as can be."""
        if self._is_begun:
            raise StateError("a pipe called its next_pipe twice: a handler runs once a connection")
        self._is_begun = True
        failure: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                self._websocket._enter(nursery)
                # Without pipes there is nothing else to cancel.
                self._scope = self._scope or nursery.cancel_scope
                if self._in_own_task:
                    nursery.start_soon(self._handle, params, nursery)
                else:
                    with _Handling(self, nursery):
                        await self._rules.handler(**params)
        except BaseExceptionGroup as group:
            failure = unwrap(group)
        self._is_over = False  # pipes may go on for as long as they like
        # Raised here, it does not have the group as its context.
        if failure is not None:
            raise failure

    async def _handle(self, params: Mapping[str, Any], nursery: trio.Nursery) -> None:
        with _Handling(self, nursery):
            await self._rules.handler(**params)

    def _end_handler(self, nursery: trio.Nursery, failure: BaseException | None) -> bool:
        """Cancel the handler's tasks; return whether its failure is the usual end.

        With no pipe to see it that is the same as a return, and needs no group.
        """
        self._is_over = True
        self._timer.clear("accept_timeout")  # nobody is left to accept
        may_have_tasks = self._websocket._leave()
        is_usual = (
            isinstance(failure, ConnectionClosed)
            and failure.websocket is self._websocket
            and self._pipeline is None
        )
        if may_have_tasks and (is_usual or failure is None):
            nursery.cancel_scope.cancel(reason="the handler has returned")
        return is_usual

    def _is_departure(self, failure: BaseException) -> bool:
        """Return whether this connection has ended, and not by any fault or limit."""
        return (
            isinstance(failure, ConnectionClosed)
            and failure.websocket is self._websocket
            and failure.info.clean is not False
            and (failure.info.by_peer or failure.info.code != ABNORMAL)
            and self._transport.fault is None
            and self._stop is None
        )

    # What a WebSocket tells

    def accepted(self) -> None:
        """Change from the limits of a handshake to those of an open connection."""
        self._timer.clear("accept_timeout")
        if self._rules.limits.idle_timeout is not None:
            self._check_idle()
        websocket = self._websocket
        if websocket.subprotocols and not websocket.subprotocol and "origin" in websocket.headers:
            self._log(
                logging.WARNING,
                f"accepted none of the subprotocols {websocket.subprotocols} that a browser "
                "offered: browsers close such a connection",
            )

    def closing(self, reason: str) -> None:
        """Bound the rest of the handler's life, as if the peer had left now."""
        self._timer.clear("accept_timeout")
        self._leave_topics()
        self._start_grace(reason)

    def expire_after(self, seconds: float) -> None:
        """Set or move the expiry."""
        self._limit("expire_after", seconds, Stop(Close(EXPIRED, "expired"), "expired"))

    # Topics

    @property
    def memberships(self) -> Memberships:
        """The topics that it has joined."""
        if self._memberships is None:
            hub, lag = self._rules.hub, self._overrun
            self._memberships = Memberships(hub, self._websocket, self._transport, lag)
            if self._has_left_topics:
                self._memberships.end()
        return self._memberships

    def _leave_topics(self) -> None:
        self._has_left_topics = True
        if self._memberships is not None:
            self._memberships.end()

    # Limits

    def _set_limits(self) -> None:
        limits = self._rules.limits
        deadline = trio.current_time() + limits.accept_timeout
        self._timer.set("accept_timeout", deadline, self._give_up_accept)
        if limits.max_lifetime is not None:
            reason = f"open for {limits.max_lifetime:g} s"
            self._limit(
                "max_lifetime", limits.max_lifetime, Stop(Close(GOING_AWAY, reason), reason)
            )

    def _give_up_accept(self) -> None:
        late = f"not accepted after {self._rules.limits.accept_timeout:g} s"
        advice = f"has {late}: call await websocket.accept() first"
        self.stop(Stop(Reject(503), late, logging.WARNING, advice))

    def _limit(self, name: str, seconds: float, stop: Stop) -> None:
        self._timer.set(name, trio.current_time() + seconds, lambda: self.stop(stop))

    def _check_idle(self) -> None:
        timeout = self._rules.limits.idle_timeout
        assert timeout is not None, "the idle limit is only checked where it is set"
        deadline = self._transport.last_received + timeout
        if trio.current_time() < deadline:
            self._timer.set("idle_timeout", deadline, self._check_idle)
        else:
            reason = f"idle for {timeout:g} s"
            self.stop(Stop(Close(IDLE, reason), reason))

    def _overrun(self, code: int, reason: str) -> None:
        # A peer that is gone is nobody's fault.
        level = logging.INFO if code == INTERNAL_ERROR else logging.WARNING
        if code == ABNORMAL:
            self._transport.abort()
            code = GOING_AWAY  # Nobody hears it.
        self.stop(Stop(Close(code, reason), reason, level))

    # The peer leaves

    def _peer_gone(self, info: CloseInfo) -> None:
        self._leave_topics()
        if self._transport.fault is not None:
            self._log(logging.WARNING, f"was sent what it must not: {self._transport.fault}")
        if self._rules.on_disconnect == "cancel":
            self._cancel(str(info))
        else:
            self._start_grace(str(info))

    def _start_grace(self, reason: str) -> None:
        if self._rules.on_disconnect != "raise" and self._grace is None:
            self._grace = Grace(self._timer, self._rules.limits, lambda: self._cancel(reason))

    def _delivered(self) -> None:
        # A handler that reads what was left is not busy elsewhere.
        if self._grace is not None:
            self._grace.grant()

    # The end

    async def _judge_failures(self) -> None:
        for failure in self._failures:
            verdict = self._judge(failure)
            try:
                verdict = await self._reconsider(verdict)
            finally:
                self._settle(verdict)

    def _judge(self, failure: Exception) -> Verdict:
        return judge(failure, self._websocket, is_accepted=self._websocket.is_accepted)

    async def _reconsider(self, verdict: Verdict) -> Verdict:
        """Ask the application's hook about a failure; what it returns replaces the ending."""
        if verdict.cause is None:
            return verdict
        try:
            with trio.fail_after(self._rules.limits.pipe_close_timeout):
                answer = await self._rules.ask_hook(verdict.cause)
        except (Close, Reject) as raised:
            answer = raised
        except Exception as exc:
            self._fail("the error hook of handler %s failed", exc)
            return verdict
        return verdict if answer is None else self._judge(answer)

    def _settle(self, verdict: Verdict) -> None:
        """Log a verdict, once, and remember it."""
        self._verdicts = (*self._verdicts, verdict)
        if verdict.cause is None:
            return
        if verdict.rank is Rank.PEER:
            self._log(logging.WARNING, f"was sent what it must not: {verdict.cause}")
            return
        self._fail("handler %s failed", verdict.cause)

    def _gravest(self, unless: Verdict) -> Ending:
        return min([*self._verdicts, unless], key=lambda verdict: verdict.rank).ending

    async def _end(self) -> None:
        await self._judge_failures()
        is_accepted = self._websocket.is_accepted
        if self._stop is None:
            ordinary = judge_return(is_accepted=is_accepted)
        else:
            ordinary = judge_stop(self._stop.ending, is_accepted=is_accepted)
        await self._announce(ordinary)
        await self._transport.finish()

    async def _say_farewell(self) -> None:
        """Tell the peer that the server goes, though it has cancelled this task."""
        for failure in self._failures[len(self._verdicts) :]:
            self._settle(self._judge(failure))
        going = judge_stop(Close(GOING_AWAY), is_accepted=self._websocket.is_accepted)
        await self._announce(going)

    async def _announce(self, ordinary: Verdict) -> None:
        """Tell the peer the gravest ending; one that cannot be told is a failure itself."""
        try:
            await self._tell(self._gravest(ordinary))
        except Exception as exc:
            # An accept comes first, and what has to go out with it may be wrong.
            self._settle(self._judge(exc))
            await self._tell(self._gravest(ordinary))

    async def _tell(self, ending: Ending) -> None:
        """Tell the peer how it ended, unless it knows already or is gone."""
        closed = self._transport.closed
        # An error hook may have accepted since the ending was found.
        ending = fit(ending, is_accepted=self._websocket.is_accepted)
        # A peer may leave while it is being told.
        with suppress(ConnectionClosed):
            if closed is None and isinstance(ending, Close):
                await self._websocket.close(ending.code, ending.reason)
            elif closed is None and isinstance(ending, Reject):
                await self._websocket._reject(ending)
            elif closed is not None and self._websocket.is_accepted:
                # Finish a close that was cancelled on its way; else nothing happens.
                await self._transport.close(closed.code, closed.reason)

    # The log

    def _log(self, level: int, message: str) -> None:
        client = client_of(self._asgi_scope)
        error_log.log(level, "handler %s %s (peer %s)", self._websocket.name, message, client)

    def _fail(self, message: str, failure: Exception) -> None:
        log_failure(message, self._websocket.name, failure=failure)
        reporter_of(self._asgi_scope)(failure)

    def _log_access(self, seconds: float) -> None:
        closed = self._transport.closed
        log_access(
            self._asgi_scope,
            self._websocket.status,
            seconds=seconds,
            code=closed.code if closed is not None and self._websocket.is_accepted else None,
            received=self._transport.received,
            sent=self._transport.sent,
        )


class _Handling:
    """The block in which a handler runs."""

    __slots__ = ("_connection", "_nursery")

    def __init__(self, connection: Connection, nursery: trio.Nursery) -> None:
        self._connection = connection
        self._nursery = nursery

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, failure: BaseException | None, __: object) -> bool:
        return self._connection._end_handler(self._nursery, failure)
