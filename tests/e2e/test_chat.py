"""examples/chat.py, served as its first lines say: two modules, each with pipes of its own."""

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

BIG = 1 << 16
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
        await self.connection.send(json.dumps(text))

    async def hear(self) -> dict[str, Any]:
        """Return what is heard next."""
        heard: dict[str, Any] = json.loads(await self.connection.recv())
        return heard


@asynccontextmanager
async def open_member(running: Server, path: str, name: str) -> AsyncGenerator[Member]:
    """Enter a room, and hear that the room has noticed."""
    async with connect(running.ws(f"{path}?name={name}")) as connection:
        member = Member(connection)
        assert name == (await member.hear())["welcome"]
        yield member


@on_every_server
async def test_each_room_hears_its_own(server: str) -> None:
    """What is said in a room is heard by its members and by nobody else, in one order."""
    async with serving_chat(server) as running, AsyncExitStack() as stack:
        joe = await stack.enter_async_context(open_member(running, "/rooms/blue", "joe"))
        assert {"joined": "joe"} == await joe.hear()
        ann = await stack.enter_async_context(open_member(running, "/rooms/blue", "ann"))
        for member in (joe, ann):
            assert {"joined": "ann"} == await member.hear()
        bob = await stack.enter_async_context(open_member(running, "/rooms/red", "bob"))
        assert {"joined": "bob"} == await bob.hear()

        await joe.say("hello")
        await ann.hear()
        await ann.say("größer, 猫")
        await bob.say("is anybody here?")

        assert {"from": "joe", "text": "hello"} == await joe.hear()
        for member in (joe, ann):
            assert {"from": "ann", "text": "größer, 猫"} == await member.hear()
        assert {"from": "bob", "text": "is anybody here?"} == await bob.hear()


@on_every_server
async def test_a_member_that_leaves_is_announced(server: str) -> None:
    """Whether it closes or vanishes, the others hear it, after its last words."""
    async with (
        serving_chat(server) as running,
        open_member(running, "/rooms/blue", "joe") as joe,
    ):
        await joe.hear()
        async with open_member(running, "/rooms/blue", "ann") as ann:
            await ann.say("good bye")
        async with open_upgraded(running, "/rooms/blue?name=bob") as stream:
            await stream.send_all(encode(Opcode.TEXT, b'"oops"'))
            while await joe.hear() != {"from": "bob", "text": "oops"}:
                pass
            reset_on_close(stream)

        assert {"left": "bob"} == await joe.hear()
        async with open_member(running, "/rooms/blue/9", "eve") as eve:
            remembered = [await eve.hear() for _ in range(2)]

    assert [
        {"from": "ann", "text": "good bye"},
        {"from": "bob", "text": "oops"},
    ] == remembered


@on_every_server
async def test_pipes_of_the_rooms(server: str) -> None:
    """The rooms want a name and JSON strings, each by a pipe; the types of the path come first."""
    async with serving_chat(server) as running:
        assert Refused(401, "say who you are: ?name=...") == await see(running.ws("/rooms/blue"))
        assert 401 == (await refused(running, "/rooms/blue?name=joe&name=ann")).status
        assert 404 == (await refused(running, "/rooms/black?name=joe")).status
        assert 404 == (await refused(running, "/rooms/blue/many?name=joe")).status
        for message in ("plain text", "7", '{"a": 1}', "[" * 100_000, b"\xff"):
            seen = await see(running.ws("/rooms/blue?name=joe"), message)
            assert Closed(1007, "send a JSON string") == seen


async def refused(running: Server, path: str) -> Refused:
    """Return how a handshake was answered that was not accepted."""
    seen = await see(running.ws(path))
    assert isinstance(seen, Refused), seen
    return seen


@on_every_server
async def test_pipes_of_the_lobby(server: str) -> None:
    """The lobby needs no name, speaks plain text, and its pipe counts who is there."""
    async with serving_chat(server) as running:
        for _ in range(2):
            async with connect(running.ws("/lobby")) as first:
                assert "1 in the lobby" == await first.recv()
                async with connect(running.ws("/lobby/")) as second:
                    assert "2 in the lobby" == await second.recv()


@on_every_server
async def test_urls_lead_from_module_to_module(server: str) -> None:
    """The lobby's URLs lead into the rooms, and a room's back, and to what was said in it."""
    async with serving_chat(server) as running, connect(running.ws("/lobby")) as lobby:
        await lobby.recv()
        lines = [str(await lobby.recv()) for _ in range(3)]
        blue = lines[2].removesuffix(" nobody")
        async with connect(running.ws(f"{blue}?name=the%20%26")) as connection:
            joe = Member(connection)
            welcome = await joe.hear()
            await joe.hear()
            await joe.say("hello")
            await joe.hear()
            await lobby.send("and now?")
            now = [str(await lobby.recv()) for _ in range(3)]
            async with connect(running.ws(welcome["history"])) as again:
                await again.recv()
                remembered = json.loads(await again.recv())
            async with connect(running.ws(welcome["lobby"])) as back:
                entered = await back.recv()

    assert ["/rooms/red nobody", "/rooms/green nobody", "/rooms/blue nobody"] == lines
    assert [*lines[:2], "/rooms/blue the &"] == now
    assert "/rooms/blue/20?name=the%20%26" == welcome["history"]
    assert {"from": "the &", "text": "hello"} == remembered
    assert "2 in the lobby" == entered


async def talk_until_missing(running: Server, name: str, joe: Member, *others: Member) -> None:
    """Say big things, and hear them, until somebody is missing in the blue room."""
    async with connect(running.ws("/lobby")) as lobby:
        await lobby.recv()
        while name in [str(await lobby.recv()) for _ in range(3)][-1]:
            for number in range(20):
                text = f"{number} ".ljust(BIG)
                await joe.say(text)
                for member in (joe, *others):
                    assert {"from": "joe", "text": text} == await member.hear()
            await lobby.send("and now?")


@on_every_server
async def test_a_member_that_does_not_read_holds_up_nobody(server: str) -> None:
    """Others hear what fills the buffers and the queue of one that is stuck, and then its going."""
    async with serving_chat(server) as running, AsyncExitStack() as stack:
        joe = await stack.enter_async_context(open_member(running, "/rooms/blue", "joe"))
        ann = await stack.enter_async_context(open_member(running, "/rooms/blue", "ann"))
        async with open_upgraded(running, "/rooms/blue?name=stuck") as stuck:
            for member in (joe, ann):
                while await member.hear() != {"joined": "stuck"}:
                    pass
            await talk_until_missing(running, "stuck", joe, ann)
            reset_on_close(stuck)

        for member in (joe, ann):
            assert {"left": "stuck"} == await member.hear()


@on_every_server
async def test_a_member_that_reads_slowly_is_told(server: str) -> None:
    """One that lets its queue fill and then reads gets all that was in it, and close 1013."""
    async with serving_chat(server) as running, AsyncExitStack() as stack:
        joe = await stack.enter_async_context(open_member(running, "/rooms/blue", "joe"))
        await joe.hear()
        url = running.ws("/rooms/blue?name=slow")
        slow = await stack.enter_async_context(connect(url, max_queue=1, compression=None))
        assert {"joined": "slow"} == await joe.hear()
        await talk_until_missing(running, "slow", joe)

        ending = await read_to_end(slow)

        assert Closed(1013, "you read too slowly") == ending
        assert {"left": "slow"} == await joe.hear()
