"""The bounds of a connection, each with a name, a unit and a reason for its default."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

_MAY_BE_NONE = frozenset({"idle_timeout", "max_lifetime", "max_connections"})
_COUNTS = frozenset(
    {"max_message_size", "inbox_messages", "inbox_bytes", "outbox_bytes", "max_connections"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one connection may cost, in time and in memory.

    Given to `App(limits=...)` for every route and to `@app.websocket(limits=...)` for
    one; a route names only what differs, the rest is the app's.

    Attributes:
        accept_timeout: Seconds from the handshake to `accept`; then HTTP 503. 10:
            browsers show a page that waits longer as broken.
        disconnect_grace: Seconds a handler has, after the peer left, before it is
            cancelled. 5: enough to write a farewell to a database.
        stall_timeout: Seconds an inbox may stay full and unread (then 1013), and
            seconds in all to read what a peer sent before it left.
        idle_timeout: Seconds without a message from the peer (then 4408), or None.
        max_lifetime: Seconds a connection may last (then 1001), or None.
        close_timeout: Seconds to wait for the peer's answer to a close frame; again and
            again while it still reads what was sent before.
        pipe_close_timeout: Seconds that an error hook or a pipe has at the end.
        send_timeout: Seconds a write may make no progress; then the connection is
            aborted. 20: a phone changing networks comes back within that.
        ping_interval: Seconds between pings, where triows reads the frames itself.
        ping_timeout: Seconds a ping may stay unanswered; then 1011.
        max_message_size: Bytes of one message, after inflation; larger is 1009.
        inbox_messages: Messages kept for a handler that is busy elsewhere.
        inbox_bytes: Bytes kept likewise; the last message may pass it.
        outbox_bytes: Bytes of published messages that wait for a peer that reads slowly.
        max_connections: Connections of the app at a time (then HTTP 503), or None.
            Of the app only: a route that names another is refused.

    Raises:
        ValueError: A bound is not a positive number, or a count is not an integer.
    """

    accept_timeout: float = 10.0
    disconnect_grace: float = 5.0
    stall_timeout: float = 60.0
    idle_timeout: float | None = None
    max_lifetime: float | None = None
    close_timeout: float = 5.0
    pipe_close_timeout: float = 5.0
    send_timeout: float = 20.0
    ping_interval: float = 20.0
    ping_timeout: float = 20.0
    max_message_size: int = 1024 * 1024
    inbox_messages: int = 64
    inbox_bytes: int = 1024 * 1024
    outbox_bytes: int = 1024 * 1024
    max_connections: int | None = None
    _named: frozenset[str] = field(init=False, repr=False, compare=False)

    def __new__(cls, **named: float | None) -> Self:
        # A default and a value that happens to equal it are not the same to a
        # route that inherits: only here can it be seen which were written down.
        self = object.__new__(cls)
        object.__setattr__(self, "_named", frozenset(named))
        return self

    def __post_init__(self) -> None:
        for name, value in self._items():
            if value is None and name in _MAY_BE_NONE:
                continue
            is_number = isinstance(value, int if name in _COUNTS else int | float)
            if not is_number or isinstance(value, bool) or not value > 0:
                kind = "a positive integer" if name in _COUNTS else "a positive number of seconds"
                raise ValueError(f"{name} must be {kind}, not {value!r}")

    def over(self, base: "Limits") -> "Limits":
        """Return these limits, with those that were not named taken from `base`."""
        named = {name: value for name, value in self._items() if name in self._named}
        limits = replace(base, **named)
        # `replace` names everything; these may be put over others in turn.
        object.__setattr__(limits, "_named", self._named | base._named)
        return limits

    def _items(self) -> Iterator[tuple[str, Any]]:
        for bound in fields(self):
            if bound.init:
                yield bound.name, getattr(self, bound.name)
