"""Every example, served as its first lines say, and driven by clients that others wrote."""

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing
from websockets.exceptions import ConnectionClosed, InvalidStatus

import examples.auth
import examples.clock
from tests.e2e.clients import connect
from tests.e2e.servers import ROOT, serving
from tests.examples.served import example
from triows import testing

EXAMPLES = ROOT / "examples"


def target_of(path: Path) -> str:
    """Return what the command in an example's docstring serves."""
    command = r"^    (?:\w+=\S+ )?(?:hypercorn --worker-class trio|triows run) (\S+:app)$"
    found = re.search(command, path.read_text(), re.MULTILINE)
    assert found is not None, f"{path} does not say how it is run"
    return found[1]


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.py")), ids=str)
def test_every_example_says_how_it_is_run(path: Path) -> None:
    """The command names the example itself."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    if path.name == "beside.py":
        assert f"    python -m {module}\n" in path.read_text()
    elif path.name != "__init__.py" or "import App" in path.read_text():
        assert f"{module}:app" == target_of(path)


def test_every_example_is_in_the_list() -> None:
    """And whatever is listed exists."""
    listed = re.findall(r"^\| `(\w+)` \|", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    there = [path.stem for path in EXAMPLES.iterdir() if path.suffix == ".py" or path.is_dir()]

    assert sorted(set(there) - {"__pycache__"}) == sorted(listed)


async def test_beside() -> None:
    """A Trio program serves beside its own task, whose readings every client gets."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "examples.beside"], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        with trio.fail_after(20):
            line = b""
            while not line.endswith(b"\n"):
                line += await process.stdout.receive_some()
            url = line.decode().split()[-1].replace("http", "ws", 1)
            async with connect(f"{url}/readings") as first, connect(f"{url}/readings") as second:
                for ws in (first, second):
                    assert float(str(await ws.recv())) < float(str(await ws.recv()))
            async with connect(f"{url}/readings") as third:
                await third.recv()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def test_echo() -> None:
    """What comes in goes out again, text and bytes."""
    async with (
        serving(target_of(EXAMPLES / "echo.py"), folder=ROOT) as server,
        connect(server.ws("/echo")) as ws,
    ):
        for message in ("text", b"bytes", ""):
            await ws.send(message)
            assert message == await ws.recv()


async def test_clock() -> None:
    """It ticks without being asked."""
    async with (
        serving(target_of(EXAMPLES / "clock.py"), folder=ROOT) as server,
        connect(server.ws("/clock")) as ws,
    ):
        for _ in range(2):
            assert re.fullmatch(r"\d\d:\d\d:\d\d", str(await ws.recv()))


async def test_clock_is_gone_with_its_client(autojump_clock: trio.testing.MockClock) -> None:
    """The handler ends within a second of its client, which the test client waits for."""
    async with testing.client(examples.clock.app) as client, client.websocket("/clock") as peer:
        await peer.send("a heartbeat that nobody reads")
        await peer.receive()
        left_at = trio.current_time()

    assert trio.current_time() - left_at < 1


def token(user: str, seconds: float) -> str:
    """Return a token, from the example's own command."""
    command = [sys.executable, "-m", "examples.auth", user, str(seconds)]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return output.stdout.strip()


async def test_auth() -> None:
    """A stranger sees 401; a token lets in, is refreshed by another, and expires with 4401."""
    async with example("auth.py") as server:
        for bad in ("", "?token=joe.99999999999.forged", "?token=a&token=b"):
            with pytest.raises(InvalidStatus) as rejection:
                async with connect(server.ws(f"/account{bad}")):
                    pass
            assert 401 == rejection.value.response.status_code
            assert b"who are you?" == rejection.value.response.body
        async with connect(server.ws(f"/account?token={token('joe.doe', 60)}")) as ws:
            assert "welcome, joe.doe" == await ws.recv()
            fresh = examples.auth.issue("joe.doe", 1)  # type: ignore[no-untyped-call]
            await ws.send(json.dumps({"token": fresh}))
            assert "another" in str(await ws.recv())
            with pytest.raises(ConnectionClosed) as closing:
                await ws.recv()
            assert closing.value.rcvd is not None
            assert 4401 == closing.value.rcvd.code


async def test_chat() -> None:
    """It has a page, with the script that comes with triows; more is in tests/e2e and browser."""
    async with serving(target_of(EXAMPLES / "chat" / "__init__.py"), folder=ROOT) as server:
        async with httpx.AsyncClient(base_url=server.http("")) as http:
            page, script, ours = [
                (await http.get(path)).text for path in ("/", "/chat.js", "/triows/triows.js")
            ]
        async with connect(server.ws("/rooms/lobby?name=joe"), origin=server.http("")) as joe:
            assert json.loads(await joe.recv())["joined"]
            await joe.send('{"say": "hello"}')
            assert "hello" == json.loads(await joe.recv())["data"]["text"]

    assert 'src="chat.js"' in page
    assert 'from "/triows/triows.js"' in script
    assert "export class Connection" in ours


async def test_page() -> None:
    """The page, its script and the socket that it talks to come from one port."""
    async with serving(target_of(EXAMPLES / "page" / "app.py"), folder=ROOT) as server:
        async with httpx.AsyncClient() as http:
            page = await http.get(server.http("/"))
            script = await http.get(server.http("/page.js"))
        async with connect(server.ws("/shout"), origin=server.http("")) as ws:
            await ws.send("hello")
            assert "HELLO" == await ws.recv()

    assert 'src="page.js"' in page.text
    assert 'new URL("/shout"' in script.text


async def test_ticker() -> None:
    """Everybody gets the prices; those of one symbol, if there is one, begin with its last."""
    async with example("ticker.py") as server:
        # One after the other: this client cannot close before it has read what has come.
        async with connect(server.ws("/prices")) as everything:
            seen = {json.loads(await everything.recv())["symbol"] for _ in range(100)}
        async with connect(server.ws("/prices/OAK")) as oak:
            quotes = [json.loads(await oak.recv()) for _ in range(3)]
        for other in ("YEW", "x" * 1000, "%00"):
            with pytest.raises(InvalidStatus) as rejection:
                async with connect(server.ws(f"/prices/{other}")):
                    pass
            assert 404 == rejection.value.response.status_code

    assert {"ASH", "ELM", "FIR", "OAK"} == seen
    assert {"OAK"} == {quote["symbol"] for quote in quotes}
