"""How a connection ends, row by row of DESIGN.md §2: what the client sees, and the log says.

Elsewhere: the drain in `test_shutdown`, a failing task of the app in `test_lifespan`. Not
here: pongs, which no ASGI server checks, and the outbox, which nothing public fills yet.
"""

import re
from pathlib import Path

import trio
from websockets.frames import Close, Frame, Opcode

from tests.e2e.clients import (
    Closed,
    Refused,
    connect,
    drain,
    encode,
    encode_close,
    open_socket,
    open_upgraded,
    reset_on_close,
    see,
    see_all,
    upgrade,
)
from tests.e2e.servers import POLL, Server, on_both_servers, on_every_server, serving

_ACCESS = re.compile(r'triows\.access: \S+ "WS (\S+)" (\d+) (\S+)')


def endings(server: Server) -> list[tuple[str, str, str]]:
    """Return the path, HTTP status and close code of each access line, sorted."""
    return sorted(_ACCESS.findall(server.log))


@on_every_server
async def test_endings_that_the_handler_chose(server: str) -> None:
    """What a handler returns or raises to end its connection is what the client sees."""
    chosen = {
        "/returns": (Closed(1000), "101", "1000"),
        "/returns_unaccepted": (Refused(403), "403", "-"),
        "/closes": (Closed(4404, "no such room: größer"), "101", "4404"),
        "/closes_unaccepted": (Closed(4403, "not you"), "101", "4403"),
        "/closes_and_goes_on": (Closed(4000, "done"), "101", "4000"),
        "/rejects": (Refused(401, "who?"), "401", "-"),
        "/looks_up": (Closed(4004, "not found: the key"), "101", "4004"),
        "/no/such/route": (Refused(404), "404", "-"),
    }
    async with serving("endings:app", server=server) as running:
        seen = await see_all(running, chosen)

    assert seen == {path: ending for path, (ending, _, _) in chosen.items()}
    assert endings(running) == sorted((path, *rest) for path, (_, *rest) in chosen.items())
    assert running.failures == []
    assert "Traceback" not in running.log


@on_every_server
async def test_a_rejection_arrives_whole(server: str) -> None:
    """A `Reject` is an ordinary HTTP response, headers and body, and the connection is closed."""
    async with (
        serving("endings:app", server=server) as running,
        open_socket(running) as stream,
    ):
        await stream.send_all(upgrade(running, "/rejects"))
        head, _, body = (await drain(stream)).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nwww-authenticate: Bearer" in head
    assert b"\r\ncontent-length: 4" in head
    assert b"\r\nconnection: close" in head
    assert body == b"who?"


@on_every_server
async def test_failures_of_the_handler(server: str) -> None:
    """A failure is HTTP 500 or close 1011, tells the client nothing, and is logged once."""
    failing = {
        "/fails_unaccepted": Refused(500, "Internal Server Error"),
        "/fails": Closed(1011),
        "/rejects_late": Closed(1011),
    }
    async with serving("endings:app", server=server) as running:
        seen = await see_all(running, failing)

    assert seen == failing
    assert len(running.failures) == 3
    assert running.log.count("RuntimeError: fails_unaccepted is broken") == 1
    assert running.log.count("RuntimeError: fails is broken") == 1
    assert running.log.count("AlreadyAccepted: cannot reject with HTTP 401") == 1


@on_every_server
async def test_a_handler_and_its_child_fail_together(server: str) -> None:
    """Both failures are logged, and there is one close frame, for the graver."""
    async with (
        serving("endings:app", server=server) as running,
        open_upgraded(running, "/both_fail") as stream,
    ):
        first = await stream.receive_some()
        await stream.send_all(encode_close(1011))
        rest = await drain(stream)

    assert first == Frame(Opcode.CLOSE, Close(1011, "").serialize()).serialize(mask=False)
    assert rest == b""
    assert len(running.failures) == 2
    assert running.log.count("RuntimeError: both_fail is broken") == 1
    assert running.log.count("RuntimeError: the child of both_fail is broken") == 1


@on_every_server
async def test_a_child_fails_while_its_handler_closes(server: str) -> None:
    """The child's failure is the connection's: 1011, whatever the handler asked for."""
    async with serving("endings:app", server=server) as running:
        seen = await see(running.ws("/child_fails"))

    assert seen == Closed(1011)
    assert len(running.failures) == 1
    assert running.log.count("RuntimeError: the child of child_fails is broken") == 1


