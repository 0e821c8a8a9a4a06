"""Tests of `triows.server._server_headers`."""

import itertools

import pytest

from triows._headers import RawHeaders
from triows.server._server_headers import ServerHeaders


def test_made_once_a_second() -> None:
    """What has a date in it is made when the second is another one, and not before."""
    seconds = iter([10.0, 10.1, 10.9, 11.0, 11.5])
    dates = itertools.count(1)

    def make() -> RawHeaders:
        return [(b"date", b"%d" % next(dates)), (b"server", b"triows")]

    headers = ServerHeaders(make, clock=lambda: next(seconds))

    assert [(b"date", b"1"), (b"server", b"triows")] == headers.raw
    assert b"date: 1\r\nserver: triows\r\n" == headers.lines
    assert b"date: 2\r\nserver: triows\r\n" == headers.lines
    assert [(b"date", b"2"), (b"server", b"triows")] == headers.raw


def test_none() -> None:
    """A config may ask for no header at all."""
    headers = ServerHeaders(list)

    assert ([], b"") == (headers.raw, headers.lines)


def test_malformed() -> None:
    """A header that cannot be written is refused at once, not with the first connection."""
    with pytest.raises(ValueError, match="has a control character"):
        ServerHeaders(lambda: [(b"server", b"tri\r\nows")])
