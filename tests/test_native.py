"""How an app takes the transport of our own server, and when it must not."""

import copy
from typing import cast

import pytest

from triows._limits import Limits
from triows._native import EXTENSION, NativeTransport, Offer, claim_native
from triows._types import Event, Scope


class Claimable:
    """The part of a transport that matters here."""

    def __init__(self) -> None:
        self.claims: list[tuple[Limits, bool]] = []

    def claim(self, limits: Limits, *, discard: bool) -> bool:
        """Take it, once."""
        self.claims.append((limits, discard))
        return len(self.claims) == 1


async def receive() -> Event:
    """Be the server's `receive`."""
    raise AssertionError("nothing is received before a transport is claimed")


async def send(_: Event) -> None:
    """Be the server's `send`."""
    raise AssertionError("nothing is sent before a transport is claimed")


def offered() -> tuple[Scope, Claimable]:
    """Return a scope with an offer, and the transport that is offered."""
    transport = Claimable()
    offer = Offer(cast("NativeTransport", transport), receive, send)
    return {"type": "websocket", "extensions": {EXTENSION: offer}}, transport


def test_claim() -> None:
    """An app that was handed the server's own callables takes the transport, with its limits."""
    scope, transport = offered()
    limits = Limits(inbox_messages=7)

    taken: object = claim_native(scope, receive, send, limits, discard=True)
    assert transport is taken
    assert [(limits, True)] == transport.claims


def test_once() -> None:
    """A transport that is in use, be it as ASGI, is not to be had."""
    scope, transport = offered()
    claim_native(scope, receive, send, Limits(), discard=False)

    assert claim_native(scope, receive, send, Limits(), discard=False) is None
    assert 2 == len(transport.claims)


@pytest.mark.parametrize("what", ["receive", "send", "both"])
def test_behind_middleware(what: str) -> None:
    """Middleware that wraps a callable wants to see the events: nothing goes past it."""

    async def wrapped_receive() -> Event:
        return await receive()

    async def wrapped_send(event: Event) -> None:
        await send(event)

    scope, transport = offered()
    taken = claim_native(
        scope,
        receive if what == "send" else wrapped_receive,
        send if what == "receive" else wrapped_send,
        Limits(),
        discard=False,
    )

    assert taken is None
    assert [] == transport.claims


@pytest.mark.parametrize(
    "scope",
    [
        {"type": "websocket"},
        {"type": "websocket", "extensions": None},
        {"type": "websocket", "extensions": {"websocket.http.response": {}}},
    ],
)
def test_other_servers(scope: Scope) -> None:
    """Servers that offer nothing of the kind are spoken to in ASGI."""
    assert claim_native(scope, receive, send, Limits(), discard=False) is None


def test_an_offer_is_not_copied() -> None:
    """Middleware that copies the scope, deeply, hands on the very same offer."""
    offer = Offer(None, None, None)  # type: ignore[arg-type]

    assert offer is copy.deepcopy({"extensions": {EXTENSION: offer}})["extensions"][EXTENSION]
