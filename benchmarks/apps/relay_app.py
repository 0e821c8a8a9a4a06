"""What is published to a topic in one process is delivered in this or another, with triows.

The environment's `RELAY_REDIS` is the URL of the broker; empty, messages stay in the process.
"""

import os

from triows import App, Limits, channels, websocket
from triows.brokers import RedisBroker

url = os.environ["RELAY_REDIS"]
app = App(
    __name__,
    limits=Limits(ping_interval=3600),  # the clients answer none
    broker=RedisBroker(url) if url else None,
)


@app.websocket("/publish/<str:topic>")
async def publish(topic: str) -> None:
    """Publish every message."""
    async for message in websocket:
        await channels.publish(topic, message)


@app.websocket("/listen/<str:topic>")
async def listen(topic: str) -> None:
    """Have delivered what is published, after a word that says that it is so."""
    await channels.join(topic)
    await websocket.send("joined")
    async for _ in websocket:
        pass
