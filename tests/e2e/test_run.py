"""`triows run` in one process: how it starts, how it ends, and what it says about both."""

import signal
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from tests.e2e.clients import Closed, connect, read_to_end
from tests.e2e.servers import STOP_TIMEOUT, TriowsServer, launching, running
from triows.cli._signals import ECHO

pytestmark = pytest.mark.timeout(60)


async def ends_with(status: int, *arguments: str, **options: Any) -> str:
    """Run a command that ends by itself with this status, and return what it wrote."""
    async with launching(*arguments, **options) as server:
        with trio.fail_after(STOP_TIMEOUT):
            assert status == await server.wait_ended()
        return server.log


async def test_sigterm() -> None:
    """The clients see 1001, the handlers end, and the exit status is 0."""
    async with running("running:app") as server, connect(server.ws("/echo")) as peer:
        await peer.send("hello")
        assert "hello" == await peer.recv()
        await server.stop()
        closed = await read_to_end(peer)

    assert Closed(1001, "server draining") == closed
    assert server.process.pid == server.worker
    assert server.failures == []
    assert server.log.count('"WS /echo" 101 1001') == 1


async def test_ctrl_c() -> None:
    """SIGINT to the whole terminal is the same, without a traceback."""
    async with running("running:app") as server, connect(server.ws("/echo")) as peer:
        await server.stop(by_ctrl_c=True)
        closed = await read_to_end(peer)

    assert Closed(1001, "server draining") == closed
    assert "Traceback" not in server.log


@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["alone", "workers"])
async def test_second_signal(options: list[str]) -> None:
    """It cuts the drain short: a handler that takes its time is cancelled."""
    serving = running("running:app", "--drain-grace", "50", *options)
    async with serving as server, connect(server.ws("/slow")) as peer:
        server.was_stopped = True
        server.process.terminate()
        assert Closed(1001, "server draining") == await read_to_end(peer)
        await trio.sleep(2 * ECHO)  # Twice at once is one request.
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGINT)
        with trio.fail_after(STOP_TIMEOUT):
            assert 128 + signal.SIGINT == await server.wait_ended()


async def test_starlette() -> None:
    """Any ASGI app is served."""
    async with running("running:page") as server, connect(server.ws("/echo")) as peer:
        await peer.send("hello")

        assert "hello" == await peer.recv()


async def test_unix_socket(tmp_path: Path) -> None:
    """Its file is there while the server is, and no longer."""
    path = tmp_path / "app.sock"
    async with launching("running:app", bind=f"unix:{path}") as server:
        await server.wait_for(f"listening on unix:{path} (pid {server.process.pid})")
        stream = await trio.open_unix_socket(path)
        async with connect("ws://localhost/echo", stream=stream) as peer:
            await peer.send("hello")
            assert "hello" == await peer.recv()
        await server.stop()

    assert not path.exists()


async def test_descriptor() -> None:
    """A socket that was opened by whoever started the server, as systemd does."""
    with socket.create_server(("127.0.0.1", 0)) as given:
        number = given.fileno()
        async with running("running:app", bind=f"fd://{number}", fds=[number]) as server:
            assert given.getsockname()[1] == server.port
            async with connect(server.ws("/echo")) as peer:
                await peer.send("hello")
                assert "hello" == await peer.recv()


async def test_configuration_file(tmp_path: Path) -> None:
    """Its settings hold, and those of the command line go over them."""
    file = tmp_path / "app.toml"
    file.write_text('bind = ["fd://999999"]\nroot_path = "/live"\nloglevel = "warning"\n')
    serving = running("running:app", "--config", str(file))
    async with serving as server, connect(server.ws("/live/echo")) as peer:
        await peer.send("hello")
        assert "hello" == await peer.recv()

    assert '"WS ' not in server.log


