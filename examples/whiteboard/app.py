"""Whiteboard: everybody who looks at a board draws on it, and sees what all others have drawn.

    triows run examples.whiteboard.app:app

Then open http://127.0.0.1:8000/ in two browsers, or /#plans there for another board, or see what is
drawn:

    triows connect ws://127.0.0.1:8000/boards/plans

A board remembers its last 5,000 lines for a day, so those who come later, or come back, see what
the others see. Starlette, which serves the page, comes with `pip install triows[http]`.
"""

from pathlib import Path
from typing import Annotated

import msgspec
from starlette.staticfiles import StaticFiles

from triows import App, Close, Limits, channels, websocket

app = App(__name__, limits=Limits(max_message_size=16 * 1024))
app.channels.configure("board:*", history=5000, ttl=24 * 3600)
app.mount("/", StaticFiles(directory=Path(__file__).parent / "static", html=True))

X = Annotated[int, msgspec.Meta(ge=0, le=1600)]
Y = Annotated[int, msgspec.Meta(ge=0, le=900)]


class Line(msgspec.Struct, tag="line", forbid_unknown_fields=True):
    """Where a pen went, in a board's own units: a piece of a stroke."""

    colour: Annotated[str, msgspec.Meta(pattern="^#[0-9a-f]{6}$")]
    width: Annotated[int, msgspec.Meta(ge=1, le=50)]
    points: Annotated[list[tuple[X, Y]], msgspec.Meta(min_length=1, max_length=500)]


class Wipe(msgspec.Struct, tag="wipe", forbid_unknown_fields=True):
    """Nothing drawn so far is to be seen any more."""


drawing = msgspec.json.Decoder(Line | Wipe)


@app.websocket("/boards/<str:name>")
async def draw(name):
    """Show what has been drawn, and pass on what this client draws."""
    board = f"board:{name}"
    await channels.join(board, since=0)
    async for message in websocket:
        try:
            drawn = drawing.decode(message)
        except (msgspec.DecodeError, RecursionError) as exc:
            raise Close(4400, str(exc)) from None
        # Whoever drew it sees it already.
        await channels.publish_json(board, drawn, exclude=websocket)
