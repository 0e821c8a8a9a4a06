"""A server beside a program's own task: what it measures goes to whoever is connected.

    python -m examples.beside

The first line says where it listens; connect to /readings there:

    triows connect ws://127.0.0.1:PORT/readings
"""

from functools import partial

import trio

from triows import App, channels, serve

app = App(__name__)


@app.websocket(incoming="discard", on_disconnect="cancel")
async def readings():
    await channels.join("readings")
    await trio.sleep_forever()


async def measure():
    while True:
        await app.channels.publish("readings", f"{trio.current_time():.1f}")
        await trio.sleep(0.1)


async def main(bind="127.0.0.1:0"):
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(partial(serve, app, bind=bind))
        nursery.start_soon(measure)
        print("listening on", *addresses, flush=True)


if __name__ == "__main__":
    trio.run(main)
