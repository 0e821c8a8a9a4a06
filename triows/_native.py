"""How an app takes the transport of our own server, and when it must not.

The server offers it in the scope's extensions, beside the two callables that it calls the app
with. An app that was handed those very callables may take it. Middleware that wraps them
wants to see the events, so there the connection goes over ASGI, and no middleware is bypassed.
"""

from dataclasses import dataclass
from typing import Protocol, Self

from triows._limits import Limits
from triows._transport import Transport
from triows._types import Receive, Scope, Send

EXTENSION = "triows.transport"
"""The key in `scope["extensions"]`."""


class NativeTransport(Transport, Protocol):
    """A transport that has limits of the server's until an app takes it."""

    def claim(self, limits: Limits, *, discard: bool) -> bool:
        """Take the transport, once, with the limits of the route; False if it is in use."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the server puts into the scope."""

    transport: NativeTransport
    receive: Receive
    send: Send

    def __deepcopy__(self, _: object) -> Self:
        """Return itself: there is one wire, however often middleware copies the scope."""
        return self


def claim_native(
    scope: Scope, receive: Receive, send: Send, limits: Limits, *, discard: bool
) -> NativeTransport | None:
    """Take the server's own transport; None if there is none, or somebody wants the events."""
    offer: Offer | None = (scope.get("extensions") or {}).get(EXTENSION)
    if offer is None or offer.receive is not receive or offer.send is not send:
        return None
    return offer.transport if offer.transport.claim(limits, discard=discard) else None
