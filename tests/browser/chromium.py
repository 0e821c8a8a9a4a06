"""Debian's Chromium, without a screen, driven by its chromedriver (W3C WebDriver).

Both are started by their paths, and nothing is downloaded: the protocol is JSON over HTTP.
"""

import base64
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import httpx
import trio

PATIENCE = 15.0
"""Seconds for Chromium to start, and for whatever a page is waited for."""

POLL = 0.02
"""Seconds between two looks at a page."""

ENTER = "\ue007"
"""The key, as WebDriver writes it."""

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_STARTED = re.compile(r"started successfully on port (\d+)")

_FLAGS = (
    "--headless",
    "--no-sandbox",  # which a container does not give to root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--no-proxy-server",
    "--hide-scrollbars",
)


class Chromium:
    """A browser that runs.

    Args:
        http: To its WebDriver session.
        home: The window that it began with, which stays: others are opened from there.
    """

    def __init__(self, http: httpx.Client, home: str) -> None:
        self._http = http
        self._home = home

    async def ask(self, method: str, path: str, **body: Any) -> Any:
        """Send a WebDriver command, and return its value."""
        content = body if method == "POST" else None
        request = partial(self._http.request, method, path, json=content)
        answer = await trio.to_thread.run_sync(request)
        value = answer.json()["value"]
        assert answer.is_success, f"{method} {path}: {value['message']}"
        return value

    @asynccontextmanager
    async def page(self, url: str, width: int = 600, height: int = 620) -> AsyncGenerator["Page"]:
        """Open a page in a window of its own, and close it on leaving."""
        await self.ask("POST", "/window", handle=self._home)
        window = (await self.ask("POST", "/window/new", type="window"))["handle"]
        page = Page(self, window)
        try:
            await page.ask("POST", "/window/rect", width=width, height=height)
            await page.ask("POST", "/url", url=url)
            yield page
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + PATIENCE):
                await page.ask("DELETE", "/window")


class Page:
    """A page in a window. The browser does one thing at a time, for one task."""

    def __init__(self, browser: Chromium, window: str) -> None:
        self._browser = browser
        self._window = window

    async def ask(self, method: str, path: str, **body: Any) -> Any:
        """Send a command that is for this window."""
        await self._browser.ask("POST", "/window", handle=self._window)
        return await self._browser.ask(method, path, **body)

    async def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of an async function in the page, and return what it returns."""
        body = f"return (async (...args) => {{ {script} }})(...arguments)"
        return await self.ask("POST", "/execute/sync", script=body, args=arguments)

    async def type(self, selector: str, text: str) -> None:
        """Type into an element, key by key, and press Enter."""
        found = await self.ask("POST", "/element", using="css selector", value=selector)
        await self.ask("POST", f"/element/{found[_ELEMENT]}/value", text=text + ENTER)

    async def texts(self, selector: str) -> list[str]:
        """Return the texts of the elements that there are."""
        texts: list[str] = await self.run(
            "return [...document.querySelectorAll(args[0])].map((found) => found.textContent)",
            selector,
        )
        return texts

    async def wait_for(self, selector: str, *texts: str) -> None:
        """Wait until the elements have these texts, in their order."""
        seen: list[str] = []
        try:
            with trio.fail_after(PATIENCE):
                while (seen := await self.texts(selector)) != list(texts):
                    await trio.sleep(POLL)
        except trio.TooSlowError as exc:
            exc.add_note(f"the texts of {selector} are {seen}, not {list(texts)}")
            raise

    async def screenshot(self) -> bytes:
        """Return what the window shows, as a PNG."""
        return base64.b64decode(await self.ask("GET", "/screenshot"))


@contextmanager
def chromium() -> Generator[Chromium]:
    """Run a browser around a block, with a profile of its own."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    wanted = "these tests need Chromium (Debian: apt install chromium chromium-driver)"
    assert program, wanted
    assert driver, wanted
    with (
        tempfile.TemporaryDirectory(prefix="chromium", ignore_cleanup_errors=True) as profile,
        _driver(driver) as address,
        httpx.Client(base_url=address, timeout=PATIENCE, trust_env=False) as http,
    ):
        options = {"binary": program, "args": [*_FLAGS, f"--user-data-dir={profile}"]}
        wishes = {"browserName": "chrome", "goog:chromeOptions": options}
        answer = http.post("/session", json={"capabilities": {"alwaysMatch": wishes}})
        assert answer.is_success, answer.text
        session = f"{address}/session/{answer.json()['value']['sessionId']}"
        http.base_url = session
        try:
            yield Chromium(http, http.get("/window").json()["value"])
        finally:
            ended = http.delete(session)  # Without it the browser would outlive its driver.
            assert ended.is_success, ended.text


@contextmanager
def _driver(program: str) -> Generator[str]:
    process = subprocess.Popen([program, "--port=0"], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        try:
            lines = iter(process.stdout.readline, "")
            ports = (found[1] for line in lines if (found := _STARTED.search(line)))
            port = next(ports, None)
            assert port is not None, f"{program} did not start"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
