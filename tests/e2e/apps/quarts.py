"""An app of Quart-Trio, as its documentation has it."""

from quart import websocket
from quart_trio import QuartTrio

app = QuartTrio(__name__)


@app.websocket("/echo")
async def echo() -> None:
    while True:
        await websocket.send(await websocket.receive())


@app.websocket("/closes")
async def closes() -> None:
    await websocket.accept()
    await websocket.close(4000, "enough")


@app.get("/hello")
async def hello() -> str:
    return "hello"
