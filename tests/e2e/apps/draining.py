"""Handlers with work to finish, when their server is told to end or their peer stalls."""

import logging

import trio

from tests.e2e.apps.shutdown import fails_when_cancelled, open_pool
from triows import App, Limits, websocket

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

app = App(__name__, limits=Limits(close_timeout=0.5))
log = logging.getLogger("app")


app.lifespan(open_pool)
app.websocket(limits=Limits(disconnect_grace=60))(fails_when_cancelled)


@app.websocket()
async def finishes() -> None:
    await websocket.accept()
    async for _ in websocket:
        pass
    await trio.sleep(0.3)
    log.info("finished while %s was open", websocket.state["pool"])


@app.websocket(limits=Limits(disconnect_grace=60))
async def never_finishes() -> None:
    await websocket.accept()
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        log.info("cancelled while %s was open", websocket.state["pool"])
        raise


@app.websocket()
async def says_goodbye() -> None:
    await websocket.accept()
    await websocket.draining
    log.info("saw the drain")


# Peers that stall or are dead


@app.websocket(limits=Limits(send_timeout=60))
async def sends_for_a_second() -> None:
    await websocket.accept()
    while True:
        began = trio.current_time()
        with trio.move_on_after(1) as scope:
            await websocket.send(bytes(100_000))
        if scope.cancelled_caught:
            break
    log.info("gave up after %.3f s", trio.current_time() - began)
    await websocket.receive()


@app.websocket(limits=Limits(ping_interval=0.5, ping_timeout=0.5))
async def pings() -> None:
    await websocket.accept()
    began = trio.current_time()
    try:
        await trio.sleep_forever()
    except trio.Cancelled as exc:
        log.info("gone after %.3f s: %s", trio.current_time() - began, exc)
        raise
