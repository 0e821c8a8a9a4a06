"""examples/whiteboard, as people see it."""

import json
from contextlib import AbstractAsyncContextManager

from tests.browser.chromium import Chromium, Page
from tests.e2e.clients import connect
from tests.e2e.servers import ROOT, Server, ending_within, serving

DOT = json.dumps({"type": "line", "colour": "#c9382c", "width": 50, "points": [[800, 450]]})
"""What a client draws in the middle of the board."""

NO_NAME = "closed: a board's name has 1 to 30 letters, digits, - and _"

MIDDLE = """
    const board = document.getElementById("board");
    const isDrawn = () => board.getContext("2d").getImageData(800, 450, 1, 1).data[3] > 0;
"""
"""Look whether there is anything in the middle, for the scripts that follow."""

STROKE = """
    board.setPointerCapture = () => {};
    const { left, top, width, height } = board.getBoundingClientRect();
    const middle = { clientX: left + width / 2, clientY: top + height / 2 };
    for (const type of ["pointerdown", "pointerup"]) {
      board.dispatchEvent(new PointerEvent(type, { button: 0, ...middle }));
    }
"""
"""Draw there with a pen, which is as wide as it gets."""


def drawing(bind: str = "127.0.0.1:0") -> AbstractAsyncContextManager[Server]:
    """Serve the whiteboard."""
    options = ending_within("triows", 1)
    app = "examples.whiteboard.app:app"
    return serving(app, *options, server="triows", folder=ROOT, bind=bind)


async def wait_drawn(page: Page, *, is_drawn: bool) -> None:
    """Wait until there is something in the middle of a page's board, or nothing any more."""
    look = "while (isDrawn() !== args[0]) await new Promise((wake) => setTimeout(wake, 20));"
    await page.run(MIDDLE + look, is_drawn)


async def test_all_see_the_same(browser: Chromium) -> None:
    """A page shows what the board has, in its order, whatever was drawn on it meanwhile."""
    async with drawing() as running, browser.page(running.http("/")) as page:
        await page.run("Math.random = () => 0.05")
        await page.wait_for("#state", "board “first”")
        async with connect(running.ws("/boards/first")) as bob:
            await bob.send(DOT)
            await wait_drawn(page, is_drawn=True)

            # A line may be on its way that comes before it: so a wipe is seen once it comes back.
            wipe = "document.getElementById('wipe').click(); return isDrawn()"
            assert await page.run(MIDDLE + wipe)
            await wait_drawn(page, is_drawn=False)

            # Bob's wipe overtakes what is drawn here, which is still seen by all.
            hold = """
                const { send } = WebSocket.prototype;
                window.held = [];
                WebSocket.prototype.send = function (data) {
                  held.push(() => send.call(this, data));
                };
            """
            assert await page.run(hold + MIDDLE + STROKE + "return isDrawn()")
            await bob.send('{"type": "wipe"}')
            await wait_drawn(page, is_drawn=False)
            await page.run("for (const send of held) send()")
            await wait_drawn(page, is_drawn=True)

        # What a server that has ended remembered is gone with it.
        await running.stop()
        await page.wait_for("#state", "connecting again")
        async with drawing(bind=f"127.0.0.1:{running.port}"):
            await page.wait_for("#state", "board “first”")
            await wait_drawn(page, is_drawn=False)
    assert running.failures == []


async def test_names_that_are_none(browser: Chromium) -> None:
    """The page says so, and does not try again."""
    names = ("100%", "%00", "a/b", "x" * 31)
    async with drawing() as running:
        for name in names:
            async with browser.page(running.http(f"/#{name}")) as page:
                await page.wait_for("#state", NO_NAME)
    assert running.failures == []
    assert len(names) == running.log.count('"WS /boards/')
