"""How a connection ends: the rules, apart from everything that waits.

Each exception that left a handler or one of its tasks is judged by itself; of all that
occurred the gravest decides what the peer sees, in the order of `Rank`.
"""

import logging
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from triows._close import INTERNAL_ERROR, TRY_AGAIN_LATER
from triows._errors import AlreadyAccepted, Close, ConnectionClosed, PeerError, Reject

UNAVAILABLE = 503
FIRST_PRIVATE = 3000
"""The close codes from here on mean what applications agree on (RFC 6455 §7.4.2)."""

Ending: TypeAlias = Close | Reject
"""What the peer is told: a close frame or an HTTP response."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a connection is ended by neither its handler nor its peer.

    Attributes:
        ending: What the peer is told, if it can be reached.
        reason: For the cancellation and the log.
        level: Of the log line; NOTSET for none, where one line speaks for many.
        message: For the log, what the handler did, where that says more than the reason.
    """

    ending: Ending
    reason: str
    level: int = logging.INFO
    message: str = ""


class Rank(IntEnum):
    """Which of several endings of one connection the peer sees: the lowest."""

    ERROR = 0
    PEER = 1
    STOP = 2
    REJECT = 3
    CLOSE = 4
    RETURN = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one exception, or one return, means for the connection.

    Attributes:
        rank: How grave it is.
        ending: What the peer is to be told.
        cause: The exception it is about, if it is one to be logged.
    """

    rank: Rank
    ending: Ending
    cause: Exception | None = None


def judge_return(*, is_accepted: bool) -> Verdict:
    """Judge a handler that returned, or let its own connection's end pass."""
    return Verdict(Rank.RETURN, Close() if is_accepted else Reject(403))


def judge_stop(ending: Ending, *, is_accepted: bool) -> Verdict:
    """Judge a connection that a limit or the server ended.

    A limit of the handshake and the accept may cross: each gets what still fits. Codes of
    our own, as for a token that has expired, have no HTTP status: they are told after an accept.
    """
    if isinstance(ending, Close) and not is_accepted and ending.code < FIRST_PRIVATE:
        ending = Reject(503)
    return Verdict(Rank.STOP, fit(ending, is_accepted=is_accepted))


def fit(ending: Ending, *, is_accepted: bool) -> Ending:
    """Return the ending as it can be told: an HTTP response only before accept."""
    if isinstance(ending, Reject) and is_accepted:
        return Close(TRY_AGAIN_LATER if ending.status == UNAVAILABLE else INTERNAL_ERROR)
    return ending


def judge(exc: Exception, websocket: object, *, is_accepted: bool) -> Verdict:
    """Judge one exception that left the handler of `websocket`, or one of its tasks."""
    if isinstance(exc, Reject):
        return _judge_reject(exc, is_accepted=is_accepted)
    if isinstance(exc, Close):
        return Verdict(Rank.CLOSE, exc)
    if isinstance(exc, ConnectionClosed) and exc.websocket is websocket:
        return judge_return(is_accepted=is_accepted)
    if isinstance(exc, PeerError):
        ending = Close(exc.code, str(exc)) if is_accepted else Reject(400, str(exc))
        return Verdict(Rank.PEER, ending, exc)
    return Verdict(Rank.ERROR, _internal_error(is_accepted=is_accepted), exc)


def _judge_reject(exc: Reject, *, is_accepted: bool) -> Verdict:
    if not is_accepted:
        return Verdict(Rank.REJECT, exc)
    too_late = AlreadyAccepted(
        f"cannot {exc}: the handshake was accepted before, perhaps by a first receive or send; "
        "raise Reject earlier, or Close instead"
    )
    too_late.__cause__ = exc
    return Verdict(Rank.ERROR, _internal_error(is_accepted=True), too_late)


def _internal_error(*, is_accepted: bool) -> Ending:
    # No text: it would tell the peer about the inside.
    return Close(INTERNAL_ERROR) if is_accepted else Reject(500, "Internal Server Error")
