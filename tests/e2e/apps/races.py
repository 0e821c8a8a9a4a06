"""Handlers whose own tasks get in each other's way."""

import logging

import trio

from triows import App, websocket

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

app = App(__name__)


@app.websocket()
async def accepts_twice() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(websocket.accept)
        nursery.start_soon(websocket.accept)
    await websocket.send("accepted")
    await websocket.accept()
    await websocket.send("and again")


@app.websocket()
async def accepts_by_sending() -> None:
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(websocket.send, str(number))


@app.websocket()
async def receives_twice() -> None:
    received = []

    async def receive() -> None:
        received.append(await websocket.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.sleep(0.1)
        try:
            await websocket.receive()
        except trio.BusyResourceError as exc:
            await websocket.send(f"busy: {exc}")
    await websocket.send(f"the first still got {received[0]!r}")


@app.websocket()
async def ten_send() -> None:
    async def send(name: str) -> None:
        for number in range(20):
            await websocket.send(f"{name} {number} " + name * 20_000)

    async with trio.open_nursery() as nursery:
        for name in "abcdefghij":
            nursery.start_soon(send, name)


@app.websocket()
async def is_cancelled_all_the_time() -> None:
    cancelled = 0
    while True:
        message = None
        with trio.move_on_after(0.001):
            message = await websocket.receive()
        if message is None:
            cancelled += 1
        elif message == "how often?":
            await websocket.send(str(cancelled))
        else:
            await websocket.send(message)
