"""The options of `triows run`: for the user, and for the workers that are started with the same."""

import argparse
import sys
from collections.abc import Sequence
from socket import socket

from hypercorn.config import Sockets

from triows.cli._settings import LEVELS

PASSED_ON = ("config", "certfile", "keyfile", "drain_grace", "compression", "log_level")
"""Options with a value that mean the same to a worker."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what can be said beside the target."""
    _add_places(parser)
    _add_processes(parser)
    _add_logging(parser)


def command_of_worker(arguments: argparse.Namespace, sockets: Sockets) -> list[str]:
    """Return the command line of a worker that serves on these sockets."""
    command = [sys.executable, "-m", "triows", "run", arguments.target]
    secure, insecure = sockets.secure_sockets, sockets.insecure_sockets
    # Without a certificate all of them are what `--bind` means.
    command += _binds("--bind", secure or insecure)
    command += _binds("--insecure-bind", insecure if secure else [])
    for name in PASSED_ON:
        value = getattr(arguments, name)
        if value is not None:
            command.append(f"--{name.replace('_', '-')}={value}")
    if arguments.access_log is not None:
        command.append("--access-log" if arguments.access_log else "--no-access-log")
    return command


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-b",
        "--bind",
        metavar="ADDRESS",
        action="append",
        help="HOST:PORT, unix:PATH or fd://N to listen on; again for more; 127.0.0.1:8000 by "
        "default, and any free port for 0",
    )
    parser.add_argument("--insecure-bind", action="append", help=argparse.SUPPRESS)
    parser.add_argument("--certfile", metavar="FILE", help="the certificate, for TLS")
    parser.add_argument("--keyfile", metavar="FILE", help="the key of the certificate")
    parser.add_argument(
        "-c", "--config", metavar="FILE", help="a configuration of hypercorn's: a .toml or .py file"
    )
    parser.add_argument(
        "--compression",
        choices=["deflate"],
        help="compress messages, for clients that can (permessage-deflate); off by default",
    )


def _add_processes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-w", "--workers", metavar="N", type=_count, help="processes that serve; 1")
    parser.add_argument(
        "--reload", action="store_true", help="start again whenever a Python file changes"
    )
    parser.add_argument(
        "--drain-grace",
        metavar="SECONDS",
        type=float,
        help="what handlers have at the end, once their connections were closed; 10",
    )


def _add_logging(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log-level", choices=LEVELS, metavar="LEVEL", help=f"{', '.join(LEVELS)}; info"
    )
    parser.add_argument(
        "--access-log",
        action=argparse.BooleanOptionalAction,
        help="a line a connection, at the level info; on by default",
    )


def _binds(option: str, sockets: Sequence[socket]) -> list[str]:
    return [part for sock in sockets for part in (option, f"fd://{sock.fileno()}")]


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number
