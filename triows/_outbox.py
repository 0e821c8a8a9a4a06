"""What waits for a peer that reads slowly: whole messages, in order, with a bound.

Nothing is kept for a peer that reads as fast as we write; its outbox is never made. For others
a message waits here until the wire takes it. One that belongs to a subscription has a lane, and
when there is no room the lane's policy says who has to go. So nobody's backlog is dropped for
somebody else's.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

from triows._types import Data

Overflow: TypeAlias = Literal["close", "drop_oldest", "drop_newest", "latest"]
"""What happens to a subscriber that is too slow: it is closed, or messages are dropped."""

OVERFLOWS: tuple[Overflow, ...] = ("close", "drop_oldest", "drop_newest", "latest")

OVERHEAD = 64
"""Bytes that a message costs beside its own. Without it empty ones would be free."""


class Item(Protocol):
    """What can wait in an outbox."""

    @property
    def key(self) -> str | None:
        """What it is about: of a lane with the policy `"latest"`, one item a key waits."""

    @property
    def size(self) -> int:
        """Bytes that it takes."""

    @property
    def is_ordered(self) -> bool:
        """It tells its position: nobody may see it before an older one that waits."""


ItemT = TypeVar("ItemT", bound=Item)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message encoded once, to be sent to many.

    Attributes:
        message: The message.
        key: What it is about: of a lane with the policy `"latest"`, one message a key waits.
        is_ordered: It tells its position, and never takes the place of an older one.
        size: Its length in bytes, which is what outboxes count.
        frame: The message as it goes over the wire, once a transport has made it.
    """

    message: Data
    key: str | None = None
    is_ordered: bool = False
    size: int = field(init=False)
    frame: bytes | None = field(init=False, default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", size_of(self.message))

    def keep_frame(self, frame: bytes) -> bytes:
        """Keep the frame for the transports that come after the first, and return it."""
        object.__setattr__(self, "frame", frame)
        return frame


def size_of(message: Data) -> int:
    """Return how many bytes the message is on the wire, before deflate."""
    if isinstance(message, bytes) or message.isascii():
        return len(message)
    return len(message.encode())


@dataclass(slots=True)
class Tally:
    """Counts the messages that are dropped, of as many lanes as have it."""

    dropped: int = 0
    _told: int = 0

    @property
    def has_news(self) -> bool:
        """Some were dropped since `take_news` was last asked."""
        return self.dropped != self._told

    def take_news(self) -> int:
        """Return how many were dropped since this was last asked."""
        news = self.dropped - self._told
        self._told = self.dropped
        return news


class Lane:
    """What waits of one subscription, oldest first.

    Args:
        overflow: Who has to go when there is no room. With `"close"` nobody: the new
            message is not taken, and whoever owns the connection closes it.
        capacity: Messages that may wait.
        tally: Counts each that does not get through.
        before: Another lane, whose policy makes room for messages of this one; they
            themselves are never dropped.
    """

    __slots__ = ("before", "capacity", "entries", "of_key", "overflow", "tally")

    def __init__(
        self, overflow: Overflow, capacity: int, tally: Tally, before: "Lane | None" = None
    ) -> None:
        self.overflow: Overflow = overflow
        self.before: Lane | None = before
        self.capacity: int = capacity
        self.tally: Tally = tally
        self.entries: OrderedDict[Entry[Any], None] = OrderedDict()
        self.of_key: dict[str | None, Entry[Any]] = {}

    def next_to_go(self) -> "Entry[Any] | None":
        """Return which message makes room for another one of this lane, if one may."""
        before = self.before
        if before is None:
            is_kept = self.overflow in ("close", "drop_newest")
            return None if is_kept else next(iter(self.entries), None)
        if len(self.entries) >= self.capacity or before.overflow == "close":
            return None
        in_turn = reversed if before.overflow == "drop_newest" else iter
        return next(in_turn(before.entries), None)


@dataclass(slots=True, eq=False)
class Entry(Generic[ItemT]):
    """An item that waits.

    Attributes:
        item: None once it was dropped.
        number: How many had been put before it, and itself.
    """

    item: ItemT | None
    number: int
    lane: Lane | None


class Outbox(Generic[ItemT]):
    """The messages that wait for one peer.

    Args:
        bound: Bytes that may wait, `OVERHEAD` for each message included. A message
            alone may pass it, or one that is larger would never get through.

    Attributes:
        number: Messages put so far, to tell those before a moment from those after.
        count: Messages that wait.
    """

    __slots__ = ("_bound", "_entries", "_size", "count", "number")

    def __init__(self, bound: int) -> None:
        self.number = 0
        self.count = 0
        self._bound = bound
        self._size = 0
        # Dropped ones included, until they are in front.
        self._entries: deque[Entry[ItemT]] = deque()

    def put(self, item: ItemT, lane: Lane | None = None) -> bool:
        """Add a message; return whether it will get through, as things stand.

        Without a lane, a full outbox takes nothing.
        """
        if lane is not None and lane.overflow == "latest" and item.key in lane.of_key:
            older = lane.of_key[item.key]
            if not item.is_ordered:
                return self._replace(older, item, lane)
            # Who comes back behind its position would never see what had waited before it.
            lane.tally.dropped += 1
            self._drop(older, lane)
        while self._is_full(item, lane):
            if lane is None:
                return False
            lane.tally.dropped += 1
            goes = lane.next_to_go()
            if goes is None:
                return False
            self._drop(goes, lane.before or lane)
        self.number += 1
        entry = Entry(item, self.number, lane)
        self._entries.append(entry)
        self._count(item, 1)
        if lane is not None:
            lane.entries[entry] = None
            if lane.overflow == "latest":
                lane.of_key[item.key] = entry
        return True

    def _is_full(self, item: ItemT, lane: Lane | None) -> bool:
        if lane is not None and len(lane.entries) >= lane.capacity:
            return True
        return self.count > 0 and self._size + item.size + OVERHEAD > self._bound

    def _replace(self, entry: Entry[ItemT], item: ItemT, lane: Lane) -> bool:
        """Put a newer message in the place of an older one, which it keeps in the line.

        If it is larger, others of the lane go, and then it does itself. Return whether it waits.

        Moved to the end, one that changes often would never reach the front.
        """
        assert entry.item is not None, "a lane knows only what waits"
        lane.tally.dropped += 1
        self._count(entry.item, -1)
        entry.item = item
        self._count(item, 1)
        lane.entries.move_to_end(entry)  # It is the newest: others of the lane go before it.
        while self._size > self._bound and self.count > 1 and lane.entries:
            lane.tally.dropped += 1
            self._drop(next(iter(lane.entries)), lane)
        return bool(lane.entries)

    def _drop(self, entry: Entry[ItemT], lane: Lane) -> None:
        assert entry.item is not None, "a lane knows only what waits"
        self._count(entry.item, -1)
        _leave(lane, entry, entry.item.key)
        entry.item = None
        # Behind one that is stuck, dropped ones would pile up.
        if len(self._entries) > 2 * self.count + 32:
            self._entries = deque(entry for entry in self._entries if entry.item is not None)

    def _count(self, item: ItemT, sign: int) -> None:
        self.count += sign
        self._size += sign * (item.size + OVERHEAD)

    def holds(self, number: float) -> bool:
        """Return whether one of the first so many messages still waits."""
        entries = self._entries
        while entries and entries[0].item is None:
            entries.popleft()
        return bool(entries) and entries[0].number <= number

    def take(self) -> ItemT:
        """Remove the message that has waited longest; to be called when `holds` said yes."""
        entry = self._entries.popleft()
        item = entry.item
        assert item is not None, "`holds` removes what was dropped"
        self._count(item, -1)
        if entry.lane is not None:
            _leave(entry.lane, entry, item.key)
        return item

    def clear(self) -> None:
        """Drop everything, uncounted: nobody is left to read it."""
        while self.holds(self.number):
            self.take()


def _leave(lane: Lane, entry: Entry[Any], key: str | None) -> None:
    del lane.entries[entry]
    if lane.overflow == "latest":
        del lane.of_key[key]