@on_every_server
async def test_an_error_function_that_fails(server: str) -> None:
    """Both its failure and the one it was asked about are logged, and the client sees 1011."""
    async with serving("endings:app", server=server) as running:
        seen = await see(running.ws("/divides"))

    assert seen == Closed(1011)
    assert len(running.failures) == 2
    assert running.log.count("ZeroDivisionError: divides is broken") == 1
    assert running.log.count("RuntimeError: the error function is broken") == 1


@on_every_server
async def test_the_end_of_another_connection_is_a_failure(server: str) -> None:
    """A handler that lets another connection's `ConnectionClosed` pass has a bug: 1011."""
    async with serving("endings:app", server=server) as running:
        async with connect(running.ws("/departs")):
            pass
        await running.wait_for('"WS /departs" 101')
        seen = await see(running.ws("/talks_to_the_departed"))

    assert seen == Closed(1011)
    assert len(running.failures) == 1
    assert running.log.count("ConnectionClosed: the connection has ended") == 1


@on_every_server
async def test_a_client_that_leaves_is_no_error(server: str) -> None:
    """A client may close, drop or reset its connection at any time: that is one access line.

    The close code that the line tells is the server's knowledge: hypercorn says 1006
    whatever the peer sent (pgjones/hypercorn#127); anycorn and ours pass the peer's code on.
    """
    told = "1006" if server == "hypercorn" else "4001"
    expected: list[tuple[str, str, str]] = []

    async with serving("endings:app", server=server) as running:
        for path in ("/echo", "/collects", "/never_reads", "/pushes"):
            async with connect(running.ws(path)) as connection:
                await connection.aclose(4001, "bye")
            async with open_upgraded(running, path):
                pass
            async with open_upgraded(running, path) as stream:
                reset_on_close(stream)
            async with open_upgraded(running, path) as stream:
                await stream.send_eof()
                await drain(stream)
            expected += [(path, "101", "1006")] * 3 + [(path, "101", told)]
        while len(endings(running)) < len(expected):
            await trio.sleep(POLL)

    assert endings(running) == sorted(expected)
    assert running.failures == []
    assert "WARNING" not in running.log
    assert "Traceback" not in running.log


@on_every_server
async def test_a_client_that_leaves_before_accept(server: str) -> None:
    """A client that leaves before the handshake was answered is an access line with 499."""
    async with serving("endings:app", server=server) as running:
        async with open_socket(running) as stream:
            await stream.send_all(upgrade(running, "/takes_its_time"))
        await running.wait_for("triows.access")

    assert endings(running) == [("/takes_its_time", "499", "-")]
    assert running.failures == []


@on_both_servers
async def test_a_peer_that_breaks_the_protocol(server: str) -> None:
    """Its connection ends, and it is no error of ours.

    1002 or 1007 is what RFC 6455 asks for. hypercorn and anycorn read the frames
    themselves here, and cut the connection without a close frame: they answer a
    `CloseConnection` event of wsproto only if it stands for a close frame of the peer.
    hypercorn then tells the app 1006, so that we cannot warn; anycorn tells the code.
    """
    unmasked = encode(Opcode.TEXT, b"unmasked", is_masked=False)
    reserved_opcode = b"\x83\x80\x00\x00\x00\x00"
    bad_utf8 = encode(Opcode.TEXT, b"\xff\xfe")

    async with serving("endings:app", server=server) as running:
        for frame in (unmasked, reserved_opcode, bad_utf8):
            async with open_upgraded(running, "/echo") as stream:
                await stream.send_all(frame)
                assert await drain(stream) == b""
        while len(endings(running)) < 3:
            await trio.sleep(POLL)

    told = [code for _, _, code in endings(running)]
    assert told == (["1002", "1002", "1007"] if server == "anycorn" else ["1006"] * 3)
    assert running.failures == []
    assert "Traceback" not in running.log


@on_every_server
async def test_a_peer_whose_messages_are_not_as_agreed(server: str) -> None:
    """A message too big, malformed or of the wrong kind: its close code, and one warning."""
    async with serving("endings:app", server=server) as running:
        too_big = await see(running.ws("/echo"), "x" * 1001)
        no_json = await see(running.ws("/wants_json"), "{")
        no_text = await see(running.ws("/wants_text"), b"bytes")

    assert isinstance(too_big, Closed)
    assert isinstance(no_json, Closed)
    assert isinstance(no_text, Closed)
    assert (too_big.code, no_json.code, no_text.code) == (1009, 1007, 1003)
    assert running.log.count("WARNING triows.error") == 3
    assert running.failures == []
    assert "Traceback" not in running.log


