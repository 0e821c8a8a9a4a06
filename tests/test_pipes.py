"""Pipes: which hooks are called, with what, and what becomes of their failures.

The order of everything, for each ending of a connection, is in test_pipe_order.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tests.support import tracebacks
from triows import App, Close, Limits, Pipe, RouteError, StateError, testing, websocket
from triows._pipes import DROPPED, Next, Pipeline, apply, check_pipes, may_inject


def serving(handler: Callable[..., Awaitable[object]], *pipes: Pipe) -> App:
    """Return an app that has this handler at /, inside these pipes."""
    app = App(__name__, limits=Limits(pipe_close_timeout=3))
    app.websocket("/", name="handler", pipeline=pipes)(handler)
    return app


async def accept() -> None:
    """Be a handler that does next to nothing."""
    await websocket.accept()


async def code_of(app: App) -> int:
    """Return the close code that a peer sees."""
    async with testing.client(app) as client, client.websocket("/") as peer:
        return (await peer.wait_closed()).code


class Logging(Pipe):
    """Logs what happens, with plain functions."""

    def __init__(self, log: list[str], name: str = "") -> None:
        self.log = log
        self.name = name

    def __repr__(self) -> str:
        return f"Logging({self.name})"

    def open(self) -> Any:
        """Log."""
        self.log.append(f"{self.name}open")

    def close(self) -> Any:
        """Log."""
        self.log.append(f"{self.name}close")

    def pipe(self, next_pipe: Next, **kwargs: Any) -> Any:
        """Log, and leave the awaiting to the caller."""
        self.log.append(f"{self.name}pipe")
        return next_pipe(**kwargs)

    def on_pipe_success(self) -> None:
        """Log."""
        self.log.append(f"{self.name}success")

    def on_pipe_failure(self) -> Any:
        """Log."""
        self.log.append(f"{self.name}failure")


class TestHooks:
    """Which methods are called."""

    async def test_plain_functions(self, autojump_clock: trio.testing.MockClock) -> None:
        """Every hook may be a plain function."""
        log: list[str] = []

        assert 1000 == await code_of(serving(accept, Logging(log)))
        assert ["open", "pipe", "success", "close"] == log

    async def test_names_for_websockets(self, autojump_clock: trio.testing.MockClock) -> None:
        """`open_ws`, `close_ws` and `pipe_ws` are called in the place of the others."""
        log: list[str] = []

        class Both(Logging):
            async def open_ws(self) -> None:
                log.append("open_ws")

            def close_ws(self) -> None:
                log.append("close_ws")

            async def pipe_ws(self, next_pipe: Next, **kwargs: Any) -> None:
                log.append("pipe_ws")
                await next_pipe(**kwargs)

        assert 1000 == await code_of(serving(accept, Both(log)))
        assert ["open_ws", "pipe_ws", "success", "close_ws"] == log

    async def test_inherited_hooks(self, autojump_clock: trio.testing.MockClock) -> None:
        """Hooks of a user's own base class are as good as a pipe's own."""
        log: list[str] = []

        class Child(Logging):
            def close(self) -> None:
                super().close()
                log.append("child")

        assert 1000 == await code_of(serving(accept, Child(log)))
        assert ["open", "pipe", "success", "close", "child"] == log

    async def test_a_pipe_without_hooks(self, autojump_clock: trio.testing.MockClock) -> None:
        """A bare pipe changes nothing."""

        async def echo() -> None:
            await websocket.send(await websocket.receive())

        async with (
            testing.client(serving(echo, Pipe())) as client,
            client.websocket("/") as peer,
        ):
            await peer.send("a")
            assert "a" == await peer.receive()

    async def test_hooks_that_call_the_base_class(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """The hooks of `Pipe` itself do nothing, or hand on; `super()` may be called."""

        class Polite(Pipe):
            def open(self) -> Any:
                return super().open()

            def close(self) -> Any:
                return super().close()

            async def pipe(self, next_pipe: Next, **kwargs: Any) -> Any:
                return await super().pipe(next_pipe, **kwargs)

            def on_receive(self, data: Any) -> Any:
                return super().on_receive(data)

            def on_send(self, data: Any) -> Any:
                return super().on_send(data)

            def on_pipe_success(self) -> Any:
                return super().on_pipe_success()

            def on_pipe_failure(self) -> Any:
                return super().on_pipe_failure()

        async def echo(number: int) -> None:
            await websocket.send(f"{number} {await websocket.receive_text()}")
            raise Close(4000)

        app = App(__name__)
        app.websocket("/<int:number>", pipeline=[Polite()])(echo)
        async with testing.client(app) as client, client.websocket("/7") as peer:
            await peer.send("a")
            assert "7 a" == await peer.receive()
            assert 4000 == (await peer.wait_closed()).code

    async def test_every_hook_sees_its_connection(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """`websocket` is the connection that the hook is called for, the closing included."""
        seen: list[object] = []

        class Watching(Pipe):
            def open(self) -> None:
                seen.append(websocket.path)

            def on_pipe_success(self) -> None:
                seen.append(websocket.path)

            async def close(self) -> None:
                seen.append(websocket.path)

        assert 1000 == await code_of(serving(accept, Watching()))
        assert ["/", "/", "/"] == seen


class TestFailures:
    """What hooks raise."""

    async def test_open_fails(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What has opened is closed; the pipe that failed, and those after it, are not."""
        log: list[str] = []

        class Broken(Logging):
            async def open(self) -> None:
                raise ValueError

        app = serving(accept, Logging(log, "a."), Logging(log, "b."), Broken(log), Logging(log))
        with pytest.raises(ValueError):  # noqa: PT011  # it has no message
            await code_of(app)

        assert ["a.open", "b.open", "b.close", "a.close"] == log
        assert ["ValueError"] == tracebacks(caplog)

    @pytest.mark.parametrize("hook", ["open", "pipe", "close", "on_pipe_success"])
    async def test_close_out_of_any_hook(
        self, autojump_clock: trio.testing.MockClock, hook: str
    ) -> None:
        """A pipe ends the connection as a handler does."""

        def end(*_: object) -> None:
            raise Close(4404)

        pipe = Pipe()
        setattr(pipe, hook, end)

        assert 4404 == await code_of(serving(accept, pipe))

    async def test_every_failure_is_logged_once(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A failing close or outcome loses no other exception, and no pipe stays open."""
        log: list[str] = []

        class Broken(Logging):
            def close(self) -> None:
                super().close()
                raise KeyError(self.name)

            async def on_pipe_failure(self) -> None:
                super().on_pipe_failure()
                raise OSError(self.name)

        async def handler() -> None:
            await websocket.accept()
            raise ValueError

        app = serving(handler, Logging(log, "a."), Broken(log, "b."), Broken(log, "c."))
        with pytest.RaisesGroup(ValueError, OSError, OSError, KeyError, KeyError):
            await code_of(app)

        assert ["c.failure", "b.failure", "a.failure", "c.close", "b.close", "a.close"] == log[6:]
        assert ["KeyError", "KeyError", "OSError", "OSError", "ValueError"] == sorted(
            tracebacks(caplog)
        )

    async def test_a_failing_success(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What fails at its success is a failure for the pipes around it."""
        log: list[str] = []

        class Broken(Logging):
            def on_pipe_success(self) -> None:
                super().on_pipe_success()
                raise ValueError

        with pytest.raises(ValueError):  # noqa: PT011  # it has no message
            await code_of(serving(accept, Logging(log, "a."), Broken(log, "b.")))

        assert ["b.success", "a.failure", "b.close", "a.close"] == log[4:]
        assert ["ValueError"] == tracebacks(caplog)

    async def test_the_end_of_the_process_leaves_no_pipe_open(self) -> None:
        """Not even `SystemExit` out of a hook of the end keeps the others from theirs."""
        log: list[str] = []

        class Exiting(Logging):
            def close(self) -> None:
                raise SystemExit

            def on_pipe_success(self) -> None:
                raise SystemExit

        pipes = [Logging(log, "a."), Exiting(log, "b.")]
        pipeline = Pipeline(pipes, timeout=1, is_success=lambda _: False)
        with pytest.RaisesGroup(SystemExit, SystemExit):
            await pipeline.run(trio.lowlevel.checkpoint, {})

        assert ["a.failure", "a.close"] == log[4:]

    @pytest.mark.parametrize("hook", ["close", "on_pipe_success"])
    async def test_a_hook_that_does_not_end(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, hook: str
    ) -> None:
        """After `pipe_close_timeout` it is cancelled, and the error says which it was."""
        log: list[str] = []
        pipe = Logging(log, "a.")
        setattr(pipe, hook, trio.sleep_forever)

        with pytest.raises(
            trio.TooSlowError, match=rf"^{hook} of Logging\(a\.\) took more than 3 s$"
        ):
            await code_of(serving(accept, Logging(log, "b."), pipe))

        assert "b.close" == log[-1]
        assert 3 == trio.current_time()
        assert ["TooSlowError"] == tracebacks(caplog)

    async def test_a_hook_is_shielded_from_the_servers_shutdown(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """It has its time though the connection is cancelled."""
        log: list[str] = []

        class Slow(Logging):
            async def close(self) -> None:
                await trio.sleep(2)
                super().close()

        async def handler() -> None:
            await websocket.accept()
            await trio.sleep_forever()

        async with (
            testing.client(serving(handler, Slow(log))) as client,
            client.websocket("/") as peer,
        ):
            await trio.testing.wait_all_tasks_blocked()
            await client.drain()
            assert 1001 == (await peer.wait_closed()).code

        assert ["open", "pipe", "failure", "close"] == log


class Giving(Pipe):
    """Adds to what the handler is called with."""

    def __init__(self, **extra: object) -> None:
        self.extra = extra

    async def pipe(self, next_pipe: Next, **kwargs: Any) -> Any:
        """Add."""
        return await next_pipe(**kwargs, **self.extra)


class TestInjection:
    """What a pipe adds to the arguments."""

    async def test_a_handler_that_names_it(self, autojump_clock: trio.testing.MockClock) -> None:
        """It is given what its path and every pipe have for it."""
        app = App(__name__)

        @app.websocket("/<int:number>", pipeline=[Giving(user="joe"), Giving(db="db")])
        async def handler(number: int, user: str, *, db: str) -> None:
            await websocket.send(f"{number} {user} {db}")

        async with testing.client(app) as client, client.websocket("/7") as peer:
            assert "7 joe db" == await peer.receive()

    async def test_a_handler_that_does_not_name_it(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """It is called without, and never breaks of it."""

        async def handler() -> None:
            await websocket.send("hello")

        async with (
            testing.client(serving(handler, Giving(user="joe"))) as client,
            client.websocket("/") as peer,
        ):
            assert "hello" == await peer.receive()

    async def test_a_handler_that_takes_anything(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """With `**kwargs` it is given everything."""

        async def handler(**kwargs: str) -> None:
            await websocket.send(" ".join(sorted(kwargs)))

        async with (
            testing.client(serving(handler, Giving(user="joe", db=""))) as client,
            client.websocket("/") as peer,
        ):
            assert "db user" == await peer.receive()

    @pytest.mark.parametrize("name", ["hook", "stage", "handler", "args", "kwargs"])
    async def test_any_name_will_do(
        self, autojump_clock: trio.testing.MockClock, name: str
    ) -> None:
        """No name of an argument gets in the way of our own."""
        app = App(__name__)

        @app.websocket(f"/<str:{name}>", pipeline=[Giving()])
        async def handler(**kwargs: str) -> None:
            await websocket.send(kwargs[name])

        async with testing.client(app) as client, client.websocket("/x") as peer:
            assert "x" == await peer.receive()


class TestNextPipe:
    """Called once, as it should be, or not."""

    async def test_not_at_all(self, autojump_clock: trio.testing.MockClock) -> None:
        """The pipe has answered in the handler's place, and that is a success."""
        log: list[str] = []

        class Answering(Pipe):
            async def pipe(self, next_pipe: Next, **kwargs: Any) -> None:
                await websocket.send("instead")

        app = serving(accept, Logging(log, "a."), Answering(), Logging(log, "b."))
        async with testing.client(app) as client, client.websocket("/") as peer:
            assert "instead" == await peer.receive()
            assert 1000 == (await peer.wait_closed()).code

        assert ["a.open", "b.open", "a.pipe", "a.success", "b.close", "a.close"] == log

    async def test_twice(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A handler runs once a connection: the second call is a bug of the pipe."""
        calls: list[str] = []

        class Twice(Pipe):
            async def pipe(self, next_pipe: Next, **kwargs: Any) -> None:
                await next_pipe(**kwargs)
                await next_pipe(**kwargs)

        async def handler() -> None:
            calls.append("handler")

        with pytest.raises(StateError, match="called its next_pipe twice"):
            await code_of(serving(handler, Twice()))

        assert ["handler"] == calls
        assert ["StateError"] == tracebacks(caplog)

    async def test_swallowing_an_exception(self, autojump_clock: trio.testing.MockClock) -> None:
        """What a pipe has dealt with is no failure any more, for itself or further out."""
        log: list[str] = []

        class Forgiving(Logging):
            async def pipe(self, next_pipe: Next, **kwargs: Any) -> None:
                try:
                    await next_pipe(**kwargs)
                except ValueError:
                    await websocket.send("sorry")

        async def handler() -> None:
            raise ValueError

        app = serving(handler, Logging(log, "a."), Forgiving(log, "b."), Logging(log, "c."))
        async with testing.client(app) as client, client.websocket("/") as peer:
            assert "sorry" == await peer.receive()

        assert ["c.failure", "b.success", "a.success"] == log[5:8]

    async def test_what_the_handler_returns(self) -> None:
        """Comes out of `next_pipe`, pipe by pipe."""
        seen: list[object] = []

        class Watching(Pipe):
            async def pipe(self, next_pipe: Next, **kwargs: Any) -> Any:
                seen.append(await next_pipe(**kwargs))
                return seen[-1]

        async def handler() -> str:
            return "result"

        pipes = [Watching(), Pipe(), Watching()]
        await Pipeline(pipes, timeout=1, is_success=lambda _: False).run(handler, {})

        assert ["result", "result"] == seen


class TestFromContextManager:
    """`Pipe.from_context_manager`."""

    async def test_once_a_connection(self, autojump_clock: trio.testing.MockClock) -> None:
        """Every connection runs inside an `async with` of its own."""
        log: list[str] = []

        @asynccontextmanager
        async def logged() -> AsyncIterator[None]:
            log.append("enter")
            yield
            log.append("exit")

        async def handler() -> None:
            log.append("handler")
            await websocket.accept()

        app = serving(handler, Pipe.from_context_manager(logged))
        for _ in range(2):
            assert 1000 == await code_of(app)

        assert ["enter", "handler", "exit"] * 2 == log

    async def test_it_sees_exceptions(self, autojump_clock: trio.testing.MockClock) -> None:
        """What the handler raises comes out of the `yield`, and may be caught there."""
        seen: list[BaseException] = []

        @asynccontextmanager
        async def transaction() -> AsyncIterator[None]:
            try:
                yield
            except ValueError as exc:
                seen.append(exc)

        async def handler() -> None:
            await websocket.accept()
            raise ValueError

        assert 1000 == await code_of(serving(handler, Pipe.from_context_manager(transaction)))
        assert [ValueError] == [type(exc) for exc in seen]

    async def test_with_a_nursery(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its tasks run beside the handler, and the group it makes is taken off again."""
        log: list[str] = []

        @asynccontextmanager
        async def ticking() -> AsyncIterator[None]:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(websocket.send, "tick")
                yield
                nursery.cancel_scope.cancel()

        async def handler() -> None:
            async for message in websocket:
                await websocket.send(message)
            await websocket.receive()

        app = serving(handler, Logging(log), Pipe.from_context_manager(ticking))
        async with testing.client(app) as client, client.websocket("/") as peer:
            assert "tick" == await peer.receive()

        assert ["open", "pipe", "success", "close"] == log
        assert [] == tracebacks(caplog)

    async def test_a_task_of_it_fails(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Then the handler is cancelled, and the failure is the connection's."""
        log: list[str] = []

        async def fail() -> None:
            raise ValueError

        @asynccontextmanager
        async def failing() -> AsyncIterator[None]:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                yield

        app = serving(accept_for_ever, Logging(log), Pipe.from_context_manager(failing))
        with pytest.raises(ValueError):  # noqa: PT011  # it has no message
            await code_of(app)

        assert ["open", "pipe", "failure", "close"] == log
        assert ["ValueError"] == tracebacks(caplog)

    def test_repr(self) -> None:
        """It says which context manager it is, for errors and the table of routes."""

        @asynccontextmanager
        async def session() -> AsyncIterator[None]:
            yield

        class Factory:
            def __call__(self) -> Any:
                return session()

            def __repr__(self) -> str:
                return "Factory()"

        reprs = [repr(Pipe.from_context_manager(factory)) for factory in (session, Factory())]

        assert [
            "Pipe.from_context_manager(session)",
            "Pipe.from_context_manager(Factory())",
        ] == reprs


async def accept_for_ever() -> None:
    """Be a handler that is busy elsewhere."""
    await websocket.accept()
    await trio.sleep_forever()


class TestPipeline:
    """What a pipeline is made of."""

    @pytest.mark.parametrize("how", ["set", "append", "extend"])
    async def test_pipes_that_came_after_the_routes(
        self, autojump_clock: trio.testing.MockClock, how: str
    ) -> None:
        """The pipes of an app are around every route, whenever they were declared."""
        log: list[str] = []
        app = serving(accept)
        pipe = Logging(log)
        if how == "set":
            app.pipeline = [pipe]
        elif how == "append":
            app.pipeline.append(pipe)
        else:
            app.pipeline += [pipe]

        assert 1000 == await code_of(app)
        assert ["open", "pipe", "success", "close"] == log

    @pytest.mark.parametrize("wrong", [Logging, None, "pipe"])
    def test_what_is_no_pipe(self, wrong: Any) -> None:
        """A class of pipes, for example, where an object should be."""
        with pytest.raises(
            RouteError, match=r"^a pipeline is made of Pipe objects, and .* is none"
        ):
            check_pipes([Pipe(), wrong])

    @pytest.mark.parametrize("wrong", [Pipe(), Pipe, 7])
    def test_what_is_no_list_of_pipes(self, wrong: Any) -> None:
        """A pipe alone, without brackets, is the likeliest mistake of all."""
        with pytest.raises(RouteError, match=r"^a pipeline is a list of Pipe objects, and .*"):
            check_pipes(wrong)

    @pytest.mark.parametrize(
        ("pipe", "expected"),
        [
            (Pipe(), False),
            (Logging([]), True),
            (Pipe.from_context_manager(lambda: trio.open_nursery()), False),  # noqa: PLW0108
        ],
        ids=["bare", "with a pipe", "of a context manager"],
    )
    def test_which_may_inject(self, pipe: Pipe, expected: bool) -> None:
        """Only a pipe with a `pipe` of its own can add an argument."""
        assert expected == may_inject(pipe)

    async def test_a_group_is_a_success_if_each_part_is(self) -> None:
        """One part that is none makes a failure of it."""
        log: list[str] = []
        pipeline = Pipeline(
            [Logging(log)], timeout=1, is_success=lambda exc: isinstance(exc, KeyError)
        )

        async def fail(*, failures: list[Exception]) -> None:
            raise ExceptionGroup("", failures)

        for failures in ([KeyError(), KeyError()], [KeyError(), ValueError()]):
            with pytest.RaisesGroup(*map(type, failures)):
                await pipeline.run(fail, {"failures": failures})

        assert ["open", "pipe", "success", "close", "open", "pipe", "failure", "close"] == log

    async def test_apply(self) -> None:
        """Hooks are applied one after the other, until one drops the value."""

        async def double(value: int) -> int:
            return 2 * value

        assert 16 == await apply([double, lambda value: value + 4, double], 2)
        assert DROPPED is await apply([lambda _: DROPPED, double], 2)
        assert 2 == await apply([], 2)
