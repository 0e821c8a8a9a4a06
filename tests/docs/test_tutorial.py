"""The tutorial, followed: its files are written, served, talked to and tested, as it says."""

import json
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.trio.client import ClientConnection

from tests.brokers.redis_server import RedisServer, redis_server
from tests.e2e.clients import Closed, connect, read_to_end, see
from tests.e2e.servers import TriowsServer, launching, running

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial"

CODE = re.compile(r"^```(?:python|html|js)\n(.*?)```", re.MULTILINE | re.DOTALL)

FILE = re.compile(r"`(\w[\w/.]*)`:\n\n```\w+\n(.*?)```", re.DOTALL)
"""A block behind words that end with the name of a file is what goes into it."""

HANDLER = "\n\n@app.websocket("


def write(folder: Path, *steps: str) -> None:
    """Write the files of some pages of the tutorial into a folder, one page after the other."""
    for step in steps:
        for name, text in FILE.findall((TUTORIAL / f"{step}.md").read_text()):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)


def replace_head(folder: Path) -> None:
    """Do what the last step asks for: put another first part in front of the handler."""
    (head,) = CODE.findall((TUTORIAL / "deploy.md").read_text())
    file = folder / "chat.py"
    file.write_text(head + HANDLER + file.read_text().partition(HANDLER)[2])


def passed(folder: Path) -> str:
    """Run pytest in a folder; return the last line, without the time, if all have passed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()[-1].partition(" in ")[0]


async def hear(peer: ClientConnection) -> Any:
    """Return what is in the next text."""
    return json.loads(await peer.recv())


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> Generator[RedisServer]:
    """The Redis of the last step."""
    with redis_server() as server:
        monkeypatch.setenv("REDIS_URL", server.url)
        yield server


def test_all_code_is_followed() -> None:
    """Each block of code is a file that is written here, but for the head that is put on one."""
    for page in TUTORIAL.glob("*.md"):
        text = page.read_text()
        code, files = CODE.findall(text), [text for _, text in FILE.findall(text)]
        assert [block for block in code if block not in files] == (
            code if page.stem == "deploy" else []
        )


async def test_echo(tmp_path: Path) -> None:
    """It echoes, and a handler that fails is the only one to notice."""
    write(tmp_path, "echo")
    async with (
        running("chat.py", folder=tmp_path) as server,
        connect(server.ws("/echo")) as echo,
        connect(server.ws("/half")) as half,
    ):
        await half.send("7")
        assert await half.recv() == "3.5"
        await half.send("seven")
        assert await read_to_end(half) == Closed(1011)
        await echo.send("hello")
        assert await echo.recv() == "hello"

    assert server.log.count("Traceback") == 1
    assert "invalid literal for int() with base 10: 'seven'" in server.log


async def test_rooms(tmp_path: Path) -> None:
    """Who is in a room hears all, and who has no name, or goes nowhere, is sent away."""
    write(tmp_path, "echo", "rooms")
    async with (
        running("chat.py", folder=tmp_path) as server,
        connect(server.ws("/rooms/blue?name=ann")) as ann,
    ):
        await ann.send("hello")
        assert await ann.recv() == "ann: hello"
        async with connect(server.ws("/rooms/blue?name=joe")) as joe:
            await joe.send("hello ann")
            assert await joe.recv() == "joe: hello ann"
        assert await ann.recv() == "joe: hello ann"
        assert await see(server.ws("/rooms/blue")) == Closed(4500, "say who you are: ?name=...")
        nowhere = await see(server.ws("/rooms/%0A?name=eve"))
        assert isinstance(nowhere, Closed)
        assert nowhere.code == 4500
        binary = await see(server.ws("/rooms/blue?name=eve"), b"\0")
        assert binary == Closed(1003, "a binary message came where text was expected")


def test_test(tmp_path: Path) -> None:
    """The tests of the rooms pass."""
    write(tmp_path, "echo", "rooms", "test")

    assert passed(tmp_path) == "2 passed"


async def test_chat(tmp_path: Path) -> None:
    """The tests pass, and one port has the page, its script and what that talks to."""
    write(tmp_path, "echo", "rooms", "test", "chat")

    assert passed(tmp_path) == "5 passed"

    async with running("chat.py", folder=tmp_path) as server:
        async with httpx.AsyncClient(trust_env=False) as http:
            page = await http.get(server.http("/"))
            script = await http.get(server.http("/chat.js"))
        async with connect(server.ws("/rooms/blue?name=ann"), origin=server.http("")) as ann:
            assert (await hear(ann))["joined"]
            assert list((await hear(ann))["members"].values()) == ["ann"]

    assert '<script src="chat.js">' in page.text
    assert script.text == (tmp_path / "page" / "chat.js").read_text()


async def join(server: TriowsServer, stack: AsyncExitStack, name: str) -> ClientConnection:
    """Connect to a room, and read until the list of who is there."""
    peer = await stack.enter_async_context(connect(server.ws(f"/rooms/blue?name={name}")))
    while "members" not in await hear(peer):
        pass
    return peer


async def test_deploy(tmp_path: Path, redis: RedisServer) -> None:
    """Two workers without a broker do not start; on Redis they share the rooms, also later ones."""
    write(tmp_path, "echo", "rooms", "test", "chat")
    async with launching("chat.py", "--workers", "2", folder=tmp_path) as refused:
        assert await refused.wait_ended() == 4
    assert "triows: the app failed: StateError: this app uses channels and runs" in refused.log
    replace_head(tmp_path)
    await redis.wait_started()

    async with running("chat.py", "-w2", folder=tmp_path) as server, AsyncExitStack() as stack:
        peers = [await join(server, stack, name) for name in "abcdef"]
        await peers[0].send("hello")
        for peer in peers:
            while "data" not in (frame := await hear(peer)) or "presence" in frame:
                pass
            assert frame["data"] == {"from": "a", "text": "hello"}
    async with (
        running("chat.py", folder=tmp_path) as server,
        connect(server.ws("/rooms/blue?name=late")) as late,
    ):
        assert (await hear(late))["recovered"]
        assert (await hear(late))["data"] == {"from": "a", "text": "hello"}
