"""What a connection needs of the wire."""

import inspect
from collections.abc import Callable

import pytest

from triows._asgi import ASGITransport, open_asgi_transport
from triows._limits import Limits
from triows._timer import open_timer
from triows._transport import Transport, as_message
from triows._types import Data, Event

MEMBERS = sorted(name for name in vars(Transport) if not name.startswith("_"))
METHODS = [name for name in MEMBERS if inspect.isfunction(vars(Transport)[name])]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("text", "text"),
        ("", ""),
        (b"bytes", b"bytes"),
        (bytearray(b"more"), b"more"),
        (memoryview(b"view"), b"view"),
    ],
)
def test_as_message(value: object, message: Data) -> None:
    """Text is a str, everything like bytes is bytes."""
    assert message == as_message(value)
    assert type(message) is type(as_message(value))


@pytest.mark.parametrize("value", [None, 7, ["a"], {"a": 1}])
def test_what_is_no_message(value: object) -> None:
    """Anything else is our caller's mistake, and the error says what there is for it."""
    with pytest.raises(TypeError, match="there are send_json and JSONPipe"):
        as_message(value)


async def test_asgi_transport_is_a_transport() -> None:
    """The transport over ASGI has all that the interface names: the type checker reads this too."""

    async def receive() -> Event:
        return {"type": "websocket.disconnect"}

    async def send(_: Event) -> None:
        raise AssertionError("nothing is sent to a peer that has left")

    transport: Transport
    async with (
        open_timer() as timer,
        open_asgi_transport(
            {"type": "websocket"}, receive, send, limits=Limits(), timer=timer, discard=False
        ) as transport,
    ):
        assert isinstance(transport, ASGITransport)
        assert [] == [name for name in MEMBERS if not hasattr(transport, name)]
        for name in METHODS:
            assert_same_form(getattr(Transport, name), getattr(transport, name))


def assert_same_form(promised: Callable[..., object], method: Callable[..., object]) -> None:
    """Check that a bound method waits, or not, and takes arguments as the interface says."""
    assert inspect.iscoroutinefunction(promised) == inspect.iscoroutinefunction(method)
    names = list(inspect.signature(promised).parameters)[1:]
    assert names == list(inspect.signature(method).parameters), promised


@pytest.mark.parametrize("name", MEMBERS)
def test_interface_is_documented(name: str) -> None:
    """Every member of the interface says what an implementation has to guarantee."""
    assert getattr(Transport, name).__doc__
