"""A broker within one process.

Everything happens at once: a message is with every session when `publish` returns.
"""

from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Literal
from uuid import uuid4

import trio

from triows._broker import (
    Broker,
    BrokerSession,
    Listener,
    Message,
    Position,
    PresenceEvent,
    Receipt,
    Replay,
    Retention,
)
from triows._codecs import decode_json, encode_json
from triows._errors import BrokerUnavailable

SWEEP = 10.0
"""Seconds after which topics that nobody uses, and whose messages are too old, are forgotten."""


class MemoryBroker(Broker):
    """Carries messages between the apps of one process that were given the same one.

    An app's default. It remembers what the topics' settings say, as long as it exists.
    """

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}
        self._sweeps_at = 0.0

    @asynccontextmanager
    async def open(self, listener: Listener) -> AsyncGenerator[BrokerSession]:
        """Open a session around a block; see `Broker.open`."""
        session = _MemorySession(self, listener)
        try:
            yield session
        finally:
            session.is_over = True
            for topic in list(self._topics.values()):
                topic.end(session)
            self.sweep()

    def topic(self, name: str) -> "_Topic":
        """Return a topic, which begins to exist."""
        if trio.current_time() >= self._sweeps_at:
            self.sweep()
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = _Topic(name)
        return topic

    def sweep(self) -> None:
        """Forget topics that hold nothing."""
        self._sweeps_at = trio.current_time() + SWEEP
        self._topics = {name: topic for name, topic in self._topics.items() if not topic.is_empty()}


class _Topic:
    def __init__(self, name: str) -> None:
        self.listeners: dict[_MemorySession, Listener] = {}
        # Of each member its session, and what it told in JSON, as it would come from elsewhere.
        self.present: dict[str, tuple[_MemorySession, str]] = {}
        self.position: Position = Position(uuid4().hex[:16], 0)
        self._name = name
        self._retention: Retention | None = None
        self._kept: deque[tuple[float, Message]] = deque()

    def is_empty(self) -> bool:
        self._tidy()
        return not (self.listeners or self.present or self._kept)

    def retain(self, retention: Retention | None) -> Retention | None:
        """Take what a session says of the history, if it says something."""
        self._retention = retention or self._retention
        return self._retention

    def publish(self, message: Message, retention: Retention | None) -> Message:
        retention = self.retain(retention)
        if retention is not None:
            self.position = self.position._replace(offset=self.position.offset + 1)
            message = replace(message, position=self.position)
            self._kept.append((trio.current_time() + retention.seconds, message))
            self._tidy()
        # Who joins or leaves while it is delivered makes no difference.
        for listener in list(self.listeners.values()):
            listener.deliver(message)
        return message

    def _tidy(self) -> None:
        """Forget what is too old, or too much."""
        most = 0 if self._retention is None else self._retention.messages
        now = trio.current_time()
        while self._kept and (len(self._kept) > most or self._kept[0][0] <= now):
            self._kept.popleft()

    def replay(self, since: Position | None) -> Replay:
        self._tidy()
        start = Position(self.position.epoch, 0) if since is None else since
        is_known = start.epoch == self.position.epoch and start.offset <= self.position.offset
        after = start.offset if is_known else 0
        kept = [message for _, message in self._kept]
        missed = self.position.offset - after
        messages = kept[-missed:] if missed else []
        return Replay(messages, self.position, is_known and len(messages) == missed)

    def enter(self, session: "_MemorySession", member: str, told: str) -> None:
        self.present[member] = (session, told)
        self._tell("join", member, told)

    def leave(self, member: str) -> None:
        session_and_told = self.present.pop(member, None)
        if session_and_told is not None:
            self._tell("leave", member, session_and_told[1])

    def _tell(self, kind: Literal["join", "leave"], member: str, told: str) -> None:
        for listener in list(self.listeners.values()):
            listener.presence_changed(PresenceEvent(self._name, kind, member, decode_json(told)))

    def end(self, session: "_MemorySession") -> None:
        self.listeners.pop(session, None)
        for member, (owner, _) in list(self.present.items()):
            if owner is session:
                self.leave(member)


class _MemorySession(BrokerSession):
    def __init__(self, broker: MemoryBroker, listener: Listener) -> None:
        self.is_over = False
        self._broker = broker
        self._listener = listener

    async def subscribe(self, topic: str, retention: Retention | None) -> Position | None:
        await self._checkpoint()
        there = self._broker.topic(topic)
        there.listeners[self] = self._listener
        return None if there.retain(retention) is None else there.position

    async def unsubscribe(self, topic: str) -> None:
        await trio.lowlevel.checkpoint()
        self._broker.topic(topic).listeners.pop(self, None)

    async def publish(self, message: Message, retention: Retention | None) -> Receipt:
        await trio.lowlevel.checkpoint()
        there = self._broker.topic(message.topic)
        published = there.publish(message, retention)
        return Receipt(published.position, len(there.listeners))

    async def replay(
        self, topic: str, since: Position | None, retention: Retention | None
    ) -> Replay:
        await trio.lowlevel.checkpoint()
        there = self._broker.topic(topic)
        there.retain(retention)
        return there.replay(since)

    async def _checkpoint(self) -> None:
        """Let others run; then nobody may become what nothing would end any more."""
        await trio.lowlevel.checkpoint()
        if self.is_over:
            raise BrokerUnavailable("the session has ended")

    async def enter(self, topic: str, member: str, data: Any) -> None:
        told = encode_json(data)
        await self._checkpoint()
        self._broker.topic(topic).enter(self, member, told)

    async def leave(self, topic: str, member: str) -> None:
        await trio.lowlevel.checkpoint()
        self._broker.topic(topic).leave(member)

    async def presence(self, topic: str) -> Mapping[str, Any]:
        await trio.lowlevel.checkpoint()
        present = self._broker.topic(topic).present
        return {member: decode_json(told) for member, (_, told) in present.items()}
