"""A hall for everybody, and what it counts, in one process."""

import logging
from dataclasses import asdict

from triows import App, Limits, channels, websocket

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

app = App(__name__, limits=Limits(outbox_bytes=256 * 1024, close_timeout=1))
app.channels.configure("hall", history=100)
app.channels.configure("dropping", overflow="drop_oldest", capacity=10)


@app.websocket("/hall/<str:topic>/<str:name>")
async def hall(topic: str, name: str) -> None:
    await channels.join(topic, envelope=True, presence={"name": name})
    async for message in websocket:
        if message == "fail":
            raise RuntimeError("on purpose")
        await channels.publish(topic, message)


@app.websocket("/counts")
async def counts() -> None:
    async for topic in websocket:
        present = await channels.presence(str(topic))
        names = sorted(told["name"] for told in present.values())
        await websocket.send_json({**asdict(channels.statistics()), "present": names})