@on_both_servers
async def test_a_message_too_big_for_the_server(server: str, tmp_path: Path) -> None:
    """A server with a smaller bound of its own closes with 1009 before we see the message."""
    config = tmp_path / "config.toml"
    config.write_text("websocket_max_message_size = 500")

    async with serving("endings:app", "--config", str(config), server=server) as running:
        seen = await see(running.ws("/echo"), "x" * 501)

    assert seen == Closed(1009)
    assert running.failures == []


@on_every_server
async def test_limits_of_time(server: str) -> None:
    """A connection that outlived a limit is closed with that limit's code; the log says why."""
    outlived = {
        "/idles": Closed(4408, "idle for 0.3 s"),
        "/grows_old": Closed(1001, "open for 0.3 s"),
        "/expires": Closed(4401, "expired"),
    }
    async with serving("endings:app", server=server) as running:
        seen = await see_all(running, outlived)

    assert seen == outlived
    assert running.log.count("INFO triows.error: handler") == 3
    assert "WARNING" not in running.log
    assert running.failures == []


@on_every_server
async def test_a_handler_that_never_accepts(server: str) -> None:
    """After `accept_timeout` the client gets HTTP 503, and the developer is told what to do."""
    async with serving("endings:app", server=server) as running:
        seen = await see(running.ws("/never_accepts"))

    assert seen == Refused(503)
    assert running.log.count("WARNING") == 1
    assert (
        "handler never_accepts has not accepted after 0.3 s: call await websocket.accept() first"
        in running.log
    )
    assert running.failures == []


@on_every_server
async def test_too_many_connections(server: str) -> None:
    """Beyond `max_connections` a handshake gets 503 with Retry-After, until one has left."""
    async with serving("endings:crowded", server=server) as running:
        async with connect(running.ws("/echo")), open_socket(running) as stream:
            await stream.send_all(upgrade(running, "/echo"))
            refused = await drain(stream)
        await running.wait_for('"WS /echo" 101')
        async with connect(running.ws("/echo")) as connection:
            await connection.send("my turn")

            assert await connection.recv() == "my turn"

    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 5" in refused.lower()
    assert running.log.count("WARNING") == 1
    assert "max_connections=1" in running.log


@on_every_server
async def test_a_handler_that_does_not_read(server: str) -> None:
    """An inbox that stays full for `stall_timeout` ends its connection: 1013, and a warning."""
    async with serving("endings:app", server=server) as running:
        seen = await see(running.ws("/never_reads"), *["unread"] * 20)

    assert seen == Closed(1013, "inbox unread for 0.5 s")
    assert running.log.count("WARNING") == 1
    assert "handler never_reads" in running.log
    assert running.failures == []


async def test_a_client_that_does_not_read() -> None:
    """A client that has not read for `send_timeout` loses its connection; a warning says so.

    On hypercorn only: anycorn too shields its writes from cancellation, and is not
    guarded, so there the connection stays until the client has gone.
    """
    async with (
        serving("endings:app") as running,
        open_upgraded(running, "/floods") as stream,
    ):
        await running.wait_for("triows.access")
        received = await drain(stream)

    assert b"\x88" not in received  # The opcode of a close frame; the messages are zeros.
    assert endings(running) == [("/floods", "101", "1006")]
    assert running.log.count("WARNING") == 1
    assert "peer has not read for 0.5 s" in running.log
    assert running.failures == []


@on_every_server
async def test_a_page_from_elsewhere(server: str) -> None:
    """A page of another origin gets 403, and the log names the setting; others are let in."""
    async with serving("endings:app", server=server) as running:
        url = running.ws("/returns")
        foreign = [
            await see(url, origin=origin)
            for origin in ("http://127.0.0.1:3000", "https://example.org", "null")
        ]
        own = await see(url, origin=f"http://127.0.0.1:{running.port}")
        no_page = await see(url)

    assert foreign == [Refused(403)] * 3
    assert (own, no_page) == (Closed(1000), Closed(1000))
    assert running.log.count("WARNING") == 3
    assert running.log.count("origins=") == 3
    assert "http://127.0.0.1:3000" in running.log
    assert running.failures == []


@on_every_server
async def test_a_plain_server_says_what_went_wrong(server: str) -> None:
    """Warnings and tracebacks reach stderr also where nobody has configured logging."""
    async with serving("unconfigured:app", server=server) as running:
        seen = await see(running.ws("/fails"))
        refused = await see(running.ws("/fails"), origin="https://example.org")

    assert seen == Closed(1011)
    assert refused == Refused(403)
    assert running.log.count("RuntimeError: fails is broken") == 1
    assert running.log.count("origins=") == 1