async def test_certificate(tmp_path: Path) -> None:
    """With a certificate it serves wss."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    files = ["--certfile", str(tmp_path / "both.pem"), "--keyfile", str(tmp_path / "both.pem")]
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with running("running:app", *files) as server:
        assert server.ws("/").startswith("wss:")
        async with connect(server.ws("/echo"), ssl=context) as peer:
            await peer.send("hello")
            assert "hello" == await peer.recv()


async def test_compression() -> None:
    """It is off unless asked for."""
    async with running("running:app") as server, connect(server.ws("/echo")) as peer:
        assert [] == peer.protocol.extensions
    async with (
        running("running:app", "--compression", "deflate") as server,
        connect(server.ws("/echo")) as peer,
    ):
        assert ["permessage-deflate"] == [found.name for found in peer.protocol.extensions]


async def test_without_an_access_log() -> None:
    """There is no line for a connection."""
    async with running("running:app", "--no-access-log") as server, connect(server.ws("/echo")):
        pass

    assert '"WS ' not in server.log


async def test_address_in_use() -> None:
    """One line says which address it is."""
    async with running("running:app") as server:
        bind = f"127.0.0.1:{server.port}"

        said = await ends_with(3, "running:app", bind=bind)

    assert f"triows: cannot listen on {bind}: address already in use\n" == said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["running:ap"], "triows: running:ap does not exist; did you mean "),
        (["running:not_an_app"], "triows: running:not_an_app is no ASGI app, but of type function"),
        (["nowhere:app"], "triows: there is no module 'nowhere'"),
        (["running:app", "--bind", "8000"], "triows: '8000' is no address to listen on"),
        (["running:app", "--config", "no.toml"], "triows: cannot read no.toml: no such file"),
        (["running:app", "--certfile", "a"], "triows: a certificate and its key belong together"),
        (["running:app", "--reload", "-w", "2"], "triows: --reload restarts a single worker"),
    ],
)
async def test_misuse(arguments: list[str], said: str) -> None:
    """One line says what is wrong."""
    log = await ends_with(2, *arguments)

    assert log.startswith(said)
    assert 1 == log.count("\n")


async def test_app_that_cannot_be_imported(tmp_path: Path) -> None:
    """There is its traceback, and nothing of ours in it."""
    (tmp_path / "shop.py").write_text("prices = {}['hat']\n")

    log = await ends_with(1, "shop:app", folder=tmp_path)

    assert log.endswith("KeyError: 'hat'\n")
    assert 1 == log.count("  File ")


async def test_app_that_cannot_start() -> None:
    """Its traceback is in the log, once, and the last line says what it was."""
    log = await ends_with(4, "running:without_pool")

    assert 1 == log.count("Traceback")
    assert log.endswith("triows: the app failed: RuntimeError: no pool\n")


async def test_app_that_fails_later() -> None:
    """A task that fails is the end of the server: its client sees 1011."""
    async with running("running:with_task") as server:
        async with connect(server.ws("/fail")) as peer:
            closed = await read_to_end(peer)
        with trio.fail_after(STOP_TIMEOUT):
            assert 4 == await server.wait_ended()
        server.was_stopped = True

    assert 1011 == closed.code
    assert server.log.endswith("triows: the app failed: RuntimeError: a task broke\n")


@pytest.mark.parametrize("way", ["module", "file"])
async def test_reload(way: str, tmp_path: Path) -> None:
    """A change is served soon, at the same address; one that is broken waits for the next."""
    file = tmp_path / "shop.py"
    code = "from triows import App, websocket\napp = App(__name__)\n@app.websocket()\n"
    code += "async def price():\n    await websocket.send({!r})\n"
    file.write_text(code.format("one"))
    async with running(
        "shop:app" if way == "module" else "shop.py", "--reload", folder=tmp_path
    ) as server:
        assert "one" == await price_of(server)

        file.write_text("1 / 0\n")
        await server.wait_for("the worker exited with 1; waiting for a change")
        assert "ZeroDivisionError" in server.log
        file.write_text(code.format("two"))
        while server.log.count("listening on") < 2:
            await trio.sleep(0.01)

        assert "two" == await price_of(server)


async def price_of(server: TriowsServer) -> str:
    """Return what the app of a test says."""
    async with connect(server.ws("/price")) as peer:
        return str(await peer.recv())
