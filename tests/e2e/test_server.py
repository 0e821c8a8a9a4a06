"""Our own server, as `triows run`: what hypercorn cannot do."""

import pytest
import trio
from websockets.frames import Opcode

from tests.e2e.clients import (
    drain,
    encode,
    encode_close,
    open_upgraded,
    reset_on_close,
)
from tests.e2e.servers import running

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (encode_close(1000), "1000 '' by peer: True clean: True"),
        (encode_close(1001), "1001 '' by peer: True clean: True"),
        (encode_close(3000, "bye"), "3000 'bye' by peer: True clean: True"),
        (encode_close(4999, "end"), "4999 'end' by peer: True clean: True"),
        (encode(Opcode.CLOSE, b""), "1005 '' by peer: True clean: True"),
        (b"", "1006 '' by peer: True clean: False"),
    ],
    ids=["1000", "1001", "3000", "4999", "empty", "none"],
)
async def test_the_end_that_a_handler_sees(sent: bytes, seen: str) -> None:
    """The close code, the reason, and whether it was clean, are what the client did."""
    async with running("ours:app") as server:
        async with open_upgraded(server, "/tells") as stream:
            if sent:
                await stream.send_all(sent)
                assert (await drain(stream))[:1] == b"\x88"  # a close frame
            else:
                reset_on_close(stream)
        await server.wait_for(f"ended: {seen}")

    assert server.failures == []


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (encode(Opcode.TEXT, b"unmasked", is_masked=False), 1002),
        (b"\x83\x80\x00\x00\x00\x00", 1002),
        (encode(Opcode.TEXT, b"\xff\xfe"), 1007),
        (encode(Opcode.TEXT, bytes(1024 * 1024 + 1)), 1009),
    ],
    ids=["unmasked", "opcode", "utf-8", "size"],
)
async def test_a_peer_that_breaks_the_protocol(frame: bytes, code: int) -> None:
    """It is told what RFC 6455 asks for, in a close frame, and one warning is logged."""
    async with running("ours:app") as server, open_upgraded(server, "/echo") as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, frame)
            received = await drain(stream)
        assert server.log.count("[WARNING]") == 1

    assert received[2:4] == code.to_bytes(2, "big")
    assert server.failures == []
