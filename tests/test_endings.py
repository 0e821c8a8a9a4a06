"""How a connection ends: the rules."""

import logging
from dataclasses import FrozenInstanceError

import pytest

from triows._close import CloseInfo
from triows._endings import Ending, Rank, Stop, fit, judge, judge_return, judge_stop
from triows._errors import (
    AlreadyAccepted,
    Close,
    ConnectionClosed,
    InvalidMessage,
    MessageTooBig,
    PeerError,
    ProtocolViolation,
    Reject,
    StateError,
)

WEBSOCKET = object()
GONE = CloseInfo(1001, "", by_peer=True)


def told(ending: Ending) -> tuple[type, int]:
    """Return how the peer is told, and the code or status."""
    return type(ending), ending.code if isinstance(ending, Close) else ending.status


@pytest.mark.parametrize(
    ("is_accepted", "expected"), [(True, (Close, 1000)), (False, (Reject, 403))]
)
def test_return(is_accepted: bool, expected: tuple[type, int]) -> None:
    """A handler that returns has closed normally, or refused if it never accepted."""
    verdict = judge_return(is_accepted=is_accepted)

    assert (Rank.RETURN, expected, None) == (verdict.rank, told(verdict.ending), verdict.cause)


@pytest.mark.parametrize(
    ("ending", "is_accepted", "expected"),
    [
        (Close(1001), True, (Close, 1001)),
        (Close(1001), False, (Reject, 503)),
        (Close(4401), True, (Close, 4401)),
        (Close(4401), False, (Close, 4401)),
        (Reject(503), False, (Reject, 503)),
        (Reject(503), True, (Close, 1013)),
    ],
)
def test_stop(ending: Ending, is_accepted: bool, expected: tuple[type, int]) -> None:
    """A limit tells the peer what still fits: HTTP before accept, a close frame after it."""
    verdict = judge_stop(ending, is_accepted=is_accepted)

    assert (Rank.STOP, expected, None) == (verdict.rank, told(verdict.ending), verdict.cause)


@pytest.mark.parametrize("is_accepted", [True, False])
def test_close(is_accepted: bool) -> None:
    """`raise Close` is the ending itself, also before accept, and is not logged."""
    close = Close(4404, "no such room")

    verdict = judge(close, WEBSOCKET, is_accepted=is_accepted)

    assert (Rank.CLOSE, close, None) == (verdict.rank, verdict.ending, verdict.cause)


def test_reject() -> None:
    """`raise Reject` before accept is the ending itself, and is not logged."""
    reject = Reject(401)

    verdict = judge(reject, WEBSOCKET, is_accepted=False)

    assert (Rank.REJECT, reject, None) == (verdict.rank, verdict.ending, verdict.cause)


def test_reject_after_accept() -> None:
    """`raise Reject` after accept is a bug: the peer gets 1011, the log where it came from."""
    reject = Reject(401)

    verdict = judge(reject, WEBSOCKET, is_accepted=True)

    assert (Rank.ERROR, (Close, 1011)) == (verdict.rank, told(verdict.ending))
    assert isinstance(verdict.cause, AlreadyAccepted)
    assert reject is verdict.cause.__cause__
    assert str(verdict.cause).startswith("cannot reject with HTTP 401: the handshake was accepted")


@pytest.mark.parametrize(
    ("is_accepted", "expected"), [(True, (Close, 1000)), (False, (Reject, 403))]
)
def test_own_end(is_accepted: bool, expected: tuple[type, int]) -> None:
    """A handler that lets the end of its own connection pass has just returned."""
    verdict = judge(ConnectionClosed(GONE, WEBSOCKET), WEBSOCKET, is_accepted=is_accepted)

    assert (Rank.RETURN, expected, None) == (verdict.rank, told(verdict.ending), verdict.cause)


@pytest.mark.parametrize("other", [object(), None])
def test_end_of_another_connection(other: object) -> None:
    """The end of another connection, uncaught, is a bug of this handler."""
    closed = ConnectionClosed(GONE, other)

    verdict = judge(closed, WEBSOCKET, is_accepted=True)

    assert (Rank.ERROR, closed) == (verdict.rank, verdict.cause)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (PeerError("no"), 1008),
        (ProtocolViolation("no"), 1002),
        (InvalidMessage("no"), 1007),
        (InvalidMessage("no", 1003), 1003),
        (MessageTooBig("no"), 1009),
    ],
)
def test_fault_of_the_peer(fault: PeerError, code: int) -> None:
    """A fault of the peer is answered with its code and told why; before accept it is HTTP 400."""
    verdict = judge(fault, WEBSOCKET, is_accepted=True)
    early = judge(fault, WEBSOCKET, is_accepted=False)

    assert (Rank.PEER, fault) == (verdict.rank, verdict.cause)
    assert isinstance(verdict.ending, Close)
    assert (code, "no") == (verdict.ending.code, verdict.ending.reason)
    assert isinstance(early.ending, Reject)
    assert (400, b"no") == (early.ending.status, early.ending.body)


@pytest.mark.parametrize("is_accepted", [True, False])
def test_fault_that_quotes_the_peer(is_accepted: bool) -> None:
    """What the peer wrote may be in the message of its fault, and judging it cannot fail."""
    fault = InvalidMessage("\ud800\r\n\0" + "ü" * 1000)

    verdict = judge(fault, WEBSOCKET, is_accepted=is_accepted)

    assert (Rank.PEER, fault) == (verdict.rank, verdict.cause)


@pytest.mark.parametrize("exc", [ValueError("secret"), StateError("secret"), TimeoutError()])
@pytest.mark.parametrize(
    ("is_accepted", "expected"), [(True, (Close, 1011)), (False, (Reject, 500))]
)
def test_error(exc: Exception, is_accepted: bool, expected: tuple[type, int]) -> None:
    """Anything else is an error to be logged, and the peer learns nothing of the inside."""
    verdict = judge(exc, WEBSOCKET, is_accepted=is_accepted)

    assert (Rank.ERROR, expected, exc) == (verdict.rank, told(verdict.ending), verdict.cause)
    assert "secret" not in repr(verdict.ending)


def test_gravest_is_seen() -> None:
    """Of several endings the peer sees an error before its own fault, and a return last."""
    endings = [
        judge_return(is_accepted=True),
        judge(Close(), WEBSOCKET, is_accepted=True),
        judge(Reject(), WEBSOCKET, is_accepted=False),
        judge_stop(Close(1001), is_accepted=True),
        judge(InvalidMessage("no"), WEBSOCKET, is_accepted=True),
        judge(ValueError(), WEBSOCKET, is_accepted=True),
    ]

    assert sorted(endings, key=lambda verdict: verdict.rank) == endings[::-1]


def test_stop_is_worth_a_line() -> None:
    """A connection that a limit ends is an INFO line unless said otherwise, and cannot change."""
    stop = Stop(Close(4408), "idle for 60 s")

    assert logging.INFO == stop.level
    with pytest.raises(FrozenInstanceError):
        stop.reason = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("ending", "is_accepted", "expected"),
    [
        (Close(4000), True, (Close, 4000)),
        (Close(4000), False, (Close, 4000)),
        (Reject(500), False, (Reject, 500)),
        (Reject(500), True, (Close, 1011)),
        (Reject(503), True, (Close, 1013)),
    ],
)
def test_an_ending_that_no_longer_fits(
    ending: Ending, is_accepted: bool, expected: tuple[type, int]
) -> None:
    """What was meant as an HTTP response is a close frame once the handshake was accepted."""
    assert expected == told(fit(ending, is_accepted=is_accepted))
