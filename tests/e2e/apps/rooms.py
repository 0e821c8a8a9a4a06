"""Rooms on a Redis: members, and publishers that go on until each message has gone out."""

import os

import trio

from triows import App, BrokerUnavailable, channels, websocket
from triows.brokers import RedisBroker

app = App(__name__, broker=RedisBroker(os.environ["REDIS_URL"], lease=1))
app.channels.configure("kept", history=10_000, ttl=60)


@app.websocket("/member/<str:topic>")
async def member(topic: str) -> None:
    await websocket.join(topic, envelope=True)
    async for _ in websocket:
        pass


@app.websocket("/guest/<str:topic>")
async def guest(topic: str) -> None:
    name = websocket.query_params.name or ""
    await websocket.join(topic, envelope=True, presence={"name": name})
    async for _ in websocket:
        pass


@app.websocket("/publisher/<str:topic>/<str:name>/<int:count>")
async def publisher(topic: str, name: str, count: int) -> None:
    await websocket.accept()
    for number in range(count):
        while True:
            try:
                await channels.publish_json(topic, [name, number])
                break
            except BrokerUnavailable:
                await trio.sleep(0.01)
        await trio.sleep(0.005)
    await websocket.send("published")


@app.websocket("/present/<str:topic>")
async def present(topic: str) -> None:
    async for _ in websocket:
        everybody = await channels.presence(topic)
        await websocket.send_json([told["name"] for told in everybody.values()])
