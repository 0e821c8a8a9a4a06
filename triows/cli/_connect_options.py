"""What `triows connect` can be asked for."""

import argparse
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from triows._headers import is_token
from triows.cli._address import Address, Offer, parse_header, parse_url

T = TypeVar("T")

MAX_SIZE = 16 * 1024 * 1024
"""Bytes of the longest message and line, unless the user says otherwise."""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for; the parser says what each means."""

    address: Address
    offer: Offer
    tls: ssl.SSLContext | None
    timeout: float
    max_size: int
    wait: float
    ping_interval: float | None


def options_of(arguments: argparse.Namespace, tls: ssl.SSLContext | None) -> Options:
    """Return the options that the parsed arguments stand for."""
    return Options(
        arguments.url,
        Offer(arguments.headers, arguments.subprotocols),
        tls,
        arguments.timeout,
        arguments.max_size,
        arguments.wait,
        arguments.ping,
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the URL and the options."""
    parser.add_argument("url", metavar="URL", type=_typed(parse_url), help="ws:// or wss://")
    _add_handshake(parser)
    _add_conversation(parser)


def make_tls(cafile: str | None, *, insecure: bool) -> ssl.SSLContext:
    """Return how a server is checked: by the system's certificates, by a file's, or not at all.

    Raises:
        OSError: The file cannot be read, or has no certificate in it.
    """
    context = ssl.create_default_context(cafile=cafile)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def parse_subprotocol(text: str) -> str:
    """Return the name of a subprotocol.

    Raises:
        ValueError: It is no token.
    """
    if not is_token(text):
        raise ValueError(f"subprotocol {text!r} is not a token (RFC 6455 §4.1)")
    return text


def parse_seconds(text: str) -> float:
    """Return a number of seconds, `inf` included.

    Raises:
        ValueError: It is no number, or negative.
    """
    seconds = float(text)
    if not seconds >= 0:
        raise ValueError(f"{text} is no number of seconds")
    return seconds


def parse_interval(text: str) -> float:
    """Like `parse_seconds`, but for what must take a while."""
    seconds = parse_seconds(text)
    if not seconds:
        raise ValueError("it has to be more than 0")
    return seconds


def parse_size(text: str) -> int:
    """Return a number of bytes.

    Raises:
        ValueError: It is no whole number, or less than 1.
    """
    size = int(text)
    if size < 1:
        raise ValueError("it has to be at least 1")
    return size


def _typed(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Let the parser say what was wrong; of a ValueError it would not."""

    def parse_argument(text: str) -> T:
        try:
            return parse(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc

    return parse_argument


def _add_handshake(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the handshake")
    group.add_argument(
        "-H",
        "--header",
        dest="headers",
        metavar="'NAME: VALUE'",
        type=_typed(parse_header),
        action="append",
        default=[],
        help="send a header; repeatable",
    )
    group.add_argument(
        "--origin",
        dest="headers",
        metavar="URL",
        type=_typed(lambda url: parse_header(f"Origin: {url}")),
        action="append",
        help="send the header Origin, as a browser does from a page of that site",
    )
    group.add_argument(
        "-s",
        "--subprotocol",
        dest="subprotocols",
        metavar="NAME",
        type=_typed(parse_subprotocol),
        action="append",
        default=[],
        help="offer a subprotocol; repeatable, the preferred one first",
    )
    trust = group.add_mutually_exclusive_group()
    trust.add_argument("--cafile", metavar="FILE", help="trust the certificates in FILE only")
    trust.add_argument("--insecure", action="store_true", help="do not check the certificate")
    group.add_argument(
        "--timeout",
        metavar="S",
        type=_typed(parse_interval),
        default=10.0,
        help="seconds until the handshake must be complete (default: 10)",
    )


def _add_conversation(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the conversation")
    layout = group.add_mutually_exclusive_group()
    layout.add_argument(
        "--json",
        dest="pretty",
        action="store_true",
        default=None,
        help="lay out text that is JSON, also if the output is no terminal",
    )
    layout.add_argument(
        "--raw", dest="pretty", action="store_false", help="do not lay out JSON on a terminal"
    )
    group.add_argument(
        "--max-size",
        metavar="BYTES",
        type=_typed(parse_size),
        default=MAX_SIZE,
        help="of the longest message and line; a longer message ends the connection with 1009 "
        "(default: 16 MiB)",
    )
    group.add_argument(
        "--ping",
        metavar="S",
        type=_typed(parse_interval),
        help="send a ping every so many seconds, and print the round-trip time to stderr",
    )
    group.add_argument(
        "--wait",
        metavar="S",
        type=_typed(parse_seconds),
        default=1.0,
        help="seconds of the peer's silence after which the end of an input that is no terminal "
        "closes the connection (default: 1; inf: never)",
    )
