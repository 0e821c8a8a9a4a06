"""What the app is told of the end of a connection on our server: what the client sent."""

import re

import pytest
import trio
from websockets.frames import Opcode

from tests.e2e.clients import drain, encode, encode_close, open_upgraded, reset_on_close
from tests.e2e.servers import Server, running

pytestmark = pytest.mark.timeout(60)

RESET = b"RST"

MESSAGES = encode(Opcode.TEXT, b"hi") * 500

FAREWELLS = {
    "1000": (encode_close(1000), 1000, "", True),
    "1001": (encode_close(1001, "going"), 1001, "going", True),
    "3000": (encode_close(3000), 3000, "", True),
    "4999": (encode_close(4999, "größer, 猫"), 4999, "größer, 猫", True),
    "longest": (encode_close(4000, "x" * 123), 4000, "x" * 123, True),
    "no-code": (encode(Opcode.CLOSE, b""), 1005, "", True),
    "behind-messages": (MESSAGES + encode_close(4001, "bye"), 4001, "bye", True),
    "fin": (b"", 1006, "", False),
    "fin-within-a-frame": (encode(Opcode.TEXT, b"half")[:-2], 1006, "", False),
    "fin-within-a-close": (encode_close(1000)[:-1], 1006, "", False),
    "rst": (RESET, 1006, "", False),
}
"""What a client says at the end; then code, reason and cleanness."""


async def leave(server: Server, path: str) -> None:
    """Have one client after the other leave, each in its way."""
    for name, (farewell, *_) in FAREWELLS.items():
        async with open_upgraded(server, f"{path}?n={name}") as stream:
            if farewell == RESET:
                reset_on_close(stream)
                continue
            await stream.send_all(farewell)
            await stream.send_eof()
            await drain(stream)


def told(server: Server, who: str) -> dict[str, str]:
    """Return what a handler was told of each of them."""
    return dict(re.findall(rf"app: {who} (\S+): (.*)", server.log))


async def test_a_handler_of_ours() -> None:
    """It knows code and reason, who ended it, and whether the closing handshake was completed."""
    async with running("closings:app") as server:
        await leave(server, "/receives")
        await server.wait_for("triows.access", len(FAREWELLS))

    assert told(server, "receives") == {
        name: f"{code} {reason!r} by_peer=True clean={clean}"
        for name, (_, code, reason, clean) in FAREWELLS.items()
    }
    codes = re.findall(r'"WS /receives" 101 (\d+)', server.log)
    assert codes == [str(code) for _, code, _, _ in FAREWELLS.values()]
    assert server.failures == []
    assert "WARNING" not in server.log


@pytest.mark.parametrize("target", ["page", "mounted"])
async def test_starlette(target: str) -> None:
    """Its `websocket.disconnect` has the code and the reason; clients that vanish have 1006."""
    async with running(f"closings:{target}") as server:
        await leave(server, "/loops")
        await leave(server, "/endpoint")
        while len(told(server, "endpoint")) < len(FAREWELLS):
            await trio.sleep(0.01)

    assert told(server, "loops") == {
        name: f"{code} {reason!r}" for name, (_, code, reason, _) in FAREWELLS.items()
    }
    assert told(server, "endpoint") == {
        name: str(code) for name, (_, code, _, _) in FAREWELLS.items()
    }
    assert server.failures == []
    assert "Traceback" not in server.log


async def test_ours_within_starlette() -> None:
    """Behind it, too, a handler of ours is told what the client sent."""
    async with running("closings:mounted") as server:
        await leave(server, "/ours/receives")
        await server.wait_for('"WS /ours/receives" 101', len(FAREWELLS))

    codes = {name: line.split(" by_peer")[0] for name, line in told(server, "receives").items()}
    assert codes == {name: f"{code} {reason!r}" for name, (_, code, reason, _) in FAREWELLS.items()}
    assert server.failures == []
