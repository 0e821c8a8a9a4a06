"""Close codes and reasons: what may be sent, and how an ending is told (RFC 6455 §7.4)."""

from dataclasses import dataclass

MAX_REASON = 123
"""Bytes: a control frame carries at most 125, and the code takes two (RFC 6455 §5.5)."""

BY_PEER = "triows.by_peer"
"""In a `websocket.disconnect`: False where the server ended the connection; others do not say."""

NORMAL = 1000
GOING_AWAY = 1001
UNSUPPORTED_DATA = 1003
NO_STATUS = 1005
ABNORMAL = 1006
INVALID_DATA = 1007
TOO_BIG = 1009
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013
EXPIRED = 4401
IDLE = 4408

# 1004 is reserved; 1005, 1006 and 1015 must never appear in a frame; 1010 is the client's.
_SENDABLE = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014})


@dataclass(frozen=True, slots=True)
class CloseInfo:
    """How a connection ended, as far as it is known.

    Attributes:
        code: The close code (RFC 6455 §7.1.5). 1005 stands for a close frame
            without a code, 1006 for an end without a close frame.
        reason: The close reason, or "".
        by_peer: The peer ended it; False when this side did.
        clean: The closing handshake was completed. None where the server does
            not tell, as over every ASGI server.
    """

    code: int
    reason: str
    by_peer: bool
    clean: bool | None = None

    def __str__(self) -> str:
        who = "peer closed" if self.by_peer else "closed"
        return f"{who} {self.code} {self.reason!r}"


def check_code(code: int) -> int:
    """Return the close code if an endpoint may send it.

    Raises:
        ValueError: The code is reserved, unassigned or out of range.
    """
    if isinstance(code, int) and (code in _SENDABLE or 3000 <= code <= 4999):
        return int(code)
    raise ValueError(
        f"close code {code!r} cannot be sent: use one of "
        "1000-1003, 1007-1009, 1011-1014 or 3000-4999"
    )


def cut_reason(reason: str) -> str:
    """Return the reason, cut on a character to what a close frame can carry."""
    # A reason may be the text of an error about the peer's message: a lone surrogate in it
    # becomes "?", because a close that raises would be the worse answer.
    encoded = reason.encode(errors="replace")
    return encoded[:MAX_REASON].decode(errors="ignore")
