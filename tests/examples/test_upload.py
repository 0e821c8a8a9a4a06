"""The upload: whole files are kept as they were sent, and of others nothing stays."""

import json
import random
from pathlib import Path

import pytest
import trio
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode
from websockets.trio.client import ClientConnection

from tests.e2e.clients import Closed, closed, connect, encode, open_upgraded, read_to_end, see
from tests.e2e.servers import POLL
from tests.examples.served import example, page_of

PIECE = 256 * 1024

LARGE = 48 << 20
"""Bytes of a file that is not to be in memory as a whole."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a folder for the server to make."""
    folder = tmp_path / "files" / "uploads"
    monkeypatch.setenv("UPLOADS", str(folder))
    return folder


async def send_file(client: ClientConnection, content: bytes, ahead: int = 4) -> list[object]:
    """Send a file with so many pieces on their way, and return what comes back."""
    answers = []
    for i, at in enumerate(range(0, len(content), PIECE)):
        await client.send(content[at : at + PIECE])
        if i >= ahead:
            answers.append(json.loads(await client.recv()))
    try:
        while True:
            answers.append(json.loads(await client.recv()))
    except ConnectionClosed:
        return answers


def names_in(folder: Path) -> list[str]:
    """Return the names of all files in a folder."""
    return sorted(path.name for path in folder.iterdir())


async def test_upload(folder: Path) -> None:
    """Each piece is acknowledged and not kept, and the file is there once it is whole."""
    content = random.Random(6).randbytes(3 * PIECE + 17)
    async with example("upload/app.py") as server:
        page = await page_of(server)
        url = server.ws(f"/upload/{len(content)}/a%20picture%20(1).png")
        async with connect(url, origin=server.http("")) as client:
            await client.send(content[:PIECE])
            assert {"received": PIECE} == json.loads(await client.recv())
            (part,) = names_in(folder)
            assert part.startswith(".")
            answers = await send_file(client, content[PIECE:])
        async with connect(server.ws("/upload/0/empty")) as nothing:
            assert [{"stored": "empty"}] == await send_file(nothing, b"")
        async with connect(server.ws(f"/upload/{LARGE}/large")) as large:
            before = server.memory
            assert {"stored": "large"} == (await send_file(large, bytes(LARGE)))[-1]
            assert server.memory - before < LARGE / 4
        assert LARGE == (folder / "large").stat().st_size
        (folder / "large").unlink()

    assert [
        *({"received": size} for size in (2 * PIECE, 3 * PIECE, len(content))),
        {"stored": "a picture (1).png"},
    ] == answers
    assert Closed(1000) == closed(client)
    assert ["a picture (1).png", "empty"] == names_in(folder)
    assert content == (folder / "a picture (1).png").read_bytes()
    assert b"" == (folder / "empty").read_bytes()
    assert "`/upload/${" in page


async def test_what_is_refused(folder: Path) -> None:
    """It is told why, by a close that a browser can see, and nothing of it stays."""
    async with example("upload/app.py") as server:
        (folder / "taken").write_text("mine")
        for path, code in {
            "/upload/1/taken": 4409,
            "/upload/1/.hidden": 4400,
            "/upload/1/..%5Cfile": 4400,
            f"/upload/1/{'x' * 61}": 4400,
            f"/upload/{2**40}/large": 4413,
            "/upload/-1/less": 4413,
        }.items():
            closing = await see(server.ws(path))
            assert isinstance(closing, Closed)
            assert (path, code) == (path, closing.code)
            assert closing.reason
        sent: dict[str | bytes, int] = {b"more": 4400, "t": 1003, b"x" * (PIECE + 1): 1009}
        for message, code in sent.items():
            closing = await see(server.ws("/upload/3/file"), message)
            assert code == getattr(closing, "code", None)
        while names_in(folder) != ["taken"]:  # The client may hear of the end before the handler.
            await trio.sleep(POLL)
        await send_two_of_one_name(server.ws("/upload/4/file"))

    assert ["file", "taken"] == names_in(folder)
    assert b"abyz" == (folder / "file").read_bytes()
    assert "mine" == (folder / "taken").read_text()


async def send_two_of_one_name(url: str) -> None:
    """Send two files at a time: the first that is whole is kept, and the other is told so."""
    async with connect(url) as first, connect(url) as second:
        for client in (first, second):
            await client.send(b"ab")
            await client.recv()
        await second.send(b"yz")
        assert Closed(1000) == await read_to_end(second)
        await first.send(b"cd")
        assert 4409 == (await read_to_end(first)).code


async def wait_empty(folder: Path) -> None:
    """Wait until nothing is in a folder."""
    while names_in(folder):
        await trio.sleep(POLL)


async def test_what_is_not_whole(folder: Path) -> None:
    """It is removed when its client leaves or vanishes, and when the server stops."""
    async with example("upload/app.py") as server:
        url = server.ws("/upload/1000/file")
        async with connect(url) as client:
            await client.send(b"the beginning")
            assert {"received": 13} == json.loads(await client.recv())
            assert 1 == len(names_in(folder))
        await wait_empty(folder)
        async with open_upgraded(server, "/upload/1000/file") as stream:
            await stream.send_all(encode(Opcode.BINARY, b"the beginning"))
            await stream.receive_some()
            assert 1 == len(names_in(folder))
        await wait_empty(folder)
        async with connect(url) as client:
            await client.send(b"the beginning")
            await client.recv()
            await server.stop()
            assert Closed(1001, "server draining") == await read_to_end(client)

    assert [] == names_in(folder)
