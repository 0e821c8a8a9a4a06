"""Handlers whose peers leave, and a route that counts the tasks that are left."""

import logging

import trio

from triows import App, ConnectionClosed, Limits, websocket

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

app = App(__name__, limits=Limits(disconnect_grace=0.5, close_timeout=1))
log = logging.getLogger("app")


@app.websocket()
async def tasks() -> None:
    """Send the number of tasks in the whole process."""
    count = 0
    found = [trio.lowlevel.current_root_task()]
    while found and (task := found.pop()) is not None:
        count += 1
        found += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    await websocket.send(str(count))


@app.websocket()
async def echo() -> None:
    async for message in websocket:
        await websocket.send(message)


@app.websocket()
async def closes() -> None:
    await websocket.send("goodbye")
    await websocket.close(4000, "enough")


# Slow readers


@app.websocket()
async def drains() -> None:
    read = 0
    async for _ in websocket:
        read += 1
        await trio.sleep(0.02)
    log.info("read %d messages", read)


@app.websocket(on_disconnect="cancel", limits=Limits(disconnect_grace=30))
async def cancels() -> None:
    await websocket.accept()
    try:
        await trio.sleep_forever()
    except trio.Cancelled as exc:
        log.info("cancelled: %s", exc)
        raise


@app.websocket(on_disconnect="raise", limits=Limits(disconnect_grace=0.1))
async def raises() -> None:
    await websocket.accept()
    await trio.sleep(1)
    log.info("was not cancelled")
    try:
        await websocket.receive()
    except ConnectionClosed as exc:
        log.info("was told: %s", exc)
        raise


# Handlers that never look


@app.websocket()
async def pushes() -> None:
    while True:
        await websocket.send("tick")
        await trio.sleep(0.01)


@app.websocket(incoming="discard")
async def pushes_and_discards() -> None:
    await pushes()


@app.websocket()
async def waits() -> None:
    await websocket.accept()
    await trio.Event().wait()


@app.websocket()
async def has_a_child() -> None:
    websocket.nursery.start_soon(trio.sleep_forever)
    async for _ in websocket:
        pass


@app.websocket()
async def has_a_child_and_waits() -> None:
    await websocket.accept()
    websocket.nursery.start_soon(trio.sleep_forever)
    await trio.sleep_forever()


# Handlers that send and do nothing else


@app.websocket()
async def floods() -> None:
    while True:
        await websocket.send("flood")


@app.websocket(on_disconnect="raise")
async def floods_until_told() -> None:
    await floods()


@app.websocket()
async def floods_whatever_happens() -> None:
    while True:
        try:
            await websocket.send("flood")
        except ConnectionClosed:
            continue
