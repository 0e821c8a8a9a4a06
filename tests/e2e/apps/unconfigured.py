"""An app whose developer has not heard of logging yet."""

from triows import App, websocket

app = App(__name__)


@app.websocket()
async def fails() -> None:
    await websocket.accept()
    raise RuntimeError(f"{websocket.name} is broken")
