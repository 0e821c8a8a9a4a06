"""What hostile clients find, with limits so small that a test can wait for them."""

import logging

import trio

from tests.e2e.apps.leaving import closes, echo, tasks
from triows import App, Limits, websocket

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

app = App(
    __name__,
    limits=Limits(
        accept_timeout=1,
        close_timeout=0.5,
        disconnect_grace=0.5,
        send_timeout=1,
        stall_timeout=3,
        inbox_bytes=256 * 1024,
    ),
)
for handler in (tasks, echo, closes):
    app.websocket()(handler)


@app.websocket()
async def floods() -> None:
    while True:
        await websocket.send(bytes(64 * 1024))


@app.websocket()
async def never_reads() -> None:
    await websocket.accept()
    await trio.sleep_forever()


@app.websocket()
async def never_accepts() -> None:
    await trio.sleep_forever()


# With the limits of everybody who has set none.

ordinary = App("ordinary")
ordinary.websocket()(tasks)
ordinary.websocket()(echo)


@ordinary.websocket(limits=Limits(stall_timeout=1))
async def hoards() -> None:
    await never_reads()
