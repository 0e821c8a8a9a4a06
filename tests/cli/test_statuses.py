"""The exit statuses: one meaning each, and a line in the help and in the docs."""

import re
from pathlib import Path

import pytest

from triows.cli import _statuses
from triows.cli._run import EPILOG
from triows.cli._statuses import SIGNALLED, CommandError

ROOT = Path(__file__).parents[2]

STATUSES = {value for value in vars(_statuses).values() if isinstance(value, int)} - {SIGNALLED}


def test_error_of_a_command() -> None:
    """Unless it says otherwise, the command line was wrong."""
    assert (2, "no") == (CommandError("no").status, str(CommandError("no")))
    assert 3 == CommandError("no", 3).status


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (EPILOG, r"^  (\d+)(?:\+)? "),
        (
            (ROOT / "docs" / "reference" / "cli.md")
            .read_text()
            .split("## `triows run")[1]
            .split("\n## ")[0],
            r"^\| (\d+)(?: \+ .*)? \|",
        ),
    ],
    ids=["help", "docs"],
)
def test_each_is_explained(text: str, line: str) -> None:
    """Where the statuses are listed, all of them are, and no others."""
    listed = [int(number) for number in re.findall(line, text, re.MULTILINE)]

    assert [0, *sorted(STATUSES), SIGNALLED] == listed
