"""What the parts of one connection of our server all know: how it ended, and who is told."""

from collections.abc import Callable
from dataclasses import replace

from triows._close import ABNORMAL, CloseInfo
from triows._errors import ConnectionClosed, PeerError


class Line:
    """The state of a connection.

    Attributes:
        closed: How it ended; None while it is open.
        is_dead: The peer has shown no life: nothing more is to be expected of it.
        is_deaf: Nothing that the peer still sends is understood any more.
        is_gone: The socket is closed.
        fault: What the peer did wrong, if that is what ended it.
        owner: Whose connection it is: the `websocket` of its `ConnectionClosed`.
        on_peer_gone: Told when it ended and the handler had not asked for it.
        on_overrun: Told of a bound that was reached; whoever listens ends the connection.
        on_delivery: Told of every message that is received after the end.
    """

    __slots__ = (
        "closed",
        "fault",
        "is_dead",
        "is_deaf",
        "is_gone",
        "on_delivery",
        "on_overrun",
        "on_peer_gone",
        "owner",
    )

    def __init__(self) -> None:
        self.closed: CloseInfo | None = None
        self.is_dead = False
        self.is_deaf = False
        self.is_gone = False
        self.fault: PeerError | None = None
        self.owner: object = None
        self.on_peer_gone: Callable[[CloseInfo], None] = _ignore
        self.on_overrun: Callable[[int, str], None] = _ignore
        self.on_delivery: Callable[[], None] = _ignore

    def ended(self) -> ConnectionClosed:
        """Return the exception for whoever wants to go on; to be called after the end."""
        assert self.closed is not None, "it is asked for when `closed` was seen"
        return ConnectionClosed(self.closed, self.owner)

    def check_open(self) -> None:
        """Raise `ConnectionClosed` if it has ended."""
        if self.closed is not None:
            raise self.ended()

    @property
    def is_closed_here(self) -> bool:
        """This side has ended it: what the peer still says reaches nobody."""
        return self.closed is not None and not self.closed.by_peer

    def lose(self) -> bool:
        """Note that the peer left without a word; return whether that ended the connection."""
        if self.closed is None:
            self.closed = CloseInfo(ABNORMAL, "", by_peer=True, clean=False)
            return True
        if self.closed.clean is None:
            self.closed = replace(self.closed, clean=False)
        return False


def _ignore(*_: object) -> None:
    """Hear a callback before anybody has asked for it."""
