"""Chat: a lobby for everybody, and three rooms for those who say their name.

    hypercorn --worker-class trio examples.chat:app

Then look into the lobby, which answers every message with who is where:

    python -m websockets ws://127.0.0.1:8000/lobby

And talk in a room, where every message is a JSON string; the 10 are what was said last:

    python -m websockets "ws://127.0.0.1:8000/rooms/blue/10?name=joe"
"""

import json
from collections import deque
from contextlib import suppress

import trio

from triows import App, Close, ConnectionClosed, Pipe, Reject, url, websocket

QUEUE = 100  # messages that a member may be behind
MEMORY = 20  # messages that a room remembers

app = App(__name__)


class Room:
    """Who is in a room, each with a queue of their own, and what was said last."""

    def __init__(self, name):
        self.name = name
        self.members = {}
        self.memory = deque(maxlen=MEMORY)

    def say(self, message):
        """Put a message into every queue, and wait for nobody."""
        for queue in list(self.members):
            try:
                queue.send_nowait(message)
            except trio.WouldBlock:
                self.members.pop(queue)
                queue.close()  # What is in it still goes out.


ROOMS = {name: Room(name) for name in ("red", "green", "blue")}

app.converter("room", "red|green|blue", parse=ROOMS.__getitem__, format=lambda room: room.name)


# Pipes


class Present(Pipe):
    """Counts who is there; handlers get the number as `present`."""

    def __init__(self):
        self.present = 0

    def open(self):
        self.present += 1

    def close(self):
        self.present -= 1

    async def pipe(self, next_pipe, **kwargs):
        await next_pipe(present=self.present, **kwargs)


class Named(Pipe):
    """Lets nobody in without a name; handlers get it as `user`."""

    async def pipe(self, next_pipe, **kwargs):
        name = websocket.query_params.name
        if not isinstance(name, str):  # missing, or there twice
            raise Reject(401, "say who you are: ?name=...")
        await next_pipe(user=name, **kwargs)


class JsonStrings(Pipe):
    """Speaks JSON: strings come in, anything goes out."""

    def on_receive(self, data):
        try:
            message = json.loads(data)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, str):
            raise Close(1007, "send a JSON string")
        return message

    def on_send(self, data):
        return json.dumps(data)


# The lobby

lobby = app.module(__name__, "lobby", url_prefix="/lobby", pipeline=[Present()])


@lobby.websocket("/")
async def look(present):
    await websocket.send(f"{present} in the lobby")
    while True:
        for room in ROOMS.values():
            names = ", ".join(room.members.values()) or "nobody"
            await websocket.send(f"{url.ws('rooms.talk', room)} {names}")
        await websocket.receive()


# The rooms

rooms = app.module(__name__, "rooms", url_prefix="/rooms", pipeline=[Named(), JsonStrings()])


@rooms.websocket("/<room:room>(/<int:count>)?")
async def talk(room, count, user):
    queue, messages = trio.open_memory_channel(QUEUE)
    history = url.ws(".talk", [room, MEMORY], {"name": user})
    queue.send_nowait({"welcome": user, "history": history, "lobby": url.ws("lobby.look")})
    for message in list(room.memory)[-count:] if count else []:
        queue.send_nowait(message)
    room.members[queue] = user
    room.say({"joined": user})
    websocket.nursery.start_soon(forward, messages)
    try:
        async for text in websocket:
            message = {"from": user, "text": text}
            room.memory.append(message)
            room.say(message)
    finally:
        room.members.pop(queue, None)
        room.say({"left": user})


async def forward(messages):
    """Send a member what is in its queue, as fast as it reads."""
    async for message in messages:
        # The handler may still have messages to read, so this must not end it.
        with suppress(ConnectionClosed):
            await websocket.send(message)
    raise Close(1013, "you read too slowly")
