"""Chat: rooms that remember what was said, who is in them, and a page to talk on.

    hypercorn --worker-class trio examples.chat:app

Then open http://127.0.0.1:8000/ in two tabs. Starlette comes with `pip install "triows[http]"`.
With a Redis (`triows[redis]`) the same rooms are in as many processes as you like:

    REDIS_URL=redis://localhost triows run --workers 4 examples.chat:app
"""

import os
import re
import time
from contextlib import suppress
from pathlib import Path

import trio
from starlette.staticfiles import StaticFiles

import triows
from triows import App, Close, Limits, Pipe, Reject, SubscriptionLagged, channels, url, websocket
from triows.brokers import RedisBroker
from triows.pipes import JSONPipe

ROOMS = ("lobby", "garden", "kitchen")
REDIS = os.environ.get("REDIS_URL")

app = App(__name__, broker=RedisBroker(REDIS) if REDIS else None)
app.channels.configure("room:*", history=100, ttl=24 * 60 * 60)
app.converter("room", "|".join(ROOMS), parse=str)
app.mount("/triows", triows.static)
app.mount("/", StaticFiles(directory=Path(__file__).parent / "static", html=True))


# The rooms


class Named(Pipe):
    """Lets nobody in without a name; handlers get it as `user`."""

    async def pipe(self, next_pipe, **kwargs):
        name = websocket.query_params.name
        if not (isinstance(name, str) and 0 < len(name.strip()) <= 30):
            raise Reject(401, "say who you are: ?name=...")
        await next_pipe(user=name.strip(), **kwargs)


class Resuming(Pipe):
    """Gives handlers, as `since`, which message a page had last; 0 for one that has none."""

    async def pipe(self, next_pipe, **kwargs):
        epoch, offset = websocket.query_params.epoch, websocket.query_params.offset
        since = 0
        if isinstance(epoch, str) and re.fullmatch(r"[0-9]{1,18}", str(offset)):
            since = (epoch, int(offset))
        await next_pipe(since=since, **kwargs)


rooms = app.module(
    __name__, "rooms", url_prefix="/rooms", pipeline=[Named(), Resuming(), JSONPipe()]
)


@rooms.websocket("/<room:room>", limits=Limits(max_message_size=64 * 1024))
async def talk(room, user, since):
    topic = f"room:{room}"
    await channels.join(topic, envelope=True, since=since, presence={"name": user})
    async for message in websocket:
        match message:
            case {"say": str(text)}:
                said = {"name": user, "text": text, "at": time.time()}
                await channels.publish_json(topic, said)
            case "who":
                await websocket.send({"here": await channels.presence(topic)})
            case _:
                raise Close(1003, 'send {"say": "..."} or "who"')


# The list of them


@app.websocket("/rooms", pipeline=[JSONPipe()], incoming="discard", on_disconnect="cancel")
async def overview():
    for room in ROOMS:
        websocket.start_soon(count, room)
    await trio.sleep_forever()


async def count(room):
    """Tell where a room is and how many are in it, and again whenever that changes."""
    async with channels.presence_events(f"room:{room}") as events:
        while True:
            here = await channels.presence(f"room:{room}")
            where = url.ws("rooms.talk", room)
            await websocket.send({"room": room, "url": where, "here": len(here)})
            with suppress(SubscriptionLagged):  # They are counted again in any case.
                await events.receive()
