"""The dashboard: everybody who looks is told all, and one who does not read is in nobody's way."""

import json
from typing import Any

from websockets.trio.client import ClientConnection

from examples.dashboard.app import MACHINES
from tests.e2e.clients import connect
from tests.examples.served import example, page_of


async def told(client: ClientConnection) -> dict[str, Any]:
    """Return the next value that a client is told."""
    value: dict[str, Any] = json.loads(await client.recv())
    return value


async def wait_watching(client: ClientConnection, count: int) -> None:
    """Wait until a client is told that so many are watching."""
    while (await told(client)).get("watching") != count:
        pass


async def test_dashboard() -> None:
    """The page and the values come from one port; each client gets those of all machines."""
    async with example("dashboard/app.py") as server:
        page = await page_of(server)
        async with connect(server.ws("/load"), origin=server.http("")) as first:
            await wait_watching(first, 1)
            async with connect(server.ws("/load")) as second:
                await second.send("a heartbeat that nobody reads")
                values = [await told(second) for _ in range(3 * len(MACHINES))]
                await wait_watching(first, 2)
            await wait_watching(first, 1)

    assert 'new URL("/load"' in page
    loads = {value["name"]: value["load"] for value in values if "name" in value}
    assert set(MACHINES) == loads.keys()
    assert all(0 <= load <= 100 for load in loads.values())
