"""Pipes: what lies around the handlers of many routes, and how a connection flows through it.

For a pipeline A, B a connection goes like this, from the outside in, and back out:

    A.open, B.open
    A.pipe(next) ─► B.pipe(next) ─► handler
                                    └─ B.on_pipe_success or B.on_pipe_failure
                    └─ A.on_pipe_success or A.on_pipe_failure
    B.close, A.close

    a message from the peer:  A.on_receive, B.on_receive, handler
    a message to the peer:    handler, B.on_send, A.on_send

A pipe that has opened is closed, whatever happens; one whose `pipe` was entered hears how that
ended. Both happen also when the connection is being cancelled, and then they have
`pipe_close_timeout` each.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import trio

from triows._errors import RouteError
from triows._groups import join, parts_of

Hook: TypeAlias = Callable[..., Any]
Next: TypeAlias = Callable[..., Awaitable[Any]]
"""The rest of a pipeline: called with what the handler is to get, by name."""

DROPPED: Final = object()


class Pipe:
    """Something that many routes share: sessions, permissions, a transaction, a format.

    Subclass it and write the methods you need, sync or async; one object serves all
    connections, each of which is the `websocket` of the calls made for it. `open_ws`,
    `close_ws` and `pipe_ws` take the place of `open`, `close` and `pipe`.

    Attributes:
        DROPPED: Returned by `on_receive` or `on_send`, it stands for no message: the
            handler waits for the next one, or nothing is sent.
    """

    DROPPED: Final = DROPPED

    def open(self) -> Any:
        """Prepare for a connection, before its handler starts.

        The `websocket` is there: look at the handshake, reject it by `raise Reject(...)`, or
        accept and talk to the peer. Its nursery is not there yet.

        An exception ends the connection, as one of the handler would; the pipes that
        are open by then are closed, this one is not.
        """

    def close(self) -> Any:
        """Tidy up after a connection; called once for every `open` that returned.

        It has `pipe_close_timeout`, and is not cancelled before. An exception is logged,
        and the connection ends with 1011, or 500 before accept.
        """

    def pipe(self, next_pipe: Next, **kwargs: Any) -> Any:
        """Call `await next_pipe(**kwargs)`, and do what is to be done around it.

        Without that call the handler does not run, and the connection ends as if it had
        returned. A call more is an error; what is returned has no meaning.

        What is added to `kwargs` reaches the handler if it has a parameter of that name.
        Cancellation, `ConnectionClosed` and the handler's exceptions come out of
        `next_pipe`; of several at once, a group.
        """
        return next_pipe(**kwargs)

    def on_receive(self, data: Any) -> Any:
        """Return what the next pipe, and then the handler, receives for a message.

        What it raises comes out of the handler's `receive`; `Close` is a way to refuse.
        Cancelled, it is called again with the same message by the next `receive`.
        """
        return data

    def on_send(self, data: Any) -> Any:
        """Return what is sent for a value; after the last pipe it must be str or bytes.

        Called under the lock of the connection's sends: it must not send.
        """
        return data

    def on_pipe_success(self) -> Any:
        """Hear that what is inside `pipe` has returned, or ended because the peer left.

        One of `on_pipe_success` and `on_pipe_failure` is called once for every call of
        `pipe`. Each has `pipe_close_timeout`, and is not cancelled before.
        """

    def on_pipe_failure(self) -> Any:
        """Hear that what is inside `pipe` has ended otherwise.

        By an exception, `Close` and `Reject` included, or by cancellation: a limit, the
        server's shutdown, a handler that was busy elsewhere when its peer left.
        """

    @staticmethod
    def from_context_manager(
        factory: Callable[[], AbstractAsyncContextManager[Any]],
    ) -> "Pipe":
        """Return a pipe that runs every connection inside `async with factory()`.

        The end of that is, unlike `close`, cancelled with the connection, as everywhere in
        Trio: what must be done there needs a shield, and a deadline.
        """
        return _ContextManagerPipe(factory)


class _ContextManagerPipe(Pipe):
    # In `pipe`, not in `open` and `close`: a nursery in it has to enclose the handler.

    def __init__(self, factory: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self._factory = factory

    def __repr__(self) -> str:
        return f"Pipe.from_context_manager({getattr(self._factory, '__name__', self._factory)})"

    async def pipe(self, next_pipe: Next, **kwargs: Any) -> Any:
        async with self._factory():
            return await next_pipe(**kwargs)


@dataclass(frozen=True, slots=True)
class _Stage:
    """A pipe's own hooks; None where it leaves the base class's."""

    pipe: Pipe
    open: Hook | None
    close: Hook | None
    around: Hook | None
    success: Hook | None
    failure: Hook | None


class Pipeline:
    """The pipes of one connection.

    Args:
        pipes: From the outside in.
        timeout: Seconds that each hook of the end has.
        is_success: Tells whether an exception means no more than that the peer left.
    """

    def __init__(
        self,
        pipes: Iterable[Pipe],
        *,
        timeout: float,
        is_success: Callable[[BaseException], bool],
    ) -> None:
        pipes = check_pipes(pipes)
        self._stages = [_stage(pipe) for pipe in pipes]
        self._timeout = timeout
        self._is_success = is_success
        self.on_receive = _hooks(pipes, "on_receive")
        self.on_send = _hooks(reversed(pipes), "on_send")

    async def run(self, handler: Next, params: Mapping[str, Any]) -> None:
        """Open the pipes, call the handler through them, close them.

        Raises:
            BaseException: What came out of that; of several, a group.
        """
        opened: list[_Stage] = []
        failures: list[BaseException] = []
        try:
            for stage in self._stages:
                await _call(stage.open)
                opened.append(stage)
            await self._next(0, handler)(**params)
        except BaseException as exc:  # noqa: ASYNC103  # raised below
            failures.append(exc)
        for stage in reversed(opened):
            try:
                await self._finish(stage.pipe, stage.close, "close")
            except BaseException as exc:  # noqa: ASYNC103  # raised below
                failures.append(exc)
        if failures:
            raise join(failures)

    def _next(self, number: int, handler: Next) -> Next:
        if number == len(self._stages):
            return handler
        stage, rest = self._stages[number], self._next(number + 1, handler)
        around = rest if stage.around is None else partial(stage.around, rest)

        async def pipe(**kwargs: Any) -> Any:
            result = None
            failures: list[BaseException] = []
            try:
                result = await _call(around, **kwargs)
            except BaseException as exc:  # noqa: ASYNC103  # raised below
                # A pipe may have a nursery, and that wraps what comes out of it.
                failures = parts_of(exc)
            try:
                if all(self._is_success(failure) for failure in failures):
                    await self._finish(stage.pipe, stage.success, "on_pipe_success")
                else:
                    await self._finish(stage.pipe, stage.failure, "on_pipe_failure")
            except BaseException as exc:  # noqa: ASYNC103  # raised below
                failures.append(exc)
            if failures:
                raise join(failures)
            return result

        return pipe

    async def _finish(self, pipe: Pipe, hook: Hook | None, name: str) -> None:
        if hook is None:
            return
        with trio.move_on_after(self._timeout, shield=True) as scope:
            await _call(hook)
        if scope.cancelled_caught:
            raise trio.TooSlowError(f"{name} of {pipe!r} took more than {self._timeout:g} s")


def check_pipes(pipes: Iterable[Pipe]) -> list[Pipe]:
    """Return the pipes of a pipeline.

    Raises:
        RouteError: One is no pipe, but a class of pipes, for example.
    """
    if isinstance(pipes, Pipe) or not isinstance(pipes, Iterable):
        raise RouteError(f"a pipeline is a list of Pipe objects, and {pipes!r} is none")
    pipes = list(pipes)
    for pipe in pipes:
        if not isinstance(pipe, Pipe):
            raise RouteError(f"a pipeline is made of Pipe objects, and {pipe!r} is none")
    return pipes


def may_inject(pipe: Pipe) -> bool:
    """Return whether a pipe could add to what the handler is called with."""
    is_mute = isinstance(pipe, _ContextManagerPipe)
    return not is_mute and _own(pipe, "pipe_ws", "pipe") is not None


async def apply(hooks: Sequence[Hook], value: Any) -> Any:
    """Return what the hooks make of a value, one after the other, or `DROPPED`."""
    for hook in hooks:
        value = await _call(hook, value)
        if value is DROPPED:
            break
    return value


async def _call(hook: Hook | None, /, *args: Any, **kwargs: Any) -> Any:
    if hook is None:
        return None
    result = hook(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result


def _stage(pipe: Pipe) -> _Stage:
    return _Stage(
        pipe,
        open=_own(pipe, "open_ws", "open"),
        close=_own(pipe, "close_ws", "close"),
        around=_own(pipe, "pipe_ws", "pipe"),
        success=_own(pipe, "on_pipe_success"),
        failure=_own(pipe, "on_pipe_failure"),
    )


def _hooks(pipes: Iterable[Pipe], name: str) -> list[Hook]:
    return [hook for pipe in pipes if (hook := _own(pipe, name)) is not None]


def _own(pipe: Pipe, *names: str) -> Hook | None:
    """Return the method of the first name that the pipe has written itself."""
    for name in names:
        hook: Hook | None = getattr(pipe, name, None)
        inherited = getattr(Pipe, name, None)
        if hook is not None and getattr(hook, "__func__", hook) is not inherited:
            return hook
    return None
