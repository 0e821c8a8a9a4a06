"""The whiteboard: what one draws all others see, those who come later, too."""

import json
from typing import Any

from websockets.trio.client import ClientConnection

from tests.e2e.clients import Closed, connect, see
from tests.examples.served import example, page_of

WIPE = {"type": "wipe"}


def line(*points: tuple[int, int], **changes: Any) -> dict[str, Any]:
    """Return a line, as a page sends it."""
    return {"type": "line", "colour": "#c9382c", "width": 4, "points": points, **changes}


async def draw(client: ClientConnection, *drawn: dict[str, Any]) -> None:
    """Draw on the board of a client."""
    for piece in drawn:
        await client.send(json.dumps(piece))


async def seen(client: ClientConnection, count: int) -> list[Any]:
    """Return the next pieces that a client sees."""
    pieces = [json.loads(await client.recv()) for _ in range(count)]
    return [piece | {"points": [*map(tuple, piece.pop("points", []))]} for piece in pieces]


def as_seen(*drawn: dict[str, Any]) -> list[Any]:
    """Return what was drawn as `seen` does."""
    return [piece | {"points": list(piece.get("points", []))} for piece in drawn]


async def test_whiteboard() -> None:
    """Two draw, each sees what the other one does, and one who comes later sees all of it."""
    first, second, third = line((1, 2), (3, 4)), line((5, 6)), line((0, 0), (1600, 900), width=50)
    async with example("whiteboard/app.py") as server:
        page = await page_of(server)
        async with (
            connect(server.ws("/boards/plans"), origin=server.http("")) as joe,
            connect(server.ws("/boards/plans")) as ann,
        ):
            await draw(joe, first)
            assert as_seen(first) == await seen(ann, 1)
            await draw(ann, second, WIPE)
            assert as_seen(second, WIPE) == await seen(joe, 2)
            async with connect(server.ws("/boards/plans")) as sue:
                assert as_seen(first, second, WIPE) == await seen(sue, 3)
                await draw(joe, third)
                assert as_seen(third) == await seen(sue, 1) == await seen(ann, 1)
            async with connect(server.ws("/boards/other")) as bob:
                await draw(bob, first)
                await draw(joe, second)
                assert as_seen(second) == await seen(ann, 1)
        async with connect(server.ws("/boards/other")) as bob:
            assert as_seen(first) == await seen(bob, 1)

    assert "new URL(`/boards/" in page


async def test_what_cannot_be_drawn() -> None:
    """It is told to the one who tried it, and nobody else ever sees it."""
    wrong = {
        "colour": line((1, 2), colour="red; }"),
        "width": line((1, 2), width=51),
        "points[0][0]": line((1601, 2)),
        "length": line(),
        "author": line((1, 2), author="joe"),
        "type": {"type": "circle"},
    }
    async with example("whiteboard/app.py") as server:
        url = server.ws("/boards/plans")
        for what, piece in wrong.items():
            closing = await see(url, json.dumps(piece))
            assert isinstance(closing, Closed)
            assert 4400 == closing.code
            assert what in closing.reason
        for message in ("", "[" * 9999, b"\xff"):
            assert 4400 == getattr(await see(url, message), "code", None)
        assert 1009 == getattr(await see(url, " " * 20_000), "code", None)

        async with connect(url) as joe, connect(url) as ann:
            await draw(joe, line((1, 2)))
            assert as_seen(line((1, 2))) == await seen(ann, 1)
