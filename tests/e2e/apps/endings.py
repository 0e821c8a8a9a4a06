"""Every way for a connection to end that a server over ASGI can show."""

import json
import logging

import trio
import trio.testing

from triows import App, Close, Limits, Reject, WebSocket, websocket

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

app = App(
    __name__,
    limits=Limits(
        accept_timeout=0.3,
        disconnect_grace=0.3,
        stall_timeout=0.5,
        send_timeout=0.5,
        close_timeout=1,
        max_message_size=1000,
        inbox_messages=4,
    ),
)
departed: list[WebSocket] = []
log = logging.getLogger("app")


# Handlers that end well


@app.websocket()
async def returns() -> None:
    await websocket.accept()


@app.websocket()
async def returns_unaccepted() -> None:
    pass


@app.websocket()
async def closes() -> None:
    await websocket.accept()
    raise Close(4404, "no such room: größer")


@app.websocket()
async def closes_unaccepted() -> None:
    raise Close(4403, "not you")


@app.websocket()
async def closes_and_goes_on() -> None:
    await websocket.send("last")
    await websocket.close(4000, "done")
    await websocket.close(4001, "the first wins")


@app.websocket()
async def rejects() -> None:
    raise Reject(401, "who?", headers={"www-authenticate": "Bearer"})


@app.websocket()
async def echo() -> None:
    while True:
        await websocket.send(await websocket.receive())


@app.websocket()
async def collects() -> None:
    async for message in websocket:
        log.info("collected %r", message)


# Handlers that fail


@app.websocket()
async def rejects_late() -> None:
    await websocket.accept()
    raise Reject(401)


@app.websocket()
async def fails_unaccepted() -> None:
    raise RuntimeError(f"{websocket.name} is broken")


@app.websocket()
async def fails() -> None:
    await websocket.accept()
    raise RuntimeError(f"{websocket.name} is broken")


async def fail_after(event: trio.Event) -> None:
    await event.wait()
    raise RuntimeError(f"the child of {websocket.name} is broken")


async def start_child() -> trio.Event:
    """Start a task that fails when the event is set, in the same moment as who sets it."""
    await websocket.accept()
    event = trio.Event()
    websocket.nursery.start_soon(fail_after, event)
    await trio.testing.wait_all_tasks_blocked()
    return event


@app.websocket()
async def both_fail() -> None:
    event = await start_child()
    event.set()
    raise RuntimeError(f"{websocket.name} is broken")


@app.websocket()
async def child_fails() -> None:
    event = await start_child()
    event.set()
    raise Close(4000, "not worth a word beside the child's failure")


@app.websocket()
async def departs() -> None:
    departed.append(websocket.unwrap())
    async for _ in websocket:
        pass


@app.websocket()
async def talks_to_the_departed() -> None:
    await websocket.accept()
    await departed.pop().send("are you there?")


# Error functions


@app.on_error(LookupError)
def excuse(exc: LookupError) -> Close:
    return Close(4004, f"not found: {exc.args[0]}")


@app.on_error(ArithmeticError)
def stumble(_: ArithmeticError) -> None:
    raise RuntimeError("the error function is broken")


@app.websocket()
async def looks_up() -> None:
    await websocket.accept()
    raise KeyError("the key")


@app.websocket()
async def divides() -> None:
    await websocket.accept()
    raise ZeroDivisionError(f"{websocket.name} is broken")


# Peers that do not keep to what was agreed


@app.websocket()
async def wants_json() -> None:
    await websocket.send(json.dumps(await websocket.receive_json()))


@app.websocket()
async def wants_text() -> None:
    await websocket.send(await websocket.receive_text())


# Limits


@app.websocket()
async def never_accepts() -> None:
    await trio.sleep_forever()


@app.websocket(limits=Limits(accept_timeout=30))
async def takes_its_time() -> None:
    await trio.sleep_forever()


@app.websocket()
async def never_reads() -> None:
    await websocket.accept()
    await trio.sleep_forever()


@app.websocket()
async def pushes() -> None:
    while True:
        await websocket.send("tick")
        await trio.sleep(0.01)


@app.websocket()
async def floods() -> None:
    while True:
        await websocket.send(bytes(100_000))


@app.websocket(limits=Limits(idle_timeout=0.3))
async def idles() -> None:
    await echo()


@app.websocket(limits=Limits(max_lifetime=0.3))
async def grows_old() -> None:
    await echo()


@app.websocket()
async def expires() -> None:
    websocket.expire_after(0.3)
    await echo()


crowded = App(__name__, limits=Limits(max_connections=1))


@crowded.websocket("/echo")
async def echo_to_one() -> None:
    await echo()
