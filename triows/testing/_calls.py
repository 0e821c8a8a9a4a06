"""One call of the app under test, in a task of its own."""

import trio

from triows._groups import leaves_of
from triows._types import ASGIApp, Receive, Scope, Send

_PLUMBING = ("trio", "triows", "outcome", "contextlib", "functools", "anyio", "starlette")
"""What an app is made of: the line that its author wants to see is none of these."""


class Call:
    """A call of an ASGI app: what it raised, when it ended, where it waits."""

    def __init__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        self.errors: list[Exception] = []
        self.ended = trio.Event()
        self._app = app
        self._scope = {
            **scope,
            "extensions": {**scope.get("extensions", {}), "triows.errors": self.errors.append},
        }
        self._receive = receive
        self._send = send
        self._cancel_scope = trio.CancelScope()
        self._task: trio.lowlevel.Task | None = None

    async def run(self) -> None:
        """Call the app; what it raises is kept in `errors`, after what it reported."""
        self._task = trio.lowlevel.current_task()
        try:
            with self._cancel_scope:
                await self._app(self._scope, self._receive, self._send)
        except* Exception as group:
            self.errors += leaves_of(group)
        finally:
            self.ended.set()

    def cancel(self, reason: str) -> None:
        """Cancel the call, as a server does that shuts down."""
        self._cancel_scope.cancel(reason=reason)

    async def wait_ended(self, seconds: float) -> None:
        """Wait for the end.

        Raises:
            trio.TooSlowError: It did not come; says where the app's tasks wait.
        """
        with trio.move_on_after(seconds):
            await self.ended.wait()
            return
        waiting = self.whereabouts()
        self.cancel("the test has ended")
        raise trio.TooSlowError(f"the app did not end within {seconds:g} s; {waiting}")

    def whereabouts(self) -> str:
        """Return where the app's tasks are waiting, for an error message."""
        if self._task is None or self.ended.is_set():
            return "the app has returned"
        lines = [line for task in _tree(self._task) if (line := _place(task)) is not None]
        return "the app waits at:\n" + "\n".join(lines) if lines else "the app is idle"


def _tree(task: trio.lowlevel.Task) -> list[trio.lowlevel.Task]:
    tasks = [task]
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            tasks += _tree(child)
    return tasks


def _place(task: trio.lowlevel.Task) -> str | None:
    """Return the innermost line of the application that a task waits in, if it is in any."""
    place = None
    for frame, line in task.iter_await_frames():
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _PLUMBING:
            code = frame.f_code
            place = f"  {code.co_filename}:{line} in {code.co_name}"
    return place
