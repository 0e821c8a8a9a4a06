"""The page of the tutorial's chat."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from tests.browser.chromium import Chromium
from tests.docs.test_tutorial import write
from tests.e2e.servers import Server, ending_within, serving


def chatting(folder: Path, bind: str = "127.0.0.1:0") -> AbstractAsyncContextManager[Server]:
    """Serve what the tutorial has written into a folder."""
    options = ending_within("triows", 1)
    return serving("chat.py", *options, server="triows", folder=folder, bind=bind)


async def test_impatience(browser: Chromium, tmp_path: Path) -> None:
    """Who comes in is in once: it is too late to try again, though nobody answers."""
    write(tmp_path, "echo", "rooms", "test", "chat")
    async with chatting(tmp_path) as first, browser.page(first.http("/")) as page:
        await first.stop()
        await page.run("Math.random = () => 0.05; door.user.value = 'ann'")
        for room in ("a/b", "..", ""):  # None of them has a path of a room.
            submit = "door.room.value = args[0]; door.requestSubmit(); return door.hidden"
            assert not await page.run(submit, room)
        await page.run("door.room.value = 'blue'")
        assert await page.run("door.requestSubmit(); return door.hidden && say.hidden")
        async with chatting(tmp_path, f"127.0.0.1:{first.port}") as again:
            await page.wait_for("#members", "ann")
            await page.type("[name=text]", "hello")
            await page.wait_for("#log li", "ann: hello")

            # A name that is too long ends it, and the door is open for another one.
            await page.run("door.user.value = 'x'.repeat(21); socket.close()")
            await page.wait_for("#log li", "ann: hello", "a name has 1 to 20 characters")
            assert await page.run("return !door.hidden && say.hidden")
        assert again.failures == []
