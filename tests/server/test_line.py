"""What the parts of a connection all know: how it ended, and who is told."""

import pytest

from triows._close import CloseInfo
from triows._errors import ConnectionClosed
from triows.server._line import Line

LOST = CloseInfo(1006, "", by_peer=True, clean=False)

OURS = CloseInfo(1000, "", by_peer=False)

THEIRS = CloseInfo(4001, "bye", by_peer=True, clean=True)


def test_open() -> None:
    """A connection begins open, and with a peer of which everything is to be expected."""
    line = Line()

    assert line.closed is None
    assert not line.is_closed_here
    assert not any((line.is_dead, line.is_deaf, line.is_gone))


def test_nobody_listens_yet() -> None:
    """What is told before an app has the connection is heard by nobody, and no mistake."""
    line = Line()
    line.on_peer_gone(LOST)
    line.on_overrun(1013, "too slow")
    line.on_delivery()


def test_what_is_raised() -> None:
    """The exception says how it ended, and whose connection it was."""
    line = Line()
    line.owner = "the websocket"
    line.closed = THEIRS
    error = line.ended()

    assert isinstance(error, ConnectionClosed)
    assert (THEIRS, "the websocket") == (error.info, error.websocket)


def test_closed_here() -> None:
    """What the peer still says matters, unless this side has ended it."""
    line = Line()
    line.closed = OURS
    assert line.is_closed_here

    line.closed = THEIRS
    assert not line.is_closed_here


class TestLose:
    """The socket breaks, or the peer leaves without a word."""

    def test_an_open_connection(self) -> None:
        """That ends it: 1006, of which nothing was ever sent (RFC 6455 §7.1.5)."""
        line = Line()

        assert line.lose()
        assert LOST == line.closed

    def test_once(self) -> None:
        """It ends once."""
        line = Line()
        line.lose()

        assert not line.lose()
        assert LOST == line.closed

    def test_instead_of_an_answer(self) -> None:
        """A close of ours that the peer has not answered was not clean; its code stays ours."""
        line = Line()
        line.closed = OURS

        assert not line.lose()
        assert CloseInfo(1000, "", by_peer=False, clean=False) == line.closed

    def test_after_the_closing_handshake(self) -> None:
        """A connection that was closed by both stays clean: somebody has to close the socket."""
        line = Line()
        line.closed = THEIRS

        assert not line.lose()
        assert THEIRS == line.closed


def test_check_open() -> None:
    """It lets pass whoever asks before the end, and nobody after it."""
    line = Line()
    line.check_open()
    line.lose()

    with pytest.raises(ConnectionClosed) as caught:
        line.check_open()
    assert line.closed is caught.value.info
