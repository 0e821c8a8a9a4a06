"""A broker that does what a test wants of it."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from triows._broker import (
    Broker,
    BrokerSession,
    Listener,
    Message,
    Position,
    Receipt,
    Replay,
    Retention,
)
from triows._errors import BrokerUnavailable


class ScriptedBroker(Broker):
    """Delivers nothing by itself: the test does, through `listener`.

    Attributes:
        listener: Of its session.
        calls: What was asked of the session.
        position: Where every topic stands.
        kept: What every topic remembers.
        is_away: It cannot be reached.
        failure: What every call raises, as it must not.
        sessions: How many each publication is sent to.
        seconds: How long each answer takes.
    """

    listener: Listener

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.position: Position | None = Position("e", 0)
        self.kept: list[Message] = []
        self.is_away = False
        self.failure: Exception | None = None
        self.sessions: int | None = None
        self.seconds = 0.0

    @asynccontextmanager
    async def open(self, listener: Listener) -> AsyncGenerator[BrokerSession]:
        """Open its session."""
        self.listener = listener
        yield ScriptedSession(self)

    def keep(self, *offsets: int, epoch: str = "e") -> None:
        """Remember these messages of the topic t."""
        self.kept = [message(offset, epoch) for offset in offsets]
        self.position = self.kept[-1].position

    def deliver(self, *offsets: int, epoch: str = "e") -> None:
        """Deliver these messages of the topic t."""
        for offset in offsets:
            self.listener.deliver(message(offset, epoch))

    async def answer(self, *call: object) -> None:
        """Note a call, and take the time."""
        self.calls.append(call)
        await trio.lowlevel.checkpoint()
        await trio.sleep(self.seconds)
        if self.is_away:
            raise BrokerUnavailable("the broker is away")
        if self.failure is not None:
            raise self.failure


def message(offset: int, epoch: str = "e") -> Message:
    """Return a message of the topic t, which says its own offset."""
    return Message("t", str(offset), position=Position(epoch, offset))


class ScriptedSession(BrokerSession):
    """Does what its broker was told."""

    def __init__(self, broker: ScriptedBroker) -> None:
        self._broker = broker

    async def subscribe(self, topic: str, retention: Retention | None) -> Position | None:
        """Answer where topics stand."""
        await self._broker.answer("subscribe", topic)
        return self._broker.position if retention else None

    async def unsubscribe(self, topic: str) -> None:
        """Note it."""
        await self._broker.answer("unsubscribe", topic)

    async def publish(self, message: Message, retention: Retention | None) -> Receipt:
        """Note it; it comes back when the test delivers it."""
        await self._broker.answer("publish", message)
        return Receipt(None, self._broker.sessions)

    async def replay(
        self, topic: str, since: Position | None, retention: Retention | None
    ) -> Replay:
        """Answer with what is remembered."""
        await self._broker.answer("replay", since)
        assert self._broker.position is not None
        after = since.offset if since is not None and since.epoch == self._broker.position[0] else 0
        kept = [
            message
            for message in self._broker.kept
            if message.position is not None and message.position.offset > after
        ]
        is_known = since is None or since.epoch == self._broker.position.epoch
        complete = is_known and len(kept) == self._broker.position.offset - after
        return Replay(kept, self._broker.position, complete)

    async def enter(self, topic: str, member: str, data: Any) -> None:
        """Note it."""
        await self._broker.answer("enter", topic, data)

    async def leave(self, topic: str, member: str) -> None:
        """Note it."""
        await self._broker.answer("leave", topic)

    async def presence(self, topic: str) -> Mapping[str, Any]:
        """Nobody is there."""
        await self._broker.answer("presence", topic)
        return {}
