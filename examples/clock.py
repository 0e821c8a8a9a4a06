"""Clock: a handler that only sends. It is gone as soon as its client is.

    hypercorn --worker-class trio examples.clock:app

Then look at it:  python -m websockets ws://127.0.0.1:8000/clock
"""

from datetime import datetime

import trio

from triows import App, websocket

app = App(__name__)


# Nobody receives here, so what a client sends is dropped and not queued.
@app.websocket(on_disconnect="cancel", incoming="discard")
async def clock():
    while True:
        await websocket.send(f"{datetime.now():%H:%M:%S}")
        await trio.sleep(1)
