"""The code in README and docs is true: every Python block runs, and the tests in it pass."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent.name != "tutorial"),
]
"""What is read, in the repository and on the site; test_tutorial.py follows the tutorial."""

CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)

SETTINGS = re.compile(r"^```ini\n(.*?)^```", re.MULTILINE | re.DOTALL)


def code_of(page: Path) -> str:
    """Return the Python blocks of a page as one module, each on the lines that it has there."""
    text = page.read_text()
    lines = ["\n"] * text.count("\n")
    for block in CODE.finditer(text):
        first = text.count("\n", 0, block.start(1))
        block_lines = block[1].splitlines(keepends=True)
        lines[first : first + len(block_lines)] = block_lines
    return "".join(lines)


def write(folder: Path, page: Path) -> Path:
    """Write the code of a page into a file that pytest finds tests in."""
    name = "_".join(page.relative_to(ROOT).with_suffix("").parts).replace(".", "_")
    file = folder / f"test_{name}.py"
    file.write_text(code_of(page))
    return file


@pytest.fixture
def users_folder(tmp_path: Path) -> Path:
    """A folder of a user, who has set pytest up as the docs say, and has nothing of ours in it."""
    (settings,) = SETTINGS.findall((ROOT / "docs/how-to/testing.md").read_text())
    (tmp_path / "pytest.ini").write_text(settings)
    return tmp_path


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder, with warnings as errors; no test may really wait for long."""
    strictly = ["--tb=short", "-W", "error", "-o", "timeout=10"]
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *strictly]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_code_runs(users_folder: Path) -> None:
    """The blocks of each page run, and then its tests, with no fixture that users do not have."""
    files = [write(users_folder, page) for page in PAGES]
    with_tests = [file.name for file in files if "\nasync def test_" in file.read_text()]

    done = run(users_folder)

    assert done.returncode == 0, done.stdout
    assert {name for name in with_tests if f"{name}::" not in done.stdout} == set()


def test_fixtures_of_nobody_are_found(users_folder: Path) -> None:
    """A test of a page that asks for what only our own tests have does not pass."""
    (users_folder / "test_page.py").write_text("async def test_it(clock):\n    pass\n")

    done = run(users_folder)

    assert done.returncode == 1
    assert "fixture 'clock' not found" in done.stdout


def test_readme_has_two_commands() -> None:
    """A fresh machine needs exactly two: one serves an example, one passes the tests."""
    blocks = (ROOT / "README.md").read_text().split("```console\n")[1:]

    commands = [line for block in blocks for line in block.split("```")[0].splitlines()]

    serve, test = commands
    assert serve.endswith("hypercorn --worker-class trio examples.echo:app")
    assert test.endswith("nox")
