"""What may be said in the answer to a handshake (RFC 6455 §4.2.2)."""

from collections.abc import Callable, Sequence
from enum import Enum, auto

import trio

from triows._errors import AlreadyAccepted
from triows._headers import RawHeaders
from triows._turnstile import Turnstile


class Handshake(Enum):
    """How far the handshake is."""

    PENDING = auto()
    ANSWERING = auto()
    ACCEPTED = auto()


class Unanswered:
    """What is known and waited for until a handshake is accepted, and forgotten then.

    Attributes:
        preferred: The subprotocols of the route.
        hooks: Called before the accept, for headers that go out with it.
    """

    __slots__ = ("_answered", "_line", "hooks", "preferred")

    def __init__(self, preferred: Sequence[str]) -> None:
        self.preferred = preferred
        self.hooks: Sequence[Callable[[], RawHeaders]] = ()
        # Made when two tasks want the same, which they rarely do.
        self._answered: trio.lowlevel.ParkingLot | None = None
        self._line: Turnstile | None = None

    async def wait_answered(self) -> None:
        """Wait until the answer of another task has gone out, or has failed to."""
        if self._answered is None:
            self._answered = trio.lowlevel.ParkingLot()
        await self._answered.park()

    def wake(self) -> None:
        """Let those look again who wait for an answer."""
        if self._answered is not None:
            self._answered.unpark_all()

    @property
    def line(self) -> Turnstile:
        """The line of those whose first message has to wait for the accept."""
        if self._line is None:
            self._line = Turnstile()
        return self._line

    @property
    def has_line(self) -> bool:
        """Somebody is in that line."""
        return self._line is not None and self._line.is_taken


def choose_subprotocol(preferred: Sequence[str], offered: Sequence[str]) -> str | None:
    """Return the first of ours that the peer has offered, or None."""
    return next((name for name in preferred if name in offered), None)


def check_answer(
    subprotocol: str | None, headers: RawHeaders | None, offered: Sequence[str]
) -> None:
    """Refuse what a client would refuse, before anything reaches the wire.

    Raises:
        ValueError: The subprotocol was not offered, or is given as a header.
    """
    if subprotocol is not None and subprotocol not in offered:
        raise ValueError(
            f"subprotocol {subprotocol!r} was not offered by the peer "
            f"(offered: {', '.join(offered) or 'none'})"
        )
    if any(name == b"sec-websocket-protocol" for name, _ in headers or []):
        raise ValueError("the subprotocol is no header here: use accept(subprotocol=...)")


def check_same_answer(
    asked: tuple[str | None, RawHeaders | None], given: tuple[str | None, RawHeaders]
) -> None:
    """Refuse to answer again, otherwise than it was answered; what is None is not asked for.

    Raises:
        AlreadyAccepted: It was answered otherwise.
    """
    if any(wish not in (None, fact) for wish, fact in zip(asked, given, strict=True)):
        raise AlreadyAccepted(
            "cannot accept with other arguments: the handshake was accepted before, with "
            f"subprotocol {given[0]!r}; the first receive or send does so by itself"
        )
