"""Small modules, small functions, and nothing left for later without a number."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "triows"
FILES = sorted(ROOT.rglob("*.py"))

MODULE = 400
"""Lines; a module aims for 150 to 250."""

FUNCTION = 60
"""Lines, docstring included; a function aims for less than ten."""

each_file = pytest.mark.parametrize(
    "path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix()
)


@each_file
def test_module_is_small(path: Path) -> None:
    """A module that no longer fits into a head is split."""
    length = len(path.read_text().splitlines())

    assert length <= MODULE


@each_file
def test_functions_are_small(path: Path) -> None:
    """A function does one thing, and that can be seen at once."""
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= FUNCTION
    }

    assert {} == long


@each_file
def test_nothing_is_left_without_a_number(path: Path) -> None:
    """What is left to do is an issue, and its number stands beside the note."""
    notes = re.findall(r"\b(?:TODO|FIXME|XXX)\b.*", path.read_text())

    assert [] == [note for note in notes if not re.search(r"#\d+", note)]
