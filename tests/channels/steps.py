"""Something that happens just before a task takes one of its steps."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
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
from triows._errors import ConnectionClosed


class AtStep(trio.abc.Instrument):
    """Acts before the step of this number of one task, or never if that ends earlier.

    Attributes:
        has_acted: It has.
    """

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self.has_acted = False
        self._left = number
        self._act = act
        self._task: trio.lowlevel.Task | None = None

    async def drive(self, fn: Callable[[], Awaitable[object]]) -> None:
        """Run a function, whose steps are counted; a connection that has ended is no failure."""
        self._task = trio.lowlevel.current_task()
        trio.lowlevel.add_instrument(self)
        try:
            await trio.lowlevel.cancel_shielded_checkpoint()
            await fn()
        except ConnectionClosed:
            pass
        finally:
            self._task = None
            trio.lowlevel.remove_instrument(self)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count."""
        if task is self._task:
            self._left -= 1
            if not self._left:
                self.has_acted = True
                self._act()


STEPS = 2
"""How often one is looked at on the way to the broker, and on the way back."""


class FarBroker(Broker):
    """Another broker, to which it is a few steps; what is on its way there arrives."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    @asynccontextmanager
    async def open(self, listener: Listener) -> AsyncGenerator[BrokerSession]:
        """Open a session there."""
        async with self._broker.open(listener) as session, trio.open_nursery() as nursery:
            yield _FarSession(session, nursery)
            nursery.cancel_scope.cancel()


class _FarSession(BrokerSession):
    def __init__(self, session: BrokerSession, nursery: trio.Nursery) -> None:
        self._session = session
        self._nursery = nursery

    async def _go(self, fn: Callable[[], Awaitable[Any]]) -> Any:
        answers: list[Any] = []
        answered = trio.Event()

        async def travel() -> None:
            for _ in range(STEPS):
                await trio.lowlevel.checkpoint()
            answers.append(await fn())
            answered.set()

        self._nursery.start_soon(travel)
        await answered.wait()
        for _ in range(STEPS):
            await trio.lowlevel.checkpoint()
        return answers[0]

    async def subscribe(self, topic: str, retention: Retention | None) -> Position | None:
        """Take steps."""
        for _ in range(STEPS):
            await trio.lowlevel.checkpoint()
        return await self._session.subscribe(topic, retention)

    async def unsubscribe(self, topic: str) -> None:
        """Take steps."""
        await self._go(lambda: self._session.unsubscribe(topic))

    async def publish(self, message: Message, retention: Retention | None) -> Receipt:
        """Take steps."""
        return await self._go(lambda: self._session.publish(message, retention))  # type: ignore[no-any-return]

    async def replay(
        self, topic: str, since: Position | None, retention: Retention | None
    ) -> Replay:
        """Take steps."""
        return await self._go(lambda: self._session.replay(topic, since, retention))  # type: ignore[no-any-return]

    async def enter(self, topic: str, member: str, data: Any) -> None:
        """Take steps."""
        await self._go(lambda: self._session.enter(topic, member, data))

    async def leave(self, topic: str, member: str) -> None:
        """Take steps."""
        await self._go(lambda: self._session.leave(topic, member))

    async def presence(self, topic: str) -> Mapping[str, Any]:
        """Take steps."""
        return await self._go(lambda: self._session.presence(topic))  # type: ignore[no-any-return]
