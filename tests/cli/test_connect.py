"""`triows connect`: from a URL to an exit status."""

import argparse
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import inf

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest

from tests.cli.connections import Desk, accept, answering, code_of, read_head, refuse, serving
from triows._close import CloseInfo
from triows.cli import _connect
from triows.cli._address import Offer, parse_url
from triows.cli._connect import connect, describe
from triows.cli._connect_options import Options

Talk = Callable[[WebSocketConnection], Awaitable[None]]


def to(url: str, offer: Offer | None = None, *, max_size: int = 1000) -> Options:
    """Return the options for a URL, without a time that a test would have to wait for."""
    return Options(
        parse_url(url),
        offer or Offer(),
        tls=None,
        timeout=10,
        max_size=max_size,
        wait=inf,
        ping_interval=None,
    )


async def status_of(talk: Talk, desk: Desk) -> int:
    """Return the exit status of a connection to a server that talks so."""

    async def handle(request: WebSocketRequest) -> None:
        await talk(await request.accept())

    async with serving(handle) as url:
        return await connect(to(url), desk.terminal)


def run(*arguments: str) -> int:
    """Run the command as the parser would, and return its exit status."""
    parser = argparse.ArgumentParser()
    _connect.add_command(parser.add_subparsers())
    parsed = parser.parse_args(["connect", *arguments])
    status: int = parsed.run(parsed)
    return status


# How it ends


@pytest.mark.parametrize(
    ("code", "status"), [(1000, 0), (1001, 0), (1003, 1), (1011, 1), (3000, 1), (4000, 1)]
)
async def test_peer_closes(code: int, status: int) -> None:
    """Only 1000 and 1001 are a good end, and code and reason are told."""

    async def talk(connection: WebSocketConnection) -> None:
        await connection.aclose(code, "so")

    desk = Desk()
    assert status == await status_of(talk, desk)

    assert f"closed by the peer: {code} so" == desk.notices[-1]


async def test_peer_closes_without_a_code() -> None:
    """A close frame without a code says nothing bad."""

    async def talk(connection: WebSocketConnection) -> None:
        await connection._stream.send_all(b"\x88\x00")
        with pytest.raises(ConnectionClosed):
            await connection.get_message()

    desk = Desk()
    assert 0 == await status_of(talk, desk)

    assert "closed by the peer: 1005" == desk.notices[-1]


async def test_user_closes() -> None:
    """The end of the input ends well, and so does a code that the user chose."""

    async def talk(connection: WebSocketConnection) -> None:
        with pytest.raises(ConnectionClosed):
            await connection.get_message()

    desk = Desk(typed=True)
    desk.type(b"/close 4000 done\n")
    assert 0 == await status_of(talk, desk)

    assert "closed: 4000 done" == desk.notices[-1]


async def test_line_that_was_not_sent() -> None:
    """A conversation that lacks something is no success, however it ended."""

    async def talk(connection: WebSocketConnection) -> None:
        with pytest.raises(ConnectionClosed):
            await connection.get_message()

    desk = Desk(typed=True)
    desk.type(b"\xff\n")
    assert 1 == await status_of(talk, desk)

    assert "closed: 1000" == desk.notices[-1]


async def test_lost_connection() -> None:
    """An end without a close frame is no success."""

    async def talk(connection: WebSocketConnection) -> None:
        await connection._stream.aclose()

    desk = Desk()
    assert 1 == await status_of(talk, desk)

    assert "the connection was lost: 1006" == desk.notices[-1]


@pytest.mark.parametrize(
    ("frames", "ending"),
    [
        (b"\x8b\x00", "1002 "),
        (b"\xc1\x00", "1002 "),
        (b"\x81\x80\x00\x00\x00\x00", "1002 "),
        (b"\x81\x01\xff", "1007 "),
        (b"\x89\x7e\x00\x7e" + bytes(126), "1002 "),
        (b"\x88\x01\x00", "1002 "),
        (b"\x82\x7e\x04\x00" + bytes(1024), "1009 "),
        ((b"\x82\x7e\x04\x00" + bytes(1024)) * 3, "1009 "),
        (b"\x82\x7f\x7f" + bytes(7) + bytes(2000), "1009 "),
    ],
)
async def test_hostile_frames(frames: bytes, ending: str) -> None:
    """A peer that breaks the protocol ends the connection, and the user is told how."""

    async def talk(connection: WebSocketConnection) -> None:
        await connection._stream.send_all(frames)
        await connection._close_handshake.wait()

    desk = Desk()
    assert 1 == await status_of(talk, desk)

    assert desk.notices[-1].startswith(f"ended for a fault of the peer's: {ending}")


