"""examples/chat, as people see it."""

import base64
import json
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tests.brokers.redis_server import RedisServer, redis_server
from tests.browser.chromium import Chromium, Page
from tests.browser.servers import on_both_servers
from tests.e2e.clients import connect
from tests.e2e.servers import ROOT, Server, ending_within, serving
from triows import App
from triows.brokers import RedisBroker

OUTPUT = ROOT / "build" / "browser"
"""Where pictures are left to be looked at; docs/images/chat.png is one of them."""

LOST = "Some messages are missing here."


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> Generator[RedisServer]:
    """A Redis, and the chat on it."""
    with redis_server() as server:
        monkeypatch.setenv("REDIS_URL", server.url)
        yield server


def chatting(server: str, bind: str = "127.0.0.1:0") -> AbstractAsyncContextManager[Server]:
    """Serve the chat, and let it not wait long for connections that a browser keeps for later."""
    options = ending_within(server, 1)
    return serving("examples.chat:app", *options, server=server, folder=ROOT, bind=bind)


@asynccontextmanager
async def visitor(browser: Chromium, running: Server, name: str) -> AsyncGenerator[Page]:
    """Open the chat, and say a name; what is random there is short, for it is waited for."""
    async with browser.page(running.http("/")) as page:
        await page.run("Math.random = () => 0.05")
        await page.type("#name", name)
        await page.wait_for("#state", "connected")
        yield page


@on_both_servers
async def test_two_pages(browser: Chromium, server: str) -> None:
    """Two who chat see each other, come and go, and find what was said when they come again."""
    async with chatting(server) as running, visitor(browser, running, "Ada") as ada:
        await ada.wait_for("#here li", "AAda")
        async with visitor(browser, running, "Bob") as bob:
            for page in (ada, bob):
                await page.wait_for("#here li", "AAda", "BBob")
            await ada.type("#text", "Shall we meet in the garden?")
            await bob.wait_for("#log q", "Shall we meet in the garden?")
            await bob.type("#text", "<b>Yes</b>")
            await ada.wait_for("#log q", "Shall we meet in the garden?", "<b>Yes</b>")

            await bob.run("location.hash = '#garden'")

            await ada.wait_for("#here li", "AAda")
            await ada.wait_for("#rooms a", "garden1", "kitchen", "lobby1")
            await bob.wait_for("#here li", "BBob")
            await bob.wait_for("#log q")
        await ada.wait_for("#rooms a", "garden", "kitchen", "lobby1")
        await ada.run("location.reload()")
        await ada.wait_for("#log q", "Shall we meet in the garden?", "<b>Yes</b>")
        await ada.wait_for("#here li", "AAda")
    assert running.failures == []


@on_both_servers
async def test_restart(browser: Chromium, redis: RedisServer, server: str) -> None:
    """Pages come back to a server that was started again, and have missed nothing."""
    await redis.wait_started()
    async with chatting(server) as first, visitor(browser, first, "Ada") as ada:
        await ada.type("#text", "before")
        async with visitor(browser, first, "Bob") as bob:
            await bob.wait_for("#log q", "before")
            await first.stop()
            for page in (ada, bob):
                await page.wait_for("#state", "coming back")
            await ada.type("#text", "while it was away")
            await ada.wait_for("#state", "coming back, 1 to send")
            await publish(redis, "from elsewhere")

            async with chatting(server, bind=f"127.0.0.1:{first.port}"):
                for page in (ada, bob):
                    await page.wait_for("#state", "connected")
                    await page.wait_for("#log q", "before", "from elsewhere", "while it was away")
                    await page.wait_for("#here li", "AAda", "BBob")
                    await page.wait_for(".note")


async def publish(redis: RedisServer, text: str) -> None:
    """Say something in the lobby, from another process of the app."""
    app = App(__name__, broker=RedisBroker(redis.url))
    app.channels.configure("room:*", history=100)
    async with app.running():
        said = {"name": "Eve", "text": text, "at": 0}
        await app.channels.publish_json("room:lobby", said)


async def test_restart_that_forgets(browser: Chromium) -> None:
    """Pages say that something is missing when the memory was that of the process."""
    async with chatting("triows") as first, visitor(browser, first, "Ada") as ada:
        await ada.type("#text", "before")
        await ada.wait_for("#log q", "before")
        await first.stop()
        async with chatting("triows", bind=f"127.0.0.1:{first.port}"):
            await ada.wait_for(".note", LOST)
            await ada.type("#text", "after")
            await ada.wait_for("#log q", "before", "after")


async def test_long_talk(browser: Chromium) -> None:
    """A page keeps the last lines, and shows whole characters of a name."""
    async with chatting("triows") as running, browser.page(running.http("/")) as page:
        await page.run("who.querySelector('input').value = args[0]; who.close()", "🐈 Cat")
        await page.wait_for("#here li", "🐈🐈 Cat")
        async with connect(running.ws("/rooms/lobby?name=bob")) as bob:
            for number in range(320):
                await bob.send(json.dumps({"say": str(number)}))
                await bob.recv()
            await page.wait_for("#log q", *map(str, range(20, 320)))
            await bob.recv()  # or it could not be closed: the first one was that it has joined
        await page.type("#text", "hello")
        await page.wait_for("#log .mine .avatar", "🐈")


SIDE_BY_SIDE = """
    document.body.innerHTML = `<style>
      body { display: flex; gap: 24px; margin: 0; padding: 24px; background: #cfd4e4; }
      img { width: 600px; border-radius: 10px; box-shadow: 0 2px 6px #1d213044; }
    </style>`;
    for (const data of args) {
      const img = new Image();
      img.src = `data:image/png;base64,${data}`;
      await img.decode();
      document.body.append(img);
    }
"""
"""A page that shows two pictures."""


async def test_picture(browser: Chromium) -> None:
    """Two who chat, as README and documentation show them; the picture is kept."""
    async with (
        chatting("triows") as running,
        visitor(browser, running, "Ada") as ada,
        visitor(browser, running, "Grace") as grace,
    ):
        talk = (
            (ada, "Is anybody here?"),
            (grace, "I am. I restarted the server a minute ago, did you notice?"),
            (ada, "No. The page came back by itself, and nothing was missing."),
            (grace, "Then I shall do it more often."),
        )
        for number, (page, text) in enumerate(talk, 1):
            await page.type("#text", text)
            for other in (ada, grace):
                await other.wait_for("#log q", *(said for _, said in talk[:number]))
        pictures = [await page.screenshot() for page in (ada, grace)]
        encoded = [base64.b64encode(picture).decode() for picture in pictures]
        async with browser.page("about:blank", width=1272, height=670) as page:
            await page.run(SIDE_BY_SIDE, *encoded)
            both = await page.screenshot()

    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "chat.png").write_bytes(both)
    assert 10_000 < len(both) < 150_000
