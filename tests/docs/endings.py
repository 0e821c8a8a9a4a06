"""An app with a handler for every ending: those of the one that is served over ASGI, and more."""

import trio

from tests.e2e.apps import endings
from triows import App, Close, Limits, Pipe, channels, websocket

app = App(__name__, limits=Limits(max_message_size=1000))

crowded = endings.crowded

for handler in (
    endings.returns,
    endings.returns_unaccepted,
    endings.rejects,
    endings.rejects_late,
    endings.fails_unaccepted,
    endings.fails,
    endings.both_fail,
    endings.departs,
    endings.talks_to_the_departed,
    endings.looks_up,
    endings.divides,
    endings.echo,
    endings.wants_json,
    endings.wants_text,
    endings.takes_its_time,
    endings.never_reads,
    endings.expires,
    endings.floods,
):
    app.websocket()(handler)

app.websocket(limits=Limits(idle_timeout=1))(endings.idles)
app.websocket(limits=Limits(max_lifetime=1))(endings.grows_old)


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
async def closes() -> None:
    await websocket.accept()
    raise Close(4404, "no such room")


@app.websocket()
async def closes_unaccepted() -> None:
    raise Close(4404, "no such room")


@app.websocket()
async def task_fails() -> None:
    await websocket.accept()
    websocket.start_soon(fail, 1)
    await trio.sleep_forever()


@app.websocket()
async def lags() -> None:
    await channels.join("news")
    while True:
        await channels.publish("news", bytes(100_000))


@app.websocket()
async def stops_the_app() -> None:
    await websocket.accept()
    app.start_soon(fail)
    await trio.sleep_forever()
