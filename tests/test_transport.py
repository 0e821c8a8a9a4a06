"""What a connection needs of the wire."""

import inspect
from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triows._asgi import ASGITransport, open_asgi_transport
from triows._limits import Limits
from triows._timer import open_timer
from triows._transport import Prepared, Transport, as_message, size_of
from triows._types import Data, Event

MEMBERS = sorted(name for name in vars(Transport) if not name.startswith("_"))
METHODS = [name for name in MEMBERS if inspect.isfunction(vars(Transport)[name])]


@pytest.mark.parametrize(
    ("message", "size"), [("", 0), (b"", 0), ("abc", 3), (b"\xff\0", 2), ("ü€𝄞", 9)]
)
def test_size(message: Data, size: int) -> None:
    """The size of a message is what it takes on the wire: bytes, not characters."""
    assert size == size_of(message)


@given(st.text())
def test_size_of_any_text(text: str) -> None:
    """The size of a text is that of its UTF-8."""
    assert len(text.encode()) == size_of(text)


def test_size_of_what_cannot_be_sent() -> None:
    """A lone surrogate has no form on the wire: our caller hears of it before anything is sent."""
    with pytest.raises(UnicodeEncodeError):
        size_of("\ud800")


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


def test_prepared() -> None:
    """A message for many is measured once, and cannot change afterwards."""
    prepared = Prepared("ü")

    assert ("ü", 2) == (prepared.message, prepared.size)
    with pytest.raises(FrozenInstanceError):
        prepared.message = "other"  # type: ignore[misc]


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


def test_a_frame_is_kept() -> None:
    """What the first transport made of a message is there for the others; it is no difference."""
    prepared = Prepared("hi")

    assert b"frame" == prepared.keep_frame(b"frame")
    assert b"frame" == prepared.frame
    assert Prepared("hi") == prepared
