"""A server beside a program's own tasks: what they measure goes to whoever is connected.

    python -m examples.beside

The first line says where it listens; connect to /readings there.
"""

import trio

from triows import App, ConnectionClosed, serve, websocket

app = App(__name__)
watchers = set()


@app.websocket()
async def readings():
    await websocket.accept()
    watchers.add(websocket.unwrap())
    async for _ in websocket:
        pass
    watchers.discard(websocket.unwrap())


async def measure():
    while True:
        await trio.sleep(0.1)
        for watcher in list(watchers):
            try:
                await watcher.send(f"{trio.current_time():.1f}")
            except ConnectionClosed:
                watchers.discard(watcher)


async def main(bind="127.0.0.1:0"):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(measure)
        addresses = await nursery.start(lambda **status: serve(app, bind=bind, **status))
        print("listening on", *addresses, flush=True)


if __name__ == "__main__":
    trio.run(main)
