"""An app that has a handler for every ending."""

import trio

from triows import App, Close, Limits, Pipe, Reject, WebSocket, channels, websocket

app = App(__name__, limits=Limits(max_message_size=1000))

departed: list[WebSocket] = []


async def fail(seconds: float = 0) -> None:
    await trio.sleep(seconds)
    raise OSError("broken")


class Broken(Pipe):
    """A pipe of which one hook fails."""

    def __init__(self, hook: str) -> None:
        setattr(self, hook, fail)


@app.on_error(LookupError)
def not_found(exc: LookupError) -> Close:
    return Close(4404, "not found")


@app.on_error(ZeroDivisionError)
async def fail_too(exc: ZeroDivisionError) -> None:
    await fail()


@app.websocket(pipeline=[Broken("open")])
async def pipe_does_not_open() -> None:
    raise AssertionError("it comes not so far")


@app.websocket(pipeline=[Broken("close")])
async def pipe_does_not_close() -> None:
    await websocket.accept()


@app.websocket()
async def returns() -> None:
    await websocket.accept()


@app.websocket()
async def returns_unaccepted() -> None:
    pass


@app.websocket()
async def closes() -> None:
    await websocket.accept()
    raise Close(4404, "no such room")


@app.websocket()
async def closes_unaccepted() -> None:
    raise Close(4404, "no such room")


@app.websocket()
async def rejects() -> None:
    raise Reject(401, "who?")


@app.websocket()
async def rejects_late() -> None:
    await websocket.accept()
    raise Reject(401, "who?")


@app.websocket()
async def fails_unaccepted() -> None:
    await fail()


@app.websocket()
async def fails() -> None:
    await websocket.accept()
    await fail()


@app.websocket()
async def task_fails() -> None:
    await websocket.accept()
    websocket.start_soon(fail, 1)
    await trio.sleep_forever()


@app.websocket()
async def both_fail() -> None:
    await websocket.accept()
    websocket.start_soon(fail, 1)
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("broken, too")


@app.websocket()
async def keeps() -> None:
    departed.append(websocket.unwrap())
    await websocket.receive()


@app.websocket()
async def talks_to_the_departed() -> None:
    await websocket.accept()
    await departed.pop().send("hello?")


@app.websocket()
async def looks_up() -> None:
    await websocket.accept()
    raise KeyError("nothing")


@app.websocket()
async def divides() -> None:
    await websocket.accept()
    raise ZeroDivisionError


@app.websocket()
async def echo() -> None:
    await websocket.accept()
    async for message in websocket:
        await websocket.send(message)


@app.websocket()
async def wants_json() -> None:
    await websocket.receive_json()


@app.websocket()
async def wants_text() -> None:
    await websocket.receive_text()


@app.websocket()
async def hesitates() -> None:
    await trio.sleep_forever()


@app.websocket(limits=Limits(idle_timeout=1))
async def idles() -> None:
    await websocket.receive()


@app.websocket(limits=Limits(max_lifetime=1))
async def grows_old() -> None:
    await websocket.receive()


@app.websocket()
async def expires() -> None:
    websocket.expire_after(1)
    await websocket.receive()


@app.websocket()
async def sleeps() -> None:
    await websocket.accept()
    await trio.sleep_forever()


@app.websocket()
async def lags() -> None:
    await channels.join("news")
    while True:
        await channels.publish("news", bytes(100_000))


@app.websocket()
async def floods() -> None:
    while True:
        await websocket.send(bytes(100_000))


@app.websocket()
async def stops_the_app() -> None:
    await websocket.accept()
    app.start_soon(fail)
    await trio.sleep_forever()


crowded = App(__name__, limits=Limits(max_connections=1))
crowded.websocket()(echo)
