"""From a command line to a command, and from its errors to what the user reads.

Each command is a module with an `add_command`, which adds a parser with a default `run`: the
function that is called with the parsed arguments and returns the exit status. What keeps a
command from its work raises `CommandError`, and what fails in the user's own code `TargetFailed`.
"""

import argparse
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import version

from triows._errors import TriowsError
from triows.cli import _connect, _new, _publish, _routes, _run
from triows.cli._statuses import FAILED, MISUSED, SIGNALLED, CommandError
from triows.cli._targets import TargetFailed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments ask for, and return its exit status.

    Args:
        argv: Without the name of the program; those of the process by default.

    Raises:
        SystemExit: From argparse: the arguments are malformed, or `--help` was answered.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.version:
        print(f"triows {version('triows')}")
        return 0
    run: Callable[[argparse.Namespace], int] | None = arguments.run
    if run is None:
        parser.print_help(sys.stderr)
        return MISUSED
    try:
        return run(arguments)
    except CommandError as exc:
        print(f"triows: {exc}", file=sys.stderr)
        return exc.status
    except TargetFailed as exc:
        _print_failure(exc.failure)
        return FAILED
    except KeyboardInterrupt:
        # As a shell reports it; the user knows why, and needs no traceback of ours.
        return SIGNALLED + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("triows", description="The WebSocket framework for Trio.")
    parser.add_argument("--version", action="store_true", help="print the version, and exit")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _new.add_command(commands)
    _run.add_command(commands)
    _connect.add_command(commands)
    _publish.add_command(commands)
    _routes.add_command(commands)
    return parser


def _print_failure(failure: Exception) -> None:
    # The cause of a RouteError is our plumbing; that of anything else is the user's.
    traceback.print_exception(failure, chain=not isinstance(failure, TriowsError))
