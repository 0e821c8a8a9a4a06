"""Lines in a log for what a connection does."""

import logging
from typing import Any

import pytest
import trio
import trio.testing

from triows import App, Close, HandshakeRejected, Pipe, Reject, testing, websocket
from triows.pipes import JSONPipe, LogPipe

PEER = "(peer 127.0.0.1:50000)"


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Let DEBUG through."""
    caplog.set_level(logging.DEBUG)


def logged(caplog: pytest.LogCaptureFixture, name: str = "triows.pipes") -> list[str]:
    """Return what the pipe has logged."""
    return [record.getMessage() for record in caplog.records if record.name == name]


async def test_a_conversation(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Opening, messages by kind and size, and the end with its outcome are a line each."""
    app = App(__name__)

    @app.websocket(pipeline=[LogPipe()])
    async def echo() -> None:
        async for message in websocket:
            await websocket.send(message)
            await trio.sleep(1)

    async with testing.client(app) as client, client.websocket("/echo") as peer:
        for message in ("naïve", b"\x00\xff", ""):
            await peer.send(message)
            await peer.receive()
        await trio.sleep(2)

    assert [
        f"handler echo opens '/echo' {PEER}",
        f"handler echo receives text, 5 characters {PEER}",
        f"handler echo sends text, 5 characters {PEER}",
        f"handler echo receives binary, 2 bytes {PEER}",
        f"handler echo sends binary, 2 bytes {PEER}",
        f"handler echo receives text, 0 characters {PEER}",
        f"handler echo sends text, 0 characters {PEER}",
        f"handler echo ends after 4.000 s: success {PEER}",
    ] == logged(caplog)


async def test_contents_are_not_logged(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither what is said nor a line break in the path gets into the log."""
    app = App(__name__)

    @app.websocket("/<any:rest>", pipeline=[LogPipe()])
    async def echo(rest: str) -> None:
        await websocket.send(await websocket.receive())

    async with testing.client(app) as client, client.websocket("/a%0Ab") as peer:
        await peer.send("secret")
        await peer.receive()

    text = "\n".join(logged(caplog))
    assert "opens '/a\\nb'" in text
    assert "secret" not in text


@pytest.mark.parametrize("value", [bytearray(b"abcd"), memoryview(bytearray(b"abcd")).cast("I")])
async def test_sizes_are_in_bytes(
    value: Any, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is like bytes is binary, and is measured in bytes."""
    app = App(__name__)

    @app.websocket("/", pipeline=[LogPipe()])
    async def handler() -> None:
        await websocket.send(value)

    async with testing.client(app) as client, client.websocket("/") as peer:
        assert b"abcd" == await peer.receive()

    assert f"handler handler sends binary, 4 bytes {PEER}" == logged(caplog)[1]


async def test_values_inside_of_a_json_pipe(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Inside of a pipe that decodes it names types."""
    app = App(__name__)

    @app.websocket("/", pipeline=[JSONPipe(), LogPipe()])
    async def echo() -> None:
        await websocket.send(await websocket.receive())

    async with testing.client(app) as client, client.websocket("/") as peer:
        await peer.send("{}")
        assert "{}" == await peer.receive()

    assert [
        f"handler echo receives a dict {PEER}",
        f"handler echo sends a dict {PEER}",
    ] == logged(caplog)[1:-1]


@pytest.mark.parametrize("ending", [Close(4000), Reject(401), ValueError()])
async def test_failure(
    ending: Exception, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler that raises is a failure, Close and Reject included."""
    app = App(__name__)

    @app.websocket("/", pipeline=[LogPipe()])
    async def handler() -> None:
        await trio.sleep(1.5)
        raise ending

    async with testing.client(app) as client:
        try:
            async with client.websocket("/"):
                pass
        except (HandshakeRejected, ValueError):
            pass

    assert [
        f"handler handler opens '/' {PEER}",
        f"handler handler ends after 1.500 s: failure {PEER}",
    ] == logged(caplog)


async def test_cancelled(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that the server's shutdown cancels is a failure, and is logged all the same."""
    app = App(__name__)

    @app.websocket("/", pipeline=[LogPipe()])
    async def handler() -> None:
        await websocket.receive()

    async with testing.client(app) as client:
        with trio.CancelScope() as scope:
            async with client.websocket("/") as peer:
                await peer.receive_nothing()
                await trio.sleep(2)
                await client.drain()
                scope.cancel()

    assert f"handler handler ends after 2.000 s: failure {PEER}" == logged(caplog)[-1]


async def test_pipe_inside_does_not_open(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What a pipe inside refuses has an end in the log like everything that has an opening."""

    class Closed(Pipe):
        def open(self) -> None:
            raise Reject(403)

    app = App(__name__)

    @app.websocket("/", pipeline=[LogPipe(), Closed()])
    async def handler() -> None:
        """Never start."""

    async with testing.client(app) as client:
        with pytest.raises(HandshakeRejected):
            async with client.websocket("/"):
                pass

    assert f"handler handler ends after 0.000 s: failure {PEER}" == logged(caplog)[-1]


async def test_connections_at_the_same_time(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """One pipe serves many connections, and each has its own seconds."""
    app = App(__name__)

    @app.websocket("/<int:number>", pipeline=[LogPipe()])
    async def handler(number: int) -> None:
        await websocket.accept()
        await trio.sleep(number)

    async with (
        testing.client(app) as client,
        client.websocket("/3") as three,
        client.websocket("/1") as one,
    ):
        await one.wait_closed()
        await three.wait_closed()

    ends = [line for line in logged(caplog) if "ends" in line]
    assert [
        f"handler handler ends after 1.000 s: success {PEER}",
        f"handler handler ends after 3.000 s: success {PEER}",
    ] == ends


async def test_twice_in_a_pipeline(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """One object that is in the app's pipeline and the route's does no harm."""
    log = LogPipe()
    app = App(__name__)
    app.pipeline = [log]

    @app.websocket("/", pipeline=[log])
    async def handler() -> None:
        await websocket.accept()

    async with testing.client(app) as client, client.websocket("/") as peer:
        assert 1000 == (await peer.wait_closed()).code

    assert 1 == len([line for line in logged(caplog) if "ends" in line])


async def test_logger_and_level(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The lines go to the given logger, at the given level."""
    app = App(__name__)
    logger = logging.getLogger("chat")

    @app.websocket("/", pipeline=[LogPipe(logger, logging.WARNING)])
    async def handler() -> None:
        await websocket.accept()

    async with testing.client(app) as client, client.websocket("/"):
        pass

    levels = [record.levelname for record in caplog.records if record.name == "chat"]
    assert ["WARNING", "WARNING"] == levels
    assert [] == logged(caplog)


async def test_level_is_off(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nobody listens to the level, nothing is logged."""
    caplog.set_level(logging.INFO)
    app = App(__name__)

    @app.websocket("/", pipeline=[LogPipe()])
    async def handler() -> None:
        await websocket.accept()

    async with testing.client(app) as client, client.websocket("/"):
        pass

    assert [] == logged(caplog)
