"""What several test modules need: a look into the log, and a server that does little."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from triows import App, Draining, Limits, WebSocket, serve
from triows._types import ASGIApp, Event, Scope


def tracebacks(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the failures that were logged with a traceback, by type."""
    return [
        record.exc_info[0].__name__
        for record in caplog.records
        if record.exc_info and record.exc_info[0] is not None
    ]


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """Return what was logged to triows.error at exactly this level, without tracebacks."""
    return [
        record.getMessage()
        for record in caplog.records
        if (record.name, record.levelno) == ("triows.error", level) and not record.exc_info
    ]


def serving(handler: Callable[[], Awaitable[object]], limits: Limits | None = None) -> App:
    """Return an app that has this handler at /."""
    app = App(__name__, limits=limits)
    app.websocket("/", name="handler")(handler)
    return app


def websocket_of(**scope: object) -> WebSocket:
    """Return a WebSocket of a scope like this, as servers make them, that is not served."""
    return WebSocket(
        {"path": "/a b", "headers": [], **scope},
        None,  # type: ignore[arg-type]
        name="handler",
        path_params={},
        state={},
        draining=Draining(),
        discard=False,
    )


@asynccontextmanager
async def our_server(app: ASGIApp) -> AsyncGenerator[str]:
    """Serve an app on our own server around a block; yield its URL, without a path."""
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            address, *_ = await nursery.start(partial(serve, app, bind="127.0.0.1:0"))
            yield address.replace("http", "ws", 1)
            nursery.cancel_scope.cancel()


class BareServer:
    """An ASGI server that does as little as it may, and not always well.

    Args:
        events: The types of the events for the app, in order; after them it waits.
        seconds: How long a send takes.
        fails: What sending an event of a type raises.
        answers: Tell the app of the peer's departure once it has closed.
    """

    def __init__(
        self,
        *events: str,
        seconds: float = 0,
        fails: Mapping[str, Callable[[], Exception]] | None = None,
        answers: bool = False,
    ) -> None:
        self.sent: list[Event] = []
        self._events = list(events)
        self._seconds = seconds
        self._fails = {} if fails is None else fails
        self._answers = answers
        self._more = trio.Event()

    @property
    def sent_types(self) -> Sequence[str]:
        """The types of what the app has sent."""
        return [event["type"] for event in self.sent]

    async def serve(self, app: ASGIApp, **scope: object) -> None:
        """Call the app once, with a scope for a connection to / unless it says otherwise."""
        whole: Scope = {"type": "websocket", "path": "/", "headers": [], "client": None, **scope}
        await app(whole, self._receive, self._send)

    async def tell_later(self, seconds: float, kind: str) -> None:
        """Have one more event for the app, after some seconds."""
        await trio.sleep(seconds)
        self._events.append(kind)
        self._more.set()

    async def _receive(self) -> Event:
        await trio.lowlevel.checkpoint()
        while not self._events:
            await self._more.wait()
            self._more = trio.Event()
        return {"type": self._events.pop(0)}

    async def _send(self, event: Event) -> None:
        await trio.sleep(self._seconds)
        if event["type"] in self._fails:
            error = self._fails[event["type"]]()
            raise error
        self.sent.append(event)
        if self._answers and event["type"] == "websocket.close":
            self._events.append("websocket.disconnect")
            self._more.set()
