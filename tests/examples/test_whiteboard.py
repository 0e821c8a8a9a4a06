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


async def join(client: ClientConnection) -> Any:
    """Return what a client is told first."""
    joined = json.loads(await client.recv())
    assert joined["joined"]
    return joined


async def seen(client: ClientConnection, count: int) -> list[Any]:
    """Return the next pieces that a client sees."""
    pieces = [json.loads(await client.recv())["data"] for _ in range(count)]
    return [piece | {"points": [*map(tuple, piece.pop("points", []))]} for piece in pieces]


def as_seen(*drawn: dict[str, Any]) -> list[Any]:
    """Return what was drawn as `seen` does."""
    return [piece | {"points": list(piece.get("points", []))} for piece in drawn]


async def test_whiteboard() -> None:
    """All see all that is drawn, in one order, who has drawn it and who comes later, too."""
    first, second, third = line((1, 2), (3, 4)), line((5, 6)), line((0, 0), (1600, 900), width=50)
    async with example("whiteboard/app.py") as server:
        page = await page_of(server)
        async with (
            connect(server.ws("/boards/plans"), origin=server.http("")) as joe,
            connect(server.ws("/boards/plans")) as ann,
        ):
            await join(joe)
            await join(ann)
            await draw(joe, first)
            assert as_seen(first) == await seen(ann, 1) == await seen(joe, 1)
            await draw(ann, second, WIPE)
            assert as_seen(second, WIPE) == await seen(joe, 2) == await seen(ann, 2)
            async with connect(server.ws("/boards/plans")) as sue:
                await join(sue)
                assert as_seen(first, second, WIPE) == await seen(sue, 3)
                await draw(joe, third)
                assert as_seen(third) == await seen(sue, 1) == await seen(ann, 1)
            async with connect(server.ws("/boards/other")) as bob:
                await join(bob)
                await draw(bob, first)
                assert as_seen(first) == await seen(bob, 1)
                await draw(joe, second)
                assert as_seen(second) == await seen(ann, 1)
        async with connect(server.ws("/boards/other")) as bob:
            await join(bob)
            assert as_seen(first) == await seen(bob, 1)

    assert "new Connection(`/boards/" in page


async def test_coming_back() -> None:
    """One who comes back is sent what came after the last piece that it had."""
    pieces = [line((i, i)) for i in range(5)]
    async with example("whiteboard/app.py") as server:
        url = server.ws("/boards/plans")
        async with connect(url) as joe:
            epoch = (await join(joe))["epoch"]
            await draw(joe, *pieces)
            assert as_seen(*pieces) == await seen(joe, 5)
            async with connect(f"{url}?epoch={epoch}&offset=3") as ann:
                assert (await join(ann))["recovered"]
                assert as_seen(*pieces[3:]) == await seen(ann, 2)
        for wrong in ("?epoch=a&epoch=b&offset=1", "?epoch=a", "?epoch=a&offset=-1"):
            assert Closed(4500, "?epoch=...&offset=...") == await see(url + wrong)


async def test_names() -> None:
    """A board has a short name; who asks for another one need not come again."""
    async with example("whiteboard/app.py") as server:
        for name in ("x" * 31, "x" * 1000, "%00", "a%20b"):
            assert 4500 == getattr(await see(server.ws(f"/boards/{name}")), "code", None)
        async with connect(server.ws("/boards/gr%C3%B6%C3%9Fe-1_2")) as joe:
            assert "board:größe-1_2" == (await join(joe))["topic"]


async def test_what_cannot_be_drawn() -> None:
    """It is told to the one who tried it, and nobody else ever sees it."""
    wrong = {
        "colour": line((1, 2), colour="red; }"),
        "width": line((1, 2), width=51),
        "points[0][0]": line((1601, 2)),
        "length >= 1": line(),
        "length <= 50": line(*[(0, 0)] * 51),
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
        for message in ("", "[" * 999, b"\xff"):
            assert 4400 == getattr(await see(url, message), "code", None)
        assert 1009 == getattr(await see(url, " " * 20_000), "code", None)

        async with connect(url) as joe, connect(url) as ann:
            await join(ann)
            await draw(joe, line((1, 2)))
            assert as_seen(line((1, 2))) == await seen(ann, 1)
