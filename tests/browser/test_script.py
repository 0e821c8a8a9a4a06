"""triows.js, in a browser, with sockets and a clock that do as they are told."""

import re
from pathlib import Path

import triows
from tests.browser.chromium import Chromium
from tests.browser.servers import APPS
from tests.e2e.servers import ending_within, serving

SCRIPT = Path(triows.__file__).parent / "static" / "triows.js"
TESTS = APPS.parent / "static" / "connection.js"

RUN = """
    const { run } = await import("/tests/connection.js");
    return await run(await import("/triows/triows.js"));
"""


def failures(results: dict[str, str]) -> dict[str, str]:
    """Return what is wrong; and expect that all tests have run."""
    names = re.findall(r'^  (?:async )?"(.+)"\(', TESTS.read_text(), re.MULTILINE)
    assert set(names) == results.keys()
    return {name: failure for name, failure in results.items() if failure}


async def test_in_chromium(browser: Chromium) -> None:
    """The script does what its tests say, each in words of its own."""
    options = ending_within("triows", 1)
    async with (
        serving("script:app", *options, server="triows", folder=APPS) as running,
        browser.page(running.http("/")) as page,
    ):
        results = await page.run(RUN)

    assert {} == failures(results)


def test_is_small() -> None:
    """It can be read in one go: less than 200 lines, none too long."""
    lines = SCRIPT.read_text().splitlines()

    assert len(lines) < 200
    assert max(map(len, lines)) <= 100
