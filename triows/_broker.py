"""What carries published messages between the processes of an app.

A broker is the setting of an app, `App(__name__, broker=...)`. While the app runs it holds one
session, and this process hears of the topics that it has subscribed to there. What is promised
for a session, by every broker:

- **Order.** The messages of one publisher to one topic are delivered in the order of the calls,
  and those of a topic with history to every process in the order of their positions. They come
  one at a time.
- **Its own too.** A session hears what it publishes itself, like everybody else.
- **No silence about loss.** From the return of `subscribe` on, every message to the topic is
  delivered once; or `lapse` is called, which says that some may be missing. In a topic with
  history a gap in the positions says so too.
- **Positions.** In one epoch each position is given to one message, for ever. A broker that
  cannot know that it remembers everything begins a new epoch.
- **Errors.** What the network fails at is `BrokerUnavailable`. A `publish` that raises it may have
  published.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from triows._outbox import size_of
from triows._types import Data


class Position(NamedTuple):
    """Where a message stands in a topic with history.

    Attributes:
        epoch: Names an uninterrupted memory of the topic; when it was lost, another begins.
        offset: 1 for the first message of the epoch, then one more for each.
    """

    epoch: str
    offset: int


def is_after(position: Position | None, floor: Position | None) -> bool:
    """Return whether a message is a later one, as far as can be told."""
    if position is None or floor is None or position.epoch != floor.epoch:
        return True
    return position.offset > floor.offset


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept of a topic's messages.

    Attributes:
        messages: So many at most, the newest.
        seconds: For so long at most, each.
    """

    messages: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was published to a topic.

    Attributes:
        topic: The topic.
        data: Text or binary.
        id: Of this publication; no other has it, in any process.
        is_json: The data is JSON, from `publish_json`.
        key: What it is about: with the overflow policy `"latest"` one message a key waits.
        exclude: The `id` of the connection that does not get it.
        position: Where it stands in the topic, if that has history.
    """

    topic: str
    data: Data
    id: str = ""
    is_json: bool = False
    key: str | None = None
    exclude: str | None = None
    position: Position | None = None

    @property
    def size(self) -> int:
        """Bytes of the data."""
        return size_of(self.data)

    @property
    def is_ordered(self) -> bool:
        """It has a position."""
        return self.position is not None


@dataclass(frozen=True, slots=True)
class PresenceEvent:
    """Somebody is there now, or is there no more.

    Attributes:
        topic: The topic.
        kind: `"join"` or `"leave"`.
        member: The `id` of the connection.
        data: What it has told of itself.
    """

    topic: str
    kind: Literal["join", "leave"]
    member: str
    data: Any

    @property
    def key(self) -> str:
        """The member: it is what the event is about."""
        return self.member

    @property
    def is_ordered(self) -> bool:
        """False: it has no position."""
        return False

    @property
    def size(self) -> int:
        """Bytes, roughly."""
        return len(self.member)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a publication.

    Attributes:
        position: Where the message stands, if the topic has history.
        sessions: How many sessions it was sent to, the publisher's own included; None if
            the broker cannot know.
    """

    position: Position | None
    sessions: int | None


@dataclass(frozen=True, slots=True)
class Replay:
    """What a broker remembers of a topic.

    Attributes:
        messages: In order, each with its position.
        position: Where the topic stands, or stood in that moment; no message is after it.
        is_complete: Nothing is missing of what was asked for.
    """

    messages: Sequence[Message]
    position: Position
    is_complete: bool

    @property
    def start(self) -> Position:
        """The position before the first message."""
        first = self.messages[0].position if self.messages else None
        return self.position if first is None else first._replace(offset=first.offset - 1)


class Listener(Protocol):
    """Who has opened a session. Nothing here waits or raises."""

    def deliver(self, message: Message) -> None:
        """Take a message of a topic that was subscribed to."""

    def lapse(self, topic: str) -> None:
        """Hear that messages of the topic, or presence events, may have been missed until now."""

    def presence_changed(self, event: PresenceEvent) -> None:
        """Take a presence event of a topic that was subscribed to."""


class BrokerSession(ABC):
    """One process's line to a broker; every method is a checkpoint.

    A topic's `retention` is None if it has no history. All processes are to say the same.
    """

    @abstractmethod
    async def subscribe(self, topic: str, retention: Retention | None) -> Position | None:
        """Have the topic's messages and presence events delivered from now on.

        Returns:
            Where the topic stands, if it has history: the first position of a new
            epoch, offset 0, if nothing was ever published.

        Cancelled, nothing has changed.

        Raises:
            BrokerUnavailable: It cannot be asked, and nothing has changed.
        """

    @abstractmethod
    async def unsubscribe(self, topic: str) -> None:
        """End that. While the broker is unavailable it is enough that it is forgotten."""

    @abstractmethod
    async def publish(self, message: Message, retention: Retention | None) -> Receipt:
        """Send a message to all sessions that have subscribed to its topic.

        Without a retention the topic keeps that which another process has named, if any.

        Cancelled, it was published or not.

        Raises:
            BrokerUnavailable: It may or may not have been published.
        """

    @abstractmethod
    async def replay(
        self, topic: str, since: Position | None, retention: Retention | None
    ) -> Replay:
        """Return what is remembered after a position, or all if `since` is None.

        `is_complete` is true only if every message after the position is there, or, for
        None, every one since offset 1. If the epoch is another, everything is returned.

        Raises:
            BrokerUnavailable: It cannot be asked.
        """

    @abstractmethod
    async def enter(self, topic: str, member: str, data: Any) -> None:
        """Make a member of this process present, until it leaves or the session ends.

        If the process dies the member is gone within the broker's lease. Cancelled, it
        may be present: have it leave.

        Args:
            topic: The topic.
            member: The connection's `id`.
            data: Anything with a JSON form.

        Raises:
            BrokerUnavailable: It cannot be told, and the member is not present.
        """

    @abstractmethod
    async def leave(self, topic: str, member: str) -> None:
        """End that; a member that is not present may leave. Raises nothing: a lease ends too."""

    @abstractmethod
    async def presence(self, topic: str) -> Mapping[str, Any]:
        """Return who is present in the topic, in all processes, and what they told.

        Raises:
            BrokerUnavailable: It cannot be asked.
        """


class Broker(ABC):
    """Makes sessions. One broker may have several at a time, of as many apps."""

    @abstractmethod
    def open(self, listener: Listener) -> AbstractAsyncContextManager[BrokerSession]:
        """Open a session around a block, and whatever tasks it needs.

        Leaving it, its members leave, and it hears nothing any more.

        Raises:
            BrokerUnavailable: It cannot be reached now. Once open, a session
                comes back by itself.
        """
