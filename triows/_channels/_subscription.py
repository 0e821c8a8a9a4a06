"""A topic for code: what is published there, to be received like messages of a peer."""

import math
from collections import deque
from typing import Generic, Self, TypeVar

import trio

from triows._broker import Message, Position, Replay, is_after
from triows._errors import SubscriptionLagged
from triows._outbox import Item, Lane, Outbox

ItemT = TypeVar("ItemT", bound=Item)

WAITING_BYTES = 1024 * 1024
"""Bytes that may wait for one subscription."""


class Subscription(Generic[ItemT]):
    """What comes of a topic; an async iterator.

    Made by `channels.subscribe` and `channels.presence_events`, and open within their
    `async with`. What nobody has received yet waits, up to the topic's `capacity` and
    1 MiB; then its overflow policy counts. What it was given of the history does not count.
    """

    def __init__(self, topic: str, lane: Lane) -> None:
        self.topic = topic
        self._lane = lane
        self._older: deque[ItemT | None] = deque()  # of the history, None being a gap
        self._queue: Outbox[ItemT] = Outbox(WAITING_BYTES)
        self._arrival = trio.lowlevel.ParkingLot()
        self._is_receiving = False
        self._is_closed = False
        self._is_overrun = False
        self._lapses: deque[int] = deque()  # how many came before each gap

    def __repr__(self) -> str:
        return f"<Subscription {self.topic!r}, {len(self._older) + self._queue.count} waiting>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ItemT:
        return await self.receive()

    async def receive(self) -> ItemT:
        """Return the next one.

        Cancelling is safe: none is lost.

        Raises:
            SubscriptionLagged: Some were missed here. After a gap between processes the
                next call goes on behind it; a subscription whose overflow policy is
                `"close"` and was too slow has nothing more to give.
            trio.BusyResourceError: Another task is already receiving.
            trio.ClosedResourceError: The `async with` was left.
        """
        if self._is_receiving:
            raise trio.BusyResourceError("another task is already receiving from this subscription")
        self._is_receiving = True
        try:
            await trio.lowlevel.checkpoint()
            if self._older:
                return self._take_older()
            while not self._queue.holds(self._lapses[0] if self._lapses else math.inf):
                self._check()
                await self._arrival.park()
            return self._queue.take()
        finally:
            self._is_receiving = False

    def _take_older(self) -> ItemT:
        item = self._older.popleft()
        if item is None:
            raise self._gap()
        return item

    def _gap(self) -> SubscriptionLagged:
        return SubscriptionLagged(f"messages of topic {self.topic!r} may have been lost here")

    def _check(self) -> None:
        """Raise what stands at this place in the queue, if something does."""
        if self._lapses:
            self._lapses.popleft()
            raise self._gap()
        if self._is_overrun:
            raise SubscriptionLagged(f"the subscription was too slow for topic {self.topic!r}")
        if self._is_closed:
            raise trio.ClosedResourceError("the subscription was left")

    # Called by the topic

    def offer(self, item: ItemT) -> bool:
        """Let an item wait; return whether it will be received, as things stand."""
        if self._is_overrun:
            self._lane.tally.dropped += 1
            return False
        if not self._queue.put(item, self._lane):
            self._is_overrun = self._lane.overflow == "close"
            return False
        self._arrival.unpark_all()
        return True

    def lapse(self) -> None:
        """Say, behind what waits, that items may be missing."""
        if self._queue.number not in self._lapses:
            self._lapses.append(self._queue.number)
        self._arrival.unpark_all()

    def close(self) -> None:
        """End it; what waits is dropped."""
        self._is_closed = True
        self._older.clear()
        self._queue.clear()
        self._arrival.unpark_all()


class MessageSubscription(Subscription[Message]):
    """Messages of a topic; those that come before `begin` wait for the older ones."""

    def __init__(self, topic: str, lane: Lane) -> None:
        super().__init__(topic, lane)
        self._early: Outbox[Message] | None = Outbox(WAITING_BYTES)
        self._early_lapses: list[int] = []  # how many came before each gap
        self._has_missed = False
        self._floor: Position | None = None

    def begin(self, floor: Position | None, replay: Replay | None = None) -> None:
        """Go on after a position, or with what the history had up to there."""
        early, self._early = self._early, None
        assert early is not None, "it begins once"
        if replay is not None:
            if not replay.is_complete:
                self._older.append(None)
            self._older.extend(replay.messages)
        self._floor = floor
        for number in self._early_lapses:
            self._offer_all(early, number)
            self.lapse()
        self._offer_all(early, math.inf)
        if self._has_missed:
            self.lapse()

    def _offer_all(self, early: Outbox[Message], number: float) -> None:
        """Go on with what is left of the first so many."""
        while early.holds(number):
            self.offer(early.take())

    def lapse(self) -> None:
        """Like `Subscription.lapse`, also behind what waits for the older ones."""
        if self._early is None:
            super().lapse()
        elif self._early_lapses[-1:] != [self._early.number]:
            self._early_lapses.append(self._early.number)

    def offer(self, message: Message) -> bool:
        """Let a message wait, unless it is one that was there before."""
        if self._early is not None:
            # What follows one that was missed is missing too, so that the gap is in one place.
            self._has_missed = self._has_missed or not self._early.put(message)
            self._lane.tally.dropped += self._has_missed
            return not self._has_missed
        if not is_after(message.position, self._floor):
            return False
        self._floor = None  # It has been passed, and positions only grow.
        return super().offer(message)
