"""One connection in one topic."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from triows._broker import Message, Position, is_after
from triows._channels._envelope import joined_frame, message_frame
from triows._close import NORMAL, TRY_AGAIN_LATER, CloseInfo
from triows._errors import ConnectionClosed, StateError
from triows._outbox import Lane, Outbox, Prepared
from triows._transport import Transport

POSITIONS = 16
"""Frames that may wait for a member to be told where it stands: one for each gap."""

HELD_BYTES = 1024 * 1024
"""Bytes of new messages that wait while a member is sent the older ones."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Where a member stands in a topic.

    Attributes:
        topic: The topic.
        position: The next message is the one after it; None in a topic without history.
        recovered: Nothing is missing since the position that was asked for. False if
            none was.
    """

    topic: str
    position: Position | None
    recovered: bool


class Owner(Protocol):
    """What a `WebSocket` is to topics."""

    @property
    def id(self) -> str:
        """A name that no other connection has, in any process."""


class Port:
    """A connection, as far as topics know it, and what it has joined.

    Args:
        owner: The connection's `WebSocket`.
        transport: Takes the messages.
        on_lagging: Called once with a close code and a reason when it is too slow for a topic that
            closes such members.

    Attributes:
        memberships: Those of topics that it is in.
        stale: Topics where the broker may have it present, and it is not.
        turn: Held by who tells the broker of its presence.
    """

    __slots__ = (
        "_on_lagging",
        "is_closed",
        "is_lagging",
        "memberships",
        "name",
        "owner",
        "stale",
        "transport",
        "turn",
    )

    def __init__(
        self, owner: Owner, transport: Transport, on_lagging: Callable[[int, str], None]
    ) -> None:
        self.owner: Owner = owner
        self.name: str = owner.id
        self.transport: Transport = transport
        self.memberships: dict[str, Membership] = {}
        self.stale: set[str] = set()
        self.turn: trio.Lock = trio.Lock()
        self.is_closed: bool = False
        self.is_lagging: bool = False
        self._on_lagging = on_lagging

    def refusal(self, topic: str) -> Exception:
        """Return why it cannot join a topic."""
        if self.is_closed:
            closed = self.transport.closed or CloseInfo(NORMAL, "", by_peer=False)
            return ConnectionClosed(closed, self.owner)
        return StateError(f"the connection has joined {topic!r} already: leave it first")

    def lag(self, topic: str) -> None:
        """Have the connection closed for being too slow; it gets nothing more."""
        if not self.is_lagging:
            self.is_lagging = True
            self._on_lagging(TRY_AGAIN_LATER, f"too slow for topic {topic!r}")


class Membership:
    """What a topic knows of one member.

    Attributes:
        is_enveloped: It gets JSON texts that say which topic and position they are of.
        is_present: It is among those who hear of presence.
        has_left: It has ended, and gets nothing any more.
        is_held: New messages wait until it has the older ones.
        floor: Messages up to this position it has, or does not want.
    """

    __slots__ = (
        "_gaps",
        "_held",
        "_lane",
        "_positions",
        "_send_nowait",
        "floor",
        "has_left",
        "is_enveloped",
        "is_held",
        "is_present",
        "port",
        "topic",
    )

    def __init__(self, port: Port, topic: str, lane: Lane, *, is_enveloped: bool) -> None:
        self.port: Port = port
        self.topic: str = topic
        self.is_enveloped: bool = is_enveloped
        self.is_present: bool = False
        self.has_left: bool = False
        self.is_held: bool = False
        self.floor: Position | None = None
        self._lane = lane
        # Never dropped: without them a client takes what follows for something else.
        self._positions = Lane("close", POSITIONS, lane.tally, lane)
        self._send_nowait = port.transport.send_nowait
        self._held: Outbox[Message] | None = None
        # While it is held: how many messages came before each, and where it goes on.
        self._gaps: list[tuple[int, Position | None]] = []

    def wants(self, position: Position | None) -> bool:
        """Return whether a message of this position is new to it."""
        if self.floor is None:
            return True
        if not is_after(position, self.floor):
            return False
        self.floor = None  # It has been passed, and positions only grow.
        return True

    def offer(self, prepared: Prepared) -> bool:
        """Send it a message, or queue it; return whether it gets it."""
        if self.port.is_lagging:
            self._lane.tally.dropped += 1
            return False
        try:
            is_taken = self._send_nowait(prepared, self._lane)
        except ConnectionClosed:
            return False  # It is about to leave.
        return is_taken or self._refuse()

    def _refuse(self) -> bool:
        if self._lane.overflow == "close":
            self.port.lag(self.topic)
        return False

    def tell_gap(self, position: Position | None) -> None:
        """Tell it where it goes on, if it speaks of that."""
        if self._held is not None:
            self._keep_gap(position, self._held)
        elif position is not None and not is_after(position, self.floor):
            # What was missed it has, or does not want.
            self.tell_presence_gap(position)
        elif not self._tell(position):
            self.port.lag(self.topic)

    def tell_presence_gap(self, position: Position) -> None:
        """Tell it, if it hears of presence, that it goes on, but may have missed some of that."""
        if self.is_present:
            place = self.floor if self.floor and is_after(self.floor, position) else position
            if not self._tell(place, recovered=True):
                self.port.lag(self.topic)

    def _tell(self, position: Position | None, *, recovered: bool = False) -> bool:
        if not self.is_enveloped or self.port.is_lagging:
            return True
        frame = joined_frame(self.topic, position, recovered=recovered)
        try:
            return self._send_nowait(Prepared(frame), self._positions)
        except ConnectionClosed:
            return True  # It is about to leave.

    def begin(self, position: Position | None) -> bool:
        """Have it begin with new messages, after a position; return whether it could be told."""
        self.floor = position
        return self._tell(position) or self._refuse()

    # While it is sent what it has missed

    def hold(self) -> None:
        """Let new messages wait until it has the older ones."""
        self._held = Outbox(HELD_BYTES)
        self.is_held = True

    def keep(self, message: Message) -> bool:
        """Let a message wait; return whether it will get it, as things stand."""
        assert self._held is not None, "what is kept waits for `release`"
        return self._held.put(message, self._lane) or self._refuse()

    def _keep_gap(self, position: Position | None, held: Outbox[Message]) -> None:
        if self._gaps and self._gaps[-1][0] == held.number:
            self._gaps.pop()  # There is nothing between the two.
        if len(self._gaps) < POSITIONS:
            self._gaps.append((held.number, position))
        else:
            self.port.lag(self.topic)

    async def send(self, message: Message) -> None:
        """Send it an older message, at the pace at which it reads."""
        if message.exclude != self.port.name:
            await self.port.transport.send(self._text_of(message))

    async def send_position(self, joined: Joined) -> None:
        """Tell it where it begins, if it speaks of that."""
        if self.is_enveloped and not self.has_left:
            frame = joined_frame(joined.topic, joined.position, recovered=joined.recovered)
            await self.port.transport.send(frame)

    def _text_of(self, message: Message) -> str | bytes:
        return message_frame(message) if self.is_enveloped else message.data

    def release(self) -> None:
        """Send what has waited; from now on nothing does."""
        held, self._held = self._held, None
        self.is_held = False
        assert held is not None, "it is released once"
        if self.has_left:
            return
        # All at once, or the lane would make room in one outbox with what waits in the other.
        before = [(_taken(held, number), position) for number, position in self._gaps]
        rest = _taken(held, held.number)
        for messages, position in before:
            self._offer_all(messages)
            self.tell_gap(position)
        self._offer_all(rest)

    def _offer_all(self, messages: list[Message]) -> None:
        for message in messages:
            if self.wants(message.position):
                is_ordered = self.is_enveloped and message.is_ordered
                self.offer(Prepared(self._text_of(message), message.key, is_ordered))


def _taken(held: Outbox[Message], number: int) -> list[Message]:
    """Take those out that are left of the first so many."""
    messages = []
    while held.holds(number):
        messages.append(held.take())
    return messages