@pytest.mark.parametrize(
    ("ending", "line"),
    [
        (CloseInfo(1000, "", by_peer=True, clean=True), "closed by the peer: 1000"),
        (CloseInfo(1000, "bye", by_peer=False, clean=True), "closed: 1000 bye"),
        (
            CloseInfo(1000, "", by_peer=False, clean=False),
            "closed: 1000, but the peer has not answered",
        ),
        (CloseInfo(1006, "", by_peer=True, clean=False), "the connection was lost: 1006"),
        (
            CloseInfo(1002, "x", by_peer=True, clean=False),
            "ended for a fault of the peer's: 1002 x",
        ),
    ],
)
def test_description(ending: CloseInfo, line: str) -> None:
    """It says who ended it, and whether the other agreed."""
    assert line == describe(ending)


# How it begins


async def test_refused_handshake() -> None:
    """The answer is told on one line, and the status says that there was no connection."""
    desk = Desk()
    async with serving(refuse) as url:
        assert 3 == await connect(to(url), desk.terminal)

    expected = f"triows: cannot connect to {url}: the server answered 403 Forbidden: not\\nyou"
    assert [expected] == desk.notices


@pytest.mark.parametrize(("chosen", "told"), [(None, ""), ("v1", ", subprotocol v1")])
async def test_connected(chosen: str | None, told: str) -> None:
    """The URL and the subprotocol are told, and what is printed stands elsewhere."""

    async def handle(request: WebSocketRequest) -> None:
        connection = await request.accept(subprotocol=chosen)
        await connection.send_message("hi")

    desk = Desk()
    async with serving(handle) as url:
        assert 0 == await connect(to(url, Offer((), ["v1"])), desk.terminal)

    assert [f"connected to {url}{told}", "closed by the peer: 1000"] == desk.notices
    assert "hi\n" == desk.printed


async def test_ping() -> None:
    """The interval of the pings reaches the connection."""

    async def handle(request: WebSocketRequest) -> None:
        connection = await request.accept()
        await desk.wait_told("pong after ")
        await connection.aclose()

    desk = Desk()
    async with serving(handle) as url:
        assert 0 == await connect(replace(to(url), ping_interval=1000.0), desk.terminal)


# Ctrl-C


async def test_ctrl_c() -> None:
    """It closes the connection with 1000, and the status is that of an interrupt."""

    async def talk(connection: WebSocketConnection) -> None:
        await desk.wait_told("connected")
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(ConnectionClosed) as raised:
            await connection.get_message()
        codes.append(code_of(raised.value))

    codes: list[int] = []
    desk = Desk()
    assert 130 == await status_of(talk, desk)

    assert [1000] == codes
    assert "closed: 1000" == desk.notices[-1]


async def test_ctrl_c_while_connecting() -> None:
    """Before there is a connection there is nothing to close."""

    async def handle(_: WebSocketRequest) -> None:
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()

    desk = Desk()
    async with serving(handle) as url:
        assert 130 == await connect(to(url), desk.terminal)

    assert [] == desk.notices


async def test_ctrl_c_twice() -> None:
    """The second does not wait for a peer that does not answer the close frame."""

    async def serve(stream: trio.abc.Stream) -> None:
        await stream.send_all(accept(await read_head(stream)))
        await desk.wait_told("connected")
        signal.raise_signal(signal.SIGINT)
        # It is the close frame.
        await stream.receive_some()
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()

    desk = Desk()
    async with answering(serve) as url:
        assert 130 == await connect(to(url), desk.terminal)

    assert [f"connected to {url}"] == desk.notices


async def test_cancelling() -> None:
    """It can be cancelled like anything else."""

    async def talk(_: WebSocketConnection) -> None:
        await trio.sleep_forever()

    async def run_it() -> None:
        await status_of(talk, desk)

    desk = Desk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_it)
        await desk.wait_told("connected")
        nursery.cancel_scope.cancel()

    assert nursery.cancel_scope.cancelled_caught


# The command


def test_command(capfd: pytest.CaptureFixture[str]) -> None:
    """Arguments go in, and notices and a status come out."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}"

        assert 3 == run(url)

    captured = capfd.readouterr()
    assert "" == captured.out
    assert captured.err.startswith(f"triows: cannot connect to {url}: ")
    assert captured.err.endswith("Connection refused\n")


def test_file_without_certificates(capfd: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be used is a misuse."""
    assert 2 == run("--cafile", "/no/such/file", "wss://127.0.0.1")

    err = capfd.readouterr().err
    assert "triows: cannot use /no/such/file: No such file or directory\n" == err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help has every exit status and the commands of a terminal."""
    with pytest.raises(SystemExit) as leaving:
        run("--help")

    text = capsys.readouterr().out
    assert 0 == leaving.value.code
    for status in (0, 1, 2, 3, 130):
        assert f"\n  {status} " in text
    for command in ("/ping", "/close", "/binary"):
        assert command in text
