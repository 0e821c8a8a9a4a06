"""Echo: what comes in goes out again.

    hypercorn --worker-class trio examples.echo:app

Then talk to it:  python -m websockets ws://127.0.0.1:8000/echo
"""

from triows import App, websocket

app = App(__name__)


@app.websocket()
async def echo():
    while True:
        message = await websocket.receive()
        await websocket.send(message)
