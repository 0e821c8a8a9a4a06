"""The options of `triows run`, and how workers get them."""

import argparse
import socket
import sys

import pytest
from hypercorn.config import Sockets

from triows.cli._options import add_options, command_of_worker


def parse(*options: str) -> argparse.Namespace:
    """Return the options as the command gets them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    add_options(parser)
    return parser.parse_args(["shop:app", *options])


def command_of(arguments: argparse.Namespace, secure: int = 0, insecure: int = 0) -> list[str]:
    """Return a worker's command for so many sockets, whose numbers are replaced by N."""
    sockets = Sockets([], [], [])
    try:
        sockets.secure_sockets += [socket.socket() for _ in range(secure)]
        sockets.insecure_sockets += [socket.socket() for _ in range(insecure)]
        return [
            "fd://N" if "fd://" in part else part for part in command_of_worker(arguments, sockets)
        ]
    finally:
        for sock in (*sockets.secure_sockets, *sockets.insecure_sockets):
            sock.close()


def test_nothing_is_asked_for() -> None:
    """Without options nothing is set: the configuration file or the defaults decide."""
    arguments = parse()

    assert {None, False} >= {value for name, value in vars(arguments).items() if name != "target"}


def test_several_addresses() -> None:
    """Each is an option of its own."""
    assert ["a:1", "unix:b"] == parse("--bind", "a:1", "-b", "unix:b").bind


@pytest.mark.parametrize(
    "options",
    [
        ("--workers", "0"),
        ("-w", "two"),
        ("--drain-grace", "soon"),
        ("--compression", "zip"),
        ("--log-level", "loud"),
    ],
)
def test_what_is_no_value(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused, by the name of the option."""
    with pytest.raises(SystemExit) as leaving:
        parse(*options)

    assert 2 == leaving.value.code
    assert options[0] in capsys.readouterr().err


def test_command_of_a_worker() -> None:
    """It serves the same target, on sockets that are open already, and has no workers itself."""
    arguments = parse("--bind", "127.0.0.1:80", "--workers", "3")

    run = [sys.executable, "-m", "triows", "run", "shop:app"]
    assert [*run, "--bind", "fd://N", "--bind", "fd://N"] == command_of(arguments, insecure=2)


def test_command_of_a_worker_with_certificate() -> None:
    """It is told which of the sockets are without TLS."""
    command = command_of(parse(), secure=1, insecure=1)

    assert ["--bind", "fd://N", "--insecure-bind", "fd://N"] == command[5:]


def test_options_of_a_worker() -> None:
    """What concerns the serving itself is passed on as it was given."""
    options = [
        "--config=shop.toml",
        "--certfile=a",
        "--keyfile=b",
        "--drain-grace=2.5",
        "--compression=deflate",
        "--log-level=debug",
        "--access-log",
    ]

    command = command_of(parse(*options, "--reload"), insecure=1)

    assert options == command[7:]
    assert ["--no-access-log"] == command_of(parse("--no-access-log"), insecure=1)[7:]
