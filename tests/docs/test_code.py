"""The code in README and docs is true: every Python block runs, and the tests in it pass."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

import triows.testing

ROOT = Path(__file__).parents[2]

PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent.name != "tutorial"),
]
"""What is read, in the repository and on the site; test_tutorial.py follows the tutorial."""


def run_code(page: Path) -> dict[str, Any]:
    """Run the Python blocks of a page, one after the other, and return what they defined."""
    sybil = Sybil([PythonCodeBlockParser()], path=str(page.parent), pattern=page.name)
    document = sybil.parse(page)
    document.namespace["__name__"] = page.stem
    for example in document.examples():
        example.evaluate()
    return document.namespace


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
async def test_code_runs(page: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Each block runs, and then each `test_` function that the page defined."""
    namespace = run_code(page)
    tests = [value for name, value in namespace.items() if name.startswith("test_")]
    for test in tests:
        if "triows_client" in inspect.signature(test).parameters:
            async with triows.testing.client(namespace["app"]) as client:
                await test(client, autojump_clock)
        else:
            await test()


def test_readme_has_two_commands() -> None:
    """A fresh machine needs exactly two: one serves an example, one passes the tests."""
    blocks = (ROOT / "README.md").read_text().split("```console\n")[1:]

    commands = [line for block in blocks for line in block.split("```")[0].splitlines()]

    serve, test = commands
    assert serve.endswith("hypercorn --worker-class trio examples.echo:app")
    assert test.endswith("nox")
