"""The topics that one connection has joined."""

from collections.abc import Callable
from typing import Any

from triows._channels import _joining
from triows._channels._hub import Hub
from triows._channels._membership import Joined, Owner, Port
from triows._channels._settings import Since
from triows._outbox import Overflow
from triows._transport import Transport


class Memberships:
    """What a connection holds of topics: it cannot leak, since it ends with the connection.

    Args:
        hub: The topics of the app.
        owner: The connection's `WebSocket`.
        transport: Takes the messages.
        on_lagging: Called once with a close code and a reason when it is too slow for a
            topic that closes such members.
    """

    def __init__(
        self,
        hub: Hub,
        owner: Owner,
        transport: Transport,
        on_lagging: Callable[[int, str], None],
    ) -> None:
        self._hub = hub
        self._port = Port(owner, transport, on_lagging)

    async def join(
        self,
        topic: str,
        *,
        envelope: bool,
        since: Since,
        presence: Any,
        overflow: Overflow | None,
    ) -> Joined:
        """Become a member of a topic; see `WebSocket.join`."""
        return await _joining.join(
            self._hub,
            self._port,
            topic,
            envelope=envelope,
            since=since,
            presence=presence,
            overflow=overflow,
        )

    async def leave(self, topic: str) -> None:
        """Be a member no more."""
        await _joining.leave(self._hub, self._port, topic)

    def end(self) -> None:
        """Leave every topic, and join none any more."""
        _joining.end(self._hub, self._port)
