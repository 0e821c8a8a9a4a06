"""The shapes of ASGI 3, as far as triows uses them."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Data: TypeAlias = str | bytes
"""A whole message: text is `str`, binary is `bytes`."""

Address: TypeAlias = tuple[str, int | None]
"""Host and port; the port is None for a Unix socket."""

Scope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
