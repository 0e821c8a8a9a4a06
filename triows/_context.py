"""The connection of the task that asks: `websocket`, a proxy over a context variable.

The proxy is for applications; inside triows the object is passed by hand. It refuses to be
hashed or pickled, because a proxy that was kept talks to whichever connection uses it next.
"""

from collections.abc import AsyncIterator, Awaitable
from contextvars import ContextVar
from typing import Any, NoReturn, cast

from triows._errors import OutsideConnection
from triows._types import Data
from triows._websocket import WebSocket

current_websocket: ContextVar[WebSocket | None] = ContextVar("current_websocket", default=None)


def the_websocket() -> WebSocket:
    """Return the `WebSocket` of the current task.

    Raises:
        OutsideConnection: It belongs to no connection.
    """
    websocket = current_websocket.get()
    if websocket is None:
        raise OutsideConnection(
            "websocket was used outside of a connection: only its handler and the tasks "
            "started by it see one. Elsewhere, keep what `websocket.unwrap()` returned "
            "in the handler, and use that"
        )
    return websocket


class WebSocketProxy:
    """Stands for the `WebSocket` of the current task, attribute by attribute."""

    __slots__ = ()

    def unwrap(self) -> WebSocket:
        """Return the `WebSocket` itself, to be kept or used from other tasks of the run.

        Raises:
            OutsideConnection: The current task belongs to no connection.
        """
        return the_websocket()

    # On the way of every message: found without going through __getattr__.

    def receive(self) -> Awaitable[Data]:
        """Stand for `WebSocket.receive`."""
        websocket = current_websocket.get()
        return (websocket or the_websocket()).receive()

    def send(self, message: Data) -> Awaitable[None]:
        """Stand for `WebSocket.send`."""
        websocket = current_websocket.get()
        return (websocket or the_websocket()).send(message)

    def __getattr__(self, name: str) -> Any:
        # Tools that look at modules ask for names like __wrapped__; they get a plain no.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.unwrap(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.unwrap(), name, value)

    def __aiter__(self) -> AsyncIterator[Data]:
        return self.unwrap()

    async def __anext__(self) -> Data:
        return await anext(self.unwrap())

    def __repr__(self) -> str:
        try:
            return f"<websocket: {self.unwrap()!r}>"
        except OutsideConnection:
            return "<websocket: outside of a connection>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, WebSocketProxy):
            return True
        return bool(self.unwrap() == other)

    def __hash__(self) -> NoReturn:
        raise TypeError(
            "websocket cannot be put into a set or a dict: it stands for whichever connection "
            "uses it. Put `websocket.unwrap()` there"
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError("websocket cannot be pickled or copied: it belongs to one task")


websocket: WebSocket = cast("WebSocket", WebSocketProxy())
"""The connection of the current task, a `WebSocket`. Outside of one: `OutsideConnection`."""
