"""Examples that are served by `triows run`, as their first lines say."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx

from tests.e2e.servers import ROOT, TriowsServer, running


@asynccontextmanager
async def example(name: str) -> AsyncGenerator[TriowsServer]:
    """Serve an example around a block, by the command in its docstring; nothing may fail there.

    The environment that the command may begin with is the caller's to set.
    """
    path = ROOT / "examples" / name
    command = r"^    (?:\w+=\S+ )?triows run (\S+:app)$"
    found = re.search(command, path.read_text(), re.MULTILINE)
    assert found is not None, f"{path} does not say how it is run"
    async with running(found[1], folder=ROOT) as server:
        yield server
    assert [] == server.failures


async def page_of(server: TriowsServer) -> str:
    """Return the page of an example, with its style and its script."""
    async with httpx.AsyncClient() as http:
        files = [await http.get(server.http(f"/{name}")) for name in ("", "page.css", "page.js")]
    assert [200] * 3 == [file.status_code for file in files]
    assert 'href="page.css"' in files[0].text
    assert 'src="page.js"' in files[0].text
    return "".join(file.text for file in files)
