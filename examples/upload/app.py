"""Upload: files come in pieces, each is acknowledged, and only whole files are kept.

    UPLOADS=/tmp/uploads triows run examples.upload.app:app

Then open http://127.0.0.1:8000/ in a browser, and drop files on the page. Another client connects
to /upload/BYTES/NAME and sends the file in binary messages of up to 256 KiB. Each is answered with
{"received": BYTES}: so a client can show how far it is, and need not have more than a few on their
way. At the end comes {"stored": NAME}, and the connection is closed with 1000.

However many clients there are, and however large their files, few pieces of each are in memory.
What is not whole, because its client left, fell silent or sent too much, is removed. Starlette,
which serves the page, comes with `pip install triows[http]`.
"""

import os
import re
from pathlib import Path

import trio
from starlette.staticfiles import StaticFiles

from triows import App, Close, Limits, websocket

FOLDER = trio.Path(os.environ.get("UPLOADS", "uploads"))
LARGEST = 4 * 2**30  # bytes of a file
PIECE = 256 * 1024  # bytes of a message

app = App(__name__)
app.mount("/", StaticFiles(directory=Path(__file__).parent / "static", html=True))


@app.lifespan
async def lifespan():
    await FOLDER.mkdir(parents=True, exist_ok=True)
    yield


@app.websocket(
    "/upload/<int:size>/<str:name>",
    limits=Limits(max_message_size=PIECE, inbox_bytes=PIECE, idle_timeout=30),
)
async def upload(size, name):
    if not 0 <= size <= LARGEST:
        raise Close(4413, f"more than {LARGEST} bytes are too many")
    # No slash, and no dot in front: it is in the folder, and is not one of the parts.
    if not re.fullmatch(r"\w[\w .()+-]{0,59}", name):
        raise Close(4400, "a file cannot be called so here")
    if await (FOLDER / name).exists():
        raise Close(4409, "there is a file of that name already")
    part = FOLDER / f".{websocket.id}.part"
    try:
        await receive_file(part, size)
        await keep(part, FOLDER / name)
    finally:
        # Whatever has happened: what is kept has another name by now.
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
            await part.unlink(missing_ok=True)
    await websocket.send_json({"stored": name})


async def receive_file(path, size):
    """Write what the client sends to a new file, until it has its size."""
    received = 0
    async with await trio.open_file(path, "xb") as file:
        while received < size:
            piece = await websocket.receive_bytes()
            received += len(piece)
            if received > size:
                raise Close(4400, "that is more than it was to be")
            await file.write(piece)
            await websocket.send_json({"received": received})


async def keep(part, path):
    """Give a whole file its name, unless another has got it in the meantime."""
    try:
        await path.hardlink_to(part)
    except FileExistsError:
        raise Close(4409, "there is a file of that name already") from None
