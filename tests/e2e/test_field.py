"""The table of the README: what becomes of clients and handlers, here and with others."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from math import inf
from typing import Any, TypeAlias

import pytest
import trio
import trio.testing
from websockets.exceptions import ConnectionClosed
from websockets.trio.client import ClientConnection

from tests.e2e.clients import UPGRADE, connect, drain, read_head, read_to_end
from tests.e2e.field import FIELD, House
from tests.e2e.servers import ROOT

LONG = 3600.0
"""Seconds after which a handler never ends."""

MALFORMED = (
    "Sec-WebSocket-Protocol: \xff\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=many\r\n",
)
"""Lines of a handshake that no decent client would send."""

TABLE = [
    [cell.strip() for cell in line.split("|")[1:-1]]
    for line in (ROOT / "README.md").read_text().splitlines()
    if line.startswith("| ") and line.count("|") == len(FIELD) + 2
]

ROWS = {row[0]: dict(zip(FIELD, row[1:], strict=True)) for row in TABLE[1:]}


class Place:
    """A server that runs.

    Attributes:
        house: What it serves.
    """

    def __init__(self, house: House, port: int) -> None:
        self.house = house
        self._port = port

    @asynccontextmanager
    async def visit(self, handler: str) -> AsyncGenerator[ClientConnection]:
        """Connect to a handler; pings are answered, and none are sent."""
        url = f"ws://127.0.0.1:{self._port}/{handler}"
        async with connect(url, ping_interval=None) as client:
            yield client

    @asynccontextmanager
    async def open_socket(self, handler: str, lines: str = "") -> AsyncGenerator[trio.SocketStream]:
        """Send a handshake that has some more lines, and nothing else."""
        head = UPGRADE.format(path=f"/{handler}", port=self._port) + lines + "\r\n"
        async with await trio.open_tcp_stream("127.0.0.1", self._port) as stream:
            await stream.send_all(head.encode("latin-1"))
            yield stream

    async def end_of(self, handler: str, limit: float = LONG) -> str:
        """Return after how many seconds from now a handler has ended."""
        seconds = await self.house.endings[handler].seconds_to_come(limit)
        return "never" if seconds == inf else f"after {seconds:.0f} s" if seconds else "at once"


Scenario: TypeAlias = Callable[[Place], Awaitable[str]]


async def say_hello(client: ClientConnection) -> None:
    """Be sure that a handler is there that echoes."""
    await client.send("hello")
    assert await client.recv() == "hello"


async def is_served(place: Place, client: ClientConnection) -> str:
    """Return what becomes of a client that has nothing to do with it."""
    try:
        await say_hello(client)
    except ConnectionClosed:
        await place.house.is_over.wait()
        return "the server ends"
    return "go on"


async def meet_a_bug(place: Place) -> str:
    """Be the client of a handler that fails."""
    async with place.visit("fails") as client:
        return str((await read_to_end(client)).code.real)


async def stand_by_at_a_bug(place: Place) -> str:
    """Be another client, meanwhile."""
    async with place.visit("echoes") as bystander:
        await say_hello(bystander)
        async with place.visit("fails") as client:
            await read_to_end(client)
        return await is_served(place, bystander)


async def stand_by_at_malformed_handshakes(place: Place) -> str:
    """Be another client than one whose handshake is nonsense."""
    async with place.visit("echoes") as bystander:
        await say_hello(bystander)
        for lines in MALFORMED:
            with suppress(OSError, trio.BrokenResourceError):
                async with place.open_socket("echoes", lines) as stream:
                    with trio.move_on_after(1):
                        await drain(stream)
        return await is_served(place, bystander)


async def leave_one_that_waits(place: Place) -> str:
    """Leave a handler that waits for something else than its client."""
    async with place.visit("waits"):
        await trio.sleep(0.5)
    return await place.end_of("waits")


async def leave_one_that_pushes(place: Place) -> str:
    """Leave a handler that sends every second."""
    async with place.visit("pushes") as client:
        await client.recv()
        await trio.sleep(0.1)
    return await place.end_of("pushes", limit=60)


async def leave_one_that_is_busy(place: Place) -> str:
    """Say something, and leave before it was heard."""
    async with place.visit("is_busy") as client:
        for message in ("one", "two", "three"):
            await client.send(message)
    await place.end_of("is_busy")
    return "read" if place.house.heard == ["one", "two", "three"] else "lost"


async def vanish(place: Place) -> str:
    """Say nothing any more, not even goodbye."""
    async with place.open_socket("echoes") as stream:
        await read_head(stream)
        return await place.end_of("echoes")


async def read_nothing(place: Place) -> str:
    """Be told more than one reads."""
    async with place.open_socket("floods"):
        return await place.end_of("floods")


async def close_with_a_code(place: Place) -> str:
    """Leave with a code; return which one the handler was told."""
    async with place.visit("echoes") as client:
        await say_hello(client)
        await client.aclose(4001, "bye")
    await place.end_of("echoes")
    return code_in(place.house.endings["echoes"].by)


def code_in(exc: Any) -> str:
    """Return the close code that the exception of some library tells."""
    for name in ("info", "reason", "rcvd"):  # triows, trio-websocket, websockets
        exc = exc if hasattr(exc, "code") else getattr(exc, name, exc)
    return str(getattr(exc, "code", "nothing"))


async def stay(place: Place) -> str:
    """Be there when the server is asked to end."""
    async with place.visit("echoes") as client:
        await say_hello(client)
        place.house.stop.set()
        return str((await read_to_end(client)).code.real)


SCENARIOS: dict[str, Scenario] = {
    "a handler fails: its client is told": meet_a_bug,
    "a handler fails: all others": stand_by_at_a_bug,
    "a handshake is malformed: all others": stand_by_at_malformed_handshakes,
    "the client leaves: a handler that waits for something else ends": leave_one_that_waits,
    "the client leaves: a handler that sends every second ends": leave_one_that_pushes,
    "the client leaves: what it said before, to a handler that was busy, is": (
        leave_one_that_is_busy
    ),
    "the client leaves with 4001: the handler is told": close_with_a_code,
    "the client vanishes: a handler that receives ends": vanish,
    "the client reads nothing: a handler that sends ends": read_nothing,
    "the server is asked to end: clients are told": stay,
}


async def see(scenario: Scenario, name: str) -> str:
    """Play a scenario with a library."""
    house = House()
    async with trio.open_nursery() as nursery:
        port = await nursery.start(partial(house.serve, FIELD[name]))
        seen = await scenario(Place(house, port))
        nursery.cancel_scope.cancel()
    return seen


def test_every_row_is_tried_out() -> None:
    """The README tells of nothing else than what is tried out here, of those and in this order."""
    assert TABLE[0][1:] == list(FIELD)
    assert list(SCENARIOS) == list(ROWS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FIELD)
@pytest.mark.parametrize("row", SCENARIOS)
async def test_row(row: str, name: str, clock: trio.testing.MockClock) -> None:
    """It is as the README says."""
    assert await see(SCENARIOS[row], name) == ROWS[row][name]


@pytest.fixture
def clock(row: str) -> trio.testing.MockClock:
    """Return a clock that jumps once no socket has had anything for a moment.

    The kernel of a client that reads nothing takes a last bit only when it is asked again.
    """
    return trio.testing.MockClock(autojump_threshold=0.4 if "reads nothing" in row else 0.02)
