"""What JavaScript sees of connections."""

from tests.browser.chromium import Chromium, Page
from tests.browser.servers import APPS, on_both_servers
from tests.e2e.servers import Server, ending_within, serving

SEE = """
    const socket = new WebSocket(args[0]);
    const opened = new Promise((resolve) => (socket.onopen = resolve));
    const closed = new Promise((resolve) => {
      socket.onclose = ({ code, reason, wasClean }) => resolve([code, reason, wasClean]);
    });
"""
"""A connection to a URL, for the scripts that follow."""

ECHO = """
    const digest = async (data) => {
      const bytes = await new Blob([data]).arrayBuffer();
      return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).join();
    };
    const samples = ["", "größer, 猫, 🐈", "x".repeat(1 << 20), new ArrayBuffer(0)];
    for (const size of [1, 126, 65_536, 1 << 20]) {
      samples.push(Uint8Array.from({ length: size }, (_, i) => (i * 31) % 251).buffer);
    }
    socket.binaryType = "arraybuffer";
    await opened;
    const same = [];
    for (const sample of samples) {
      const answer = new Promise((resolve) => (socket.onmessage = resolve));
      socket.send(sample);
      const { data } = await answer;
      same.push(typeof data === typeof sample && (await digest(data)) === (await digest(sample)));
    }
    socket.close();
    return [same, await closed];
"""


@on_both_servers
async def test_sockets(browser: Chromium, server: str) -> None:
    """Messages come back as they went, and JavaScript sees the code of whatever was accepted."""
    # One server for all, for its start is what takes the time; and a page of its origin, a 404.
    async with (
        serving("sockets:app", *ending_within(server, 1), server=server, folder=APPS) as running,
        browser.page(running.http("/")) as page,
    ):
        await echo(page, running)
        assert running.failures == []
        await be_closed(page, running)
        await run_until_the_end(page, running)


async def echo(page: Page, running: Server) -> None:
    """Send text and binary, empty or of 1 MiB; and let JavaScript close, without a code."""
    same, ending = await page.run(SEE + ECHO, running.ws("/echo"))
    assert [True] * 8 == same
    assert [1005, "", True] == ending


async def be_closed(page: Page, running: Server) -> None:
    """Be closed by handlers, and refused, which is 1006 whatever the reason."""
    paths = ("returns", "fails", "closes_unaccepted", "rejects", "nowhere")
    seen = {
        path: await page.run(SEE + "return await closed", running.ws(f"/{path}")) for path in paths
    }
    assert {
        "returns": [1000, "", True],
        "fails": [1011, "", True],
        "closes_unaccepted": [4404, "no such room: größer", True],
        "rejects": [1006, "", False],
        "nowhere": [1006, "", False],
    } == seen


async def run_until_the_end(page: Page, running: Server) -> None:
    """Be there when the server ends, which is 1001."""
    await page.run(SEE + "window.ending = closed; await opened", running.ws("/echo"))
    await running.stop()
    code, *_ = await page.run("return await window.ending")
    assert 1001 == code
