"""Programs of others and the same ones for triows: both are run, and do the same."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio

from tests.e2e.clients import connect
from triows import HandshakeRejected, testing

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "migrating.md"

PAIRS = {
    name: (theirs, ours)
    for name, theirs, ours in re.findall(
        r"^## From (\S+)\n\n```py\n(.*?)```\n\n```python\n(.*?)```",
        PAGE.read_text(),
        re.MULTILINE | re.DOTALL,
    )
}

Program: TypeAlias = dict[str, Any]
Scenario: TypeAlias = Callable[[Program], Awaitable[None]]


def run(code: str) -> Program:
    """Run a program's module; return what it has defined."""
    namespace: Program = {"__name__": "shown"}
    exec(compile(code, str(PAGE), "exec"), namespace)  # noqa: S102  # it is ours
    return namespace


async def speak_json(program: Program) -> None:
    """Send a JSON text, and get one that has it."""
    async with testing.client(program["app"]) as client, client.websocket("/rooms/7") as peer:
        await peer.send('"hi"')
        assert await peer.receive_json() == {"room": 7, "text": "hi"}


async def log_in(program: Program) -> None:
    """Be refused without a token, and served with it."""
    async with testing.client(program["app"]) as client:
        with pytest.raises(HandshakeRejected) as rejection:
            async with client.websocket("/rooms/7"):
                pass
        assert rejection.value.status == 401
        async with client.websocket("/rooms/7?token=secret") as peer:
            await peer.send("hi")
            assert await peer.receive() == "room 7: hi"


async def hear_each_other(program: Program) -> None:
    """Be two, of whom one speaks."""
    async with (
        testing.client(program["app"]) as client,
        client.websocket("/as/ann") as ann,
        client.websocket("/as/joe") as joe,
    ):
        await joe.receive_nothing()
        await ann.send("hi")
        assert await ann.receive() == await joe.receive() == "ann: hi"


@asynccontextmanager
async def serving(program: Program) -> AsyncGenerator[str]:
    """Run a program that serves; yield its URL."""
    async with trio.open_nursery() as nursery:
        port = await nursery.start(program["main"], 0)
        yield f"ws://127.0.0.1:{port}/"
        nursery.cancel_scope.cancel()


async def shout(program: Program) -> None:
    """Speak to a program that serves itself."""
    with trio.fail_after(10):
        async with serving(program) as url, connect(url) as client:
            await client.send("hi")
            assert await client.recv() == "HI"


SCENARIOS: dict[str, Scenario] = {
    "Emmett": speak_json,
    "Quart-Trio": log_in,
    "Starlette": hear_each_other,
    "trio-websocket": shout,
}


def test_every_pair_has_its_scenario() -> None:
    """Whatever stands side by side is tried out here."""
    assert list(SCENARIOS) == list(PAIRS)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_ours(name: str) -> None:
    """What is shown for triows does it."""
    await SCENARIOS[name](run(PAIRS[name][1]))


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "Emmett"])
async def test_theirs(name: str) -> None:
    """So does what is shown for others."""
    await SCENARIOS[name](run(PAIRS[name][0]))


@pytest.mark.filterwarnings("ignore")
def test_emmett() -> None:
    """What is shown for Emmett is Python, and one of its apps where it is installed."""
    theirs, _ = PAIRS["Emmett"]

    compile(theirs, str(PAGE), "exec")
    if find_spec("emmett") is not None:
        assert run(theirs)["talk"]
