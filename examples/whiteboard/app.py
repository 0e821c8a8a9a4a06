"""Whiteboard: everybody who looks at a board draws on it, and sees what all others have drawn.

    triows run examples.whiteboard.app:app

Then open http://127.0.0.1:8000/ in two browsers, or /#plans there for another board, or see what is
drawn:

    triows connect ws://127.0.0.1:8000/boards/plans

A board remembers its last 5,000 lines for an hour, so those who come later, or come back, see what
the others see. Starlette, which serves the page, comes with `pip install triows[http]`.
"""

import re
from pathlib import Path
from typing import Annotated

import msgspec
from starlette.staticfiles import StaticFiles

import triows
from triows import App, Close, Limits, channels, websocket

# A client may draw on as many boards as it likes: 1 KiB a line is 5 MiB a board.
app = App(__name__, limits=Limits(max_message_size=1024))
app.channels.configure("board:*", history=5000, ttl=3600)
app.mount("/triows", triows.static)
app.mount("/", StaticFiles(directory=Path(__file__).parent / "static", html=True))

X = Annotated[int, msgspec.Meta(ge=0, le=1600)]
Y = Annotated[int, msgspec.Meta(ge=0, le=900)]


class Line(msgspec.Struct, tag="line", forbid_unknown_fields=True):
    """Where a pen went, in a board's own units: a piece of a stroke."""

    colour: Annotated[str, msgspec.Meta(pattern="^#[0-9a-f]{6}$")]
    width: Annotated[int, msgspec.Meta(ge=1, le=50)]
    points: Annotated[list[tuple[X, Y]], msgspec.Meta(min_length=1, max_length=50)]


class Wipe(msgspec.Struct, tag="wipe", forbid_unknown_fields=True):
    """Nothing drawn so far is to be seen any more."""


drawing = msgspec.json.Decoder(Line | Wipe)


@app.websocket("/boards/<any:name>")
async def draw(name):
    """Show what has been drawn, and pass on what this client draws."""
    # The page does not come back after a code of 4500 or more.
    if not re.fullmatch(r"[\w-]{1,30}", name):
        raise Close(4500, "a board's name has 1 to 30 letters, digits, - and _")
    board = f"board:{name}"
    await channels.join(board, envelope=True, since=position())
    async for message in websocket:
        try:
            drawn = drawing.decode(message)
        except (msgspec.DecodeError, RecursionError) as exc:
            raise Close(4400, str(exc)) from None
        # Also to the one who has drawn it: it learns what came before, and all see the same.
        await channels.publish_json(board, drawn)


def position():
    """Return which piece a page had last, or 0 for one that has none."""
    epoch, offset = websocket.query_params.epoch, websocket.query_params.offset
    if epoch is None:
        return 0
    if not (isinstance(epoch, str) and re.fullmatch("[0-9]{1,18}", str(offset))):
        raise Close(4500, "?epoch=...&offset=...")
    return epoch, int(offset)
