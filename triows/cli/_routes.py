"""`triows routes`: the table of an app's routes."""

import argparse
from collections.abc import Iterable, Sequence

from triows._pipes import Pipe
from triows._routes import Handler, Route
from triows.cli._targets import add_target, load_app

COLUMNS = ("PATH", "NAME", "HOST", "SCHEMES", "PIPES", "HANDLER")

GAP = "  "


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of the program."""
    summary = "print the table of an app's routes"
    parser = commands.add_parser(
        "routes",
        help=summary,
        description=f"{summary.capitalize()}, in the order in which they are tried.",
    )
    add_target(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table of the target's routes, and return the exit status."""
    app = load_app(arguments.target)
    for line in format_table([COLUMNS, *map(row_of, app.routes)]):
        print(line)
    return 0


def row_of(route: Route) -> tuple[str, ...]:
    """Return what the table says of a route."""
    return (
        route.template.text,
        route.name,
        route.hostname or "*",
        ", ".join(sorted(route.schemes)),
        ", ".join(map(_name_of_pipe, route.pipes)) or "-",
        _name_of_handler(route.handler),
    )


def format_table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return rows as lines whose columns are aligned."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _name_of_pipe(pipe: Pipe) -> str:
    name = type(pipe).__name__
    # A private class is not what the user wrote; its repr says what that was.
    return repr(pipe) if name.startswith("_") else name


def _name_of_handler(handler: Handler) -> str:
    # A functools.partial, for one, has no name of its own.
    name = getattr(handler, "__qualname__", None)
    return repr(handler) if name is None else f"{handler.__module__}.{name}"
