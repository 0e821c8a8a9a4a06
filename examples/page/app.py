"""Page: a static page, served by Starlette below triows, whose script talks to a socket.

    hypercorn --worker-class trio examples.page.app:app

Then open http://127.0.0.1:8000/ in a browser. Starlette comes with `pip install triows[http]`.
"""

from pathlib import Path

from starlette.staticfiles import StaticFiles

from triows import App, websocket

app = App(__name__)
app.mount("/", StaticFiles(directory=Path(__file__).parent / "static", html=True))


@app.websocket()
async def shout():
    async for message in websocket:
        await websocket.send(message.upper())
