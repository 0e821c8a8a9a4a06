"""`websocket`, which stands for the connection of the task that asks."""

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from triows import App, OutsideConnection, WebSocket, testing, websocket
from triows._context import WebSocketProxy
from triows._types import Data


async def test_stands_for_the_connection() -> None:
    """In a handler it is the connection: attributes are read and set, methods called."""
    app = App(__name__)

    @app.websocket("/room")
    async def room() -> None:
        websocket.subprotocol = "chat"
        await websocket.send(f"{websocket.path} {websocket.unwrap().subprotocol}")

    async with testing.client(app) as client, client.websocket("/room") as peer:
        assert "/room chat" == await peer.receive()


async def test_each_task_has_its_own() -> None:
    """Two handlers at the same time use the same name for two connections."""
    app = App(__name__)

    @app.websocket("/<str:name>")
    async def echo(name: str) -> None:
        async for message in websocket:
            await websocket.send(f"{name}: {message!r}")

    async with (
        testing.client(app) as client,
        client.websocket("/a") as a,
        client.websocket("/b") as b,
    ):
        await b.send("1")
        await a.send("2")

        assert ("a: '2'", "b: '1'") == (await a.receive(), await b.receive())


async def test_child_task_sees_it() -> None:
    """A task that the handler starts belongs to the handler's connection."""
    app = App(__name__)

    async def greet() -> None:
        await websocket.send("hello")

    @app.websocket()
    async def room() -> None:
        websocket.nursery.start_soon(greet)
        await websocket.receive()

    async with testing.client(app) as client, client.websocket("/room") as peer:
        assert "hello" == await peer.receive()


async def test_unwrapped_is_used_from_elsewhere() -> None:
    """What `unwrap` returns can be kept, compared, put in a set, and used by other connections."""
    app = App(__name__)
    members: set[WebSocket] = set()

    @app.websocket()
    async def room() -> None:
        members.add(websocket.unwrap())
        assert websocket == websocket.unwrap()
        async for message in websocket:
            for member in members:
                if websocket != member:
                    await member.send(message)

    async with (
        testing.client(app) as client,
        client.websocket("/room") as a,
        client.websocket("/room") as b,
    ):
        await trio.testing.wait_all_tasks_blocked()
        await a.send("hi")

        assert "hi" == await b.receive()
        await a.receive_nothing()


async def test_iteration() -> None:
    """It is iterated over like the connection itself, also step by step."""
    app = App(__name__)
    messages: list[Data] = []

    @app.websocket()
    async def room() -> None:
        messages.append(await anext(websocket))
        messages.extend([message async for message in websocket])

    async with testing.client(app) as client, client.websocket("/room") as peer:
        for message in ("a", b"b", ""):
            await peer.send(message)

    assert ["a", b"b", ""] == messages


def test_has_every_special_method_of_a_websocket() -> None:
    """What Python looks up on the type, and not on the object, is there as well."""
    special = {
        name
        for name, value in vars(WebSocket).items()
        if name.startswith("__") and inspect.isfunction(value)
    }

    assert special - {"__init__"} <= set(vars(WebSocketProxy))


# Outside of a connection


@pytest.mark.parametrize(
    "use",
    [
        lambda: websocket.path,
        lambda: websocket.send("x"),
        websocket.unwrap,
        lambda: setattr(websocket, "name", "x"),
        lambda: aiter(websocket),
        lambda: websocket == object(),
    ],
    ids=["read", "call", "unwrap", "set", "iterate", "compare"],
)
def test_outside_of_a_connection(use: Callable[[], object]) -> None:
    """Where no connection is, every use fails at once and says what to do instead."""
    with pytest.raises(OutsideConnection, match=r"keep what `websocket\.unwrap\(\)` returned"):
        use()


async def test_app_task_is_outside() -> None:
    """A task of the app belongs to no connection, even if a handler started it."""
    app = App(__name__)
    seen: list[bool] = []

    async def look() -> None:
        with pytest.raises(OutsideConnection):
            websocket.unwrap()
        seen.append(True)

    @app.websocket()
    async def room() -> None:
        app.start_soon(look)
        await websocket.receive()

    async with testing.client(app) as client, client.websocket("/room"):
        await trio.testing.wait_all_tasks_blocked()

    assert [True] == seen


# What a proxy must not do


@pytest.mark.parametrize("keep", [hash, lambda ws: {ws}, lambda ws: {ws: 1}])
def test_cannot_be_hashed(keep: Callable[[Any], object]) -> None:
    """Kept in a set it would talk to whichever peer uses it next, so it cannot be put there."""
    with pytest.raises(TypeError, match=r"cannot be put into a set .* Put `websocket\.unwrap\(\)`"):
        keep(websocket)


@pytest.mark.parametrize("keep", [pickle.dumps, copy.copy, copy.deepcopy])
def test_cannot_be_copied(keep: Callable[[Any], object]) -> None:
    """It belongs to one task, so it cannot be pickled or copied."""
    with pytest.raises(TypeError, match="websocket cannot be pickled or copied"):
        keep(websocket)


def test_is_itself() -> None:
    """It equals itself everywhere, without asking for a connection."""
    assert websocket == websocket  # noqa: PLR0124


@pytest.mark.parametrize("name", ["__wrapped__", "__html__", "__len__"])
def test_tools_may_look_at_it(name: str) -> None:
    """Tools that look at a module's names, as test runners do, get a plain no."""
    assert not hasattr(websocket, name)


async def test_is_shown() -> None:
    """In a debugger it shows the connection behind it, or that there is none."""
    app = App(__name__)

    @app.websocket()
    async def room() -> None:
        await websocket.send(repr(websocket))

    assert "<websocket: outside of a connection>" == repr(websocket)
    async with testing.client(app) as client, client.websocket("/room") as peer:
        shown = await peer.receive()

    assert isinstance(shown, str)
    assert shown.startswith("<websocket: <WebSocket /room ")
