"""What a handler's object tells the connection that it belongs to."""

from typing import Protocol

from triows._channels import Memberships


class Life(Protocol):
    """What a WebSocket tells the connection that it belongs to. Nothing here waits."""

    def accepted(self) -> None:
        """Hear that the handshake was accepted: other limits apply from now on."""

    def closing(self, reason: str) -> None:
        """Hear that this side closes, while the handler goes on."""

    def expire_after(self, seconds: float) -> None:
        """Set or move the expiry."""

    @property
    def memberships(self) -> Memberships:
        """The topics that the connection has joined."""
