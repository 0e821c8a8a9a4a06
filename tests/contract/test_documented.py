"""The site documents what there is: each public name, error, limit, flag and exit status.

And nothing else: what it documents exists.
"""

import argparse
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

import triows
from tests.contract.test_public import DOORS, members
from triows import Limits, _errors
from triows.cli import _connect, _main, _new, _publish, _run, _statuses

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"

REACHED = {"triows._channels.ThreadChannels", "triows._urls.Urls"}
"""Classes that are not imported: `channels.from_thread` and `app.url` are of them."""

ONLY_MADE = {"triows.brokers.MemoryBroker", "triows.brokers.RedisBroker"}
"""Classes of which an application calls nothing but the constructor."""

_DIRECTIVE = re.compile(r"^\.\. auto\w+:: (triows\S+)\n((?:   :\S+:.*\n)*)", re.MULTILINE)

DOCUMENTED = [
    match
    for page in sorted(REFERENCE.glob("*.md"))
    for match in _DIRECTIVE.findall(page.read_text())
]


def page(name: str) -> str:
    """Return a page of the reference."""
    return (REFERENCE / f"{name}.md").read_text()


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the tables in a text, their heads included."""
    for line in text.splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.split("|")[1:-1]]


# Names


def test_each_public_name_is_documented_once() -> None:
    """The reference has every name that can be imported, and none that cannot."""
    public = [f"{door.__name__}.{name}" for door in DOORS for name in door.__all__]

    documented = [name for name, _ in DOCUMENTED if name != "triows._broker"]

    assert sorted([*public, *REACHED]) == sorted(documented)


def test_members_are_documented() -> None:
    """A class that has methods or properties is documented with them."""
    bare = {name for name, options in DOCUMENTED if ":members:" not in options}
    classes = {
        f"{door.__name__}.{name}"
        for door in DOORS
        for name in door.__all__
        if inspect.isclass(cls := getattr(door, name)) and list(members(cls))
    }

    assert bare & classes == ONLY_MADE


# Errors


def test_errors_are_drawn_as_in_the_code() -> None:
    """The tree of the page is that of the module, which another test compares with the classes."""
    drawing = page("errors").split("```text\n")[1].split("```")[0]

    assert drawing.strip() in (_errors.__doc__ or "")
    assert drawing.startswith("TriowsError\n├─")
    assert drawing.count("\n") == (_errors.__doc__ or "").strip().count("\n") - 1


def test_errors_have_one_page() -> None:
    """Whatever can be caught is on the page of the errors."""
    errors = {
        f"triows.{name}"
        for name in triows.__all__
        if inspect.isclass(cls := getattr(triows, name)) and issubclass(cls, BaseException)
    }

    assert errors == {name for name, _ in _DIRECTIVE.findall(page("errors"))}


# Limits


def unit_of(limit: str) -> str:
    """Return what the docstring of `Limits` counts a limit in."""
    found = re.search(rf"^ *{limit}: (\w+)", inspect.getdoc(Limits) or "", re.MULTILINE)
    assert found is not None, f"{limit} has no words of its own"
    return found[1].lower()


def written(value: float | None, unit: str) -> str:
    """Return a default as the table has it."""
    if value is None:
        return "none"
    if unit == "bytes":
        return f"{value / 1024**2:g} MiB"
    return f"{value:g}"


def test_limits() -> None:
    """The table has each limit with its default and its unit, in the order of the class."""
    limits = [limit.name for limit in fields(Limits) if limit.init]

    table = [row[:3] for row in rows(page("limits")) if len(row) == 5][1:]

    assert table == [
        [f"`{limit}`", written(getattr(Limits(), limit), unit_of(limit)), unit_of(limit)]
        for limit in limits
    ]


# The command line


def commands() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command."""
    (subparsers,) = (
        action
        for action in _main._parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return dict(subparsers.choices)


def sections() -> dict[str, str]:
    """Return what the page says of each command, by its name; of all of them, by ""."""
    first, *others = re.split(r"^## `triows (?=\w)", page("cli"), flags=re.MULTILINE)
    return {"": first} | {re.split(r"\W", text)[0]: text for text in others}


COMMANDS = sorted(commands())


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    """Return the flags that a command has, but for those that are for itself, and `--help`."""
    return {
        flag
        for action in parser._actions
        if action.help != argparse.SUPPRESS
        for flag in action.option_strings
    } - {"-h", "--help"}


def statuses_in(text: str) -> set[str]:
    """Return the exit statuses in the tables of a text."""
    return {cells[0] for cells in rows(text) if re.match(r"\d", cells[0])}


def test_each_command_is_documented() -> None:
    """A command has a section, and a section a command."""
    assert set(COMMANDS) == sections().keys() - {""}


@pytest.mark.parametrize("command", COMMANDS)
def test_flags(command: str) -> None:
    """The tables of a command's section have its flags, and no other."""
    cells = [row[0] for row in rows(sections()[command])]

    found = {flag for cell in cells for flag in re.findall(r"`(--?[a-zA-Z][\w-]*)", cell)}

    assert flags_of(commands()[command]) == found


def test_flags_of_the_program() -> None:
    """What can be said without a command is said before all of them."""
    found = set(re.findall(r"`triows (--\w+)`", sections()[""]))

    assert flags_of(_main._parser()) | {"--help"} == found


def test_arguments() -> None:
    """What has no dashes stands in a section's title, as the help has it."""
    for command, parser in commands().items():
        title = sections()[command].partition("`")[0].split()
        positional = [action for action in parser._actions if not action.option_strings]
        assert [action.metavar for action in positional] == title[1 : len(positional) + 1]


def test_exit_statuses() -> None:
    """Each status that the code names is in the table of its command, and no other."""
    own = {str(value) for value in vars(_statuses).values() if isinstance(value, int)}
    connect = (0, _connect.BROKEN, _connect.MISUSED, _connect.REFUSED, _connect.INTERRUPTED)
    new = (0, _statuses.MISUSED, _new.NOT_WRITTEN)
    publish = (0, _statuses.MISUSED, _publish.NO_BROKER)

    assert {name: statuses_in(text) for name, text in sections().items() if name != "routes"} == {
        "": {"0", str(_statuses.FAILED), str(_statuses.MISUSED)},
        "run": own - {str(_statuses.SIGNALLED)} | {"0", f"{_statuses.SIGNALLED} + n"},
        "connect": {str(status) for status in connect},
        "new": {str(status) for status in new},
        "publish": {str(status) for status in publish},
    }


@pytest.mark.parametrize(
    ("command", "epilog"), [("run", _run.EPILOG), ("connect", _connect.EPILOG)]
)
def test_exit_statuses_of_the_help(command: str, epilog: str) -> None:
    """The help of a command has the same statuses as its page."""
    told = re.findall(r"^  (\d+)", epilog, re.MULTILINE)

    assert {re.split(r"\D", status)[0] for status in statuses_in(sections()[command])} == set(told)
