"""examples/chat, served as its first lines say; what its page makes of it is in tests/browser."""

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from websockets.frames import Opcode
from websockets.trio.client import ClientConnection

from tests.e2e.clients import (
    Closed,
    Refused,
    connect,
    encode,
    open_upgraded,
    read_to_end,
    reset_on_close,
    see,
)
from tests.e2e.servers import ROOT, Server, on_every_server, serving

BIG = 60_000
"""Characters of a message of which a few hundred fill the buffers of a connection."""


@asynccontextmanager
async def serving_chat(server: str) -> AsyncGenerator[Server]:
    """Serve the example, and expect that nothing went wrong as long as it ran."""
    async with serving("examples.chat:app", server=server, folder=ROOT) as running:
        yield running
    assert running.failures == []
    assert "Traceback" not in running.log


class Member:
    """A client in a room, which speaks JSON."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, text: str) -> None:
        """Say something in the room."""
        await self.connection.send(json.dumps({"say": text}))

    async def hear(self) -> dict[str, Any]:
        """Return what comes next."""
        heard: dict[str, Any] = json.loads(await self.connection.recv())
        return heard

    async def hear_said(self) -> tuple[str, str]:
        """Return what is said next, and by whom."""
        said = (await self.hear())["data"]
        return said["name"], said["text"]

    async def hear_presence(self) -> tuple[str, str]:
        """Return who comes or goes next."""
        event = await self.hear()
        return event["presence"], event["data"]["name"]

    async def ask_who(self) -> list[str]:
        """Return the names of all who are here."""
        await self.connection.send('"who"')
        return sorted(data["name"] for data in (await self.hear())["here"].values())


@asynccontextmanager
async def open_member(
    running: Server, room: str, name: str, **since: object
) -> AsyncGenerator[tuple[Member, dict[str, Any]]]:
    """Enter a room; the second is what it is told first."""
    query = "&".join(f"{key}={value}" for key, value in {"name": name, **since}.items())
    async with connect(running.ws(f"/rooms/{room}?{query}")) as connection:
        member = Member(connection)
        yield member, await member.hear()


@on_every_server
async def test_each_room_hears_its_own(server: str) -> None:
    """What is said in a room is heard by its members and by nobody else, in one order."""
    async with (
        serving_chat(server) as running,
        open_member(running, "lobby", "joe") as (joe, _),
        open_member(running, "lobby", "ann") as (ann, _),
        open_member(running, "garden", "bob") as (bob, _),
    ):
        assert ("join", "ann") == await joe.hear_presence()
        assert ["ann", "joe"] == await ann.ask_who()
        assert ["bob"] == await bob.ask_who()

        await joe.say("hello")
        assert ("joe", "hello") == await ann.hear_said()
        await ann.say("größer, 猫")
        await bob.say("is anybody here?")

        assert ("joe", "hello") == await joe.hear_said()
        for member in (joe, ann):
            assert ("ann", "größer, 猫") == await member.hear_said()
        assert ("bob", "is anybody here?") == await bob.hear_said()


@on_every_server
async def test_a_member_that_leaves_is_announced(server: str) -> None:
    """Whether it closes or vanishes, the others hear it, after its last words."""
    async with (
        serving_chat(server) as running,
        open_member(running, "lobby", "joe") as (joe, _),
    ):
        async with open_member(running, "lobby", "ann") as (ann, _):
            assert ("join", "ann") == await joe.hear_presence()
            await ann.say("good bye")
            assert ("ann", "good bye") == await joe.hear_said()
        assert ("leave", "ann") == await joe.hear_presence()
        async with open_upgraded(running, "/rooms/lobby?name=bob") as stream:
            assert ("join", "bob") == await joe.hear_presence()
            await stream.send_all(encode(Opcode.TEXT, b'{"say": "oops"}'))
            assert ("bob", "oops") == await joe.hear_said()
            reset_on_close(stream)

        assert ("leave", "bob") == await joe.hear_presence()
        assert ["joe"] == await joe.ask_who()


@on_every_server
async def test_what_was_said_before(server: str) -> None:
    """Who comes gets all that is remembered; who comes back, what it has missed."""
    async with serving_chat(server) as running:
        async with open_member(running, "lobby", "joe") as (joe, first):
            for text in ("one", "two", "three"):
                await joe.say(text)
                await joe.hear()
        async with open_member(running, "lobby", "ann") as (ann, fresh):
            everything = [await ann.hear_said() for _ in range(3)]
        position = {"epoch": first["epoch"], "offset": 2}
        async with open_member(running, "lobby", "joe", **position) as (joe, back):
            missed = await joe.hear_said()
            assert ["joe"] == await joe.ask_who()

    assert (0, True) == (fresh["offset"], fresh["recovered"])
    assert [("joe", "one"), ("joe", "two"), ("joe", "three")] == everything
    assert (2, True) == (back["offset"], back["recovered"])
    assert ("joe", "three") == missed


@on_every_server
async def test_who_is_not_let_in(server: str) -> None:
    """The rooms want a name, by a pipe, and JSON that they know; and there are only so many."""
    async with serving_chat(server) as running:
        nobody = Refused(401, "say who you are: ?name=...")
        for query in ("", "?name=joe&name=ann", "?name=%20", f"?name={31 * 'x'}"):
            assert nobody == await see(running.ws(f"/rooms/lobby{query}"))
        # What is mounted at / is asked for rooms that there are not, and serves only files.
        assert Refused(403) == await see(running.ws("/rooms/cellar?name=joe"))
        for message in ("7", '"what"', '{"say": 7}', "[]"):
            seen = await see(running.ws("/rooms/lobby?name=joe"), message)
            assert Closed(1003, 'send {"say": "..."} or "who"') == seen
        no_json: tuple[str | bytes, ...] = ("plain text", "[" * 10_000, b"\xff")
        for bad in no_json:
            seen = await see(running.ws("/rooms/lobby?name=joe"), bad)
            assert isinstance(seen, Closed)
            assert 1007 == seen.code


@on_every_server
async def test_list_of_rooms(server: str) -> None:
    """It tells where each room is, how many are in it, and when that changes."""
    async with serving_chat(server) as running, connect(running.ws("/rooms")) as connection:
        overview = Member(connection)
        rooms = {told["room"]: told for told in [await overview.hear() for _ in range(3)]}
        assert {"lobby", "garden", "kitchen"} == rooms.keys()
        async with connect(running.ws(f"{rooms['garden']['url']}?name=the%20%26")) as garden:
            assert ["the &"] == await entered(Member(garden))
            assert {**rooms["garden"], "here": 1} == await overview.hear()
        assert {**rooms["garden"], "here": 0} == await overview.hear()


async def entered(member: Member) -> list[str]:
    """Return who is in the room that was just entered."""
    assert (await member.hear())["joined"]
    return await member.ask_who()


async def talk_until_gone(joe: Member, name: str, *others: Member) -> None:
    """Say big things, and hear them, until somebody has left."""
    text = "big ".ljust(BIG)
    is_gone = False
    while not is_gone:
        await joe.say(text)
        for member in (joe, *others):
            while "presence" in (heard := await member.hear()):
                assert ("leave", name) == (heard["presence"], heard["data"]["name"])
                is_gone = True
            assert text == heard["data"]["text"]


@on_every_server
async def test_a_member_that_does_not_read(server: str) -> None:
    """It holds up nobody: the others hear all, and that it has gone; and it is told 1013."""
    async with serving_chat(server) as running, AsyncExitStack() as stack:
        joe, _ = await stack.enter_async_context(open_member(running, "lobby", "joe"))
        ann, _ = await stack.enter_async_context(open_member(running, "lobby", "ann"))
        assert ("join", "ann") == await joe.hear_presence()
        url = running.ws("/rooms/lobby?name=slow")
        slow = await stack.enter_async_context(connect(url, max_queue=1, compression=None))
        for member in (joe, ann):
            assert ("join", "slow") == await member.hear_presence()
        await talk_until_gone(joe, "slow", ann)

        ending = await read_to_end(slow)

        assert Closed(1013, "too slow for topic 'room:lobby'") == ending
