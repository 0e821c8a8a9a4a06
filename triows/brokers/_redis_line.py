"""A line to Redis that comes back by itself.

One connection carries everything, commands and what is published alike (RESP3 pushes), and
commands that are sent at the same time go out in one write. When it fails another one is made,
and whoever listens is told once it is subscribed to everything again. It is coredis' connection,
without its pool and its pub/sub, which do not outlive the server.
"""

import random
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

import trio
from coredis.connection import BaseConnection
from coredis.exceptions import NoScriptError, RedisError
from coredis.pool import ConnectionPool

from triows._errors import BrokerUnavailable
from triows._groups import leaves_of
from triows._logs import error_log
from triows.brokers._redis_scripts import SCRIPTS, Script

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
"""Seconds between two attempts to connect; each pause is twice the one before, less some jitter."""

AT_ONCE = 1000
"""Channels that one command subscribes to."""

_DURABLE = {b"appendonly": b"yes", b"appendfsync": b"always"}
"""How a server is configured that has every write on its disk before it answers."""

_FAILURES = (RedisError, OSError, trio.TooSlowError)


class Hearer(Protocol):
    """Who has a line. Nothing here waits or raises."""

    def connected(self) -> None:
        """Hear that it is connected again, to a server that may remember or not."""

    def heard(self, channel: bytes, payload: bytes) -> None:
        """Take what was published to a channel."""


class Line:
    """A connection to Redis, again and again.

    Args:
        pool: Knows how to connect; it is not used as a pool.
        timeout: Seconds for each answer, with the wait for a connection.
        hearer: Takes what is published.
    """

    def __init__(self, pool: ConnectionPool[Any], timeout: float, hearer: Hearer) -> None:
        self._pool = pool
        self._timeout = timeout
        self._hearer = hearer
        self._connection: BaseConnection | None = None
        self._is_over = False
        self._memory = ""
        self._waiting = trio.lowlevel.ParkingLot()
        self._wanted: set[bytes] = set()
        self._subscribing: dict[bytes, deque[trio.Event]] = {}

    # Its life

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:  # noqa: ASYNC114  # it is ours
        """Be connected until cancelled; started once it is.

        Raises:
            BrokerUnavailable: The first connection could not be made.
        """
        try:
            await self._keep_connected(task_status)
        finally:
            self._is_over = True
            self._waiting.unpark_all()

    async def _keep_connected(self, task_status: trio.TaskStatus[None]) -> None:
        pause = 0.0
        is_new = True
        failure: BaseException | None = None
        while True:
            await trio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  # jitter
            try:
                async with trio.open_nursery() as nursery:
                    connection = await self._connect(nursery)
                    if is_new:
                        is_new = False
                        task_status.started()
                    pause = 0.0
                    await self._watch(connection)
            except* _FAILURES as group:
                failure = _first_of(group)
            finally:
                self._disconnected()
            if is_new:
                raise BrokerUnavailable(f"Redis cannot be reached: {failure}") from failure
            if not pause:
                error_log.warning("the connection to Redis was lost: %s", failure)
            pause = min(max(FIRST_PAUSE, 2 * pause), LONGEST_PAUSE)

    async def _connect(self, nursery: trio.Nursery) -> BaseConnection:
        location = self._pool.location
        assert location is not None, "the pool was made of a URL"
        with trio.fail_after(self._timeout):
            # A connection of coredis that is never made leaves its queues open.
            if not await location.check():
                raise ConnectionRefusedError(f"there is no server at {location}")
            connection: BaseConnection = self._pool.connection_class(
                location, **self._pool.connection_kwargs
            )
            await nursery.start(connection.run)
            nursery.start_soon(self._listen, connection)
            self._memory = await _memory_of(connection)
            for script in SCRIPTS:
                await connection.create_request(b"SCRIPT", b"LOAD", script.text)
            await self._subscribe_all(connection)
        self._connection = connection
        self._waiting.unpark_all()
        self._hearer.connected()
        return connection

    async def _subscribe_all(self, connection: BaseConnection) -> None:
        channels = list(self._wanted)
        for i in range(0, len(channels), AT_ONCE):
            for confirmed in self._send_subscribe(connection, channels[i : i + AT_ONCE]):
                await confirmed.wait()

    async def _watch(self, connection: BaseConnection) -> None:
        """Ask from time to time whether the server is alive; until it is not."""
        while True:
            await trio.sleep(self._timeout / 2)
            with trio.fail_after(self._timeout):
                await connection.create_request(b"PING")

    async def _listen(self, connection: BaseConnection) -> None:
        pushes: AsyncIterator[Any] = connection.push_messages
        async for kind, channel, value in pushes:
            if kind == b"message":
                self._hearer.heard(channel, value)
            elif kind == b"subscribe":
                waiting = self._subscribing[channel]
                waiting.popleft().set()
                if not waiting:
                    del self._subscribing[channel]

    def _disconnected(self) -> None:
        self._connection = None
        waiting, self._subscribing = self._subscribing, {}
        for events in waiting.values():
            for event in events:
                event.set()

    # What it is asked for

    @property
    def is_connected(self) -> bool:
        """There is a connection, as far as is known."""
        return self._connection is not None

    async def _connected(self) -> BaseConnection:
        while self._connection is None:
            if self._is_over:
                raise BrokerUnavailable("the session has ended")
            await self._waiting.park()
        return self._connection

    async def call(self, script: Script, keys: Sequence[str], *arguments: Any) -> Any:
        """Run a script, once.

        Raises:
            BrokerUnavailable: It may have run, or not.
        """
        failure: BaseException | None = None
        with trio.move_on_after(self._timeout):
            connection = await self._connected()
            try:
                return await connection.create_request(
                    b"EVALSHA", script.sha, len(keys), *keys, self._memory, *arguments
                )
            except NoScriptError as exc:
                failure = exc
                connection.invalidate("its scripts were flushed")  # The next one loads them.
            except _FAILURES as exc:
                failure = exc
        reason = failure or f"no answer within {self._timeout} seconds"
        raise BrokerUnavailable(f"Redis: {reason}") from failure

    async def subscribe(self, channel: bytes) -> None:
        """Hear what is published to a channel from now on, through all connections.

        Raises:
            BrokerUnavailable: The server does not say that it has heard of it.
        """
        self._wanted.add(channel)
        is_confirmed = False
        try:
            with trio.move_on_after(self._timeout):
                connection = await self._connected()
                try:
                    (confirmed,) = self._send_subscribe(connection, [channel])
                except RedisError as exc:
                    raise BrokerUnavailable(f"Redis: {exc}") from exc
                await confirmed.wait()
                is_confirmed = self._connection is connection
        finally:
            if not is_confirmed:
                self.unsubscribe(channel)
        if not is_confirmed:
            raise BrokerUnavailable("Redis did not answer to SUBSCRIBE")

    def unsubscribe(self, channel: bytes) -> None:
        """Hear of a channel no more."""
        self._wanted.discard(channel)
        if self._connection is not None and self._connection.usable:
            self._connection.send_command(b"UNSUBSCRIBE", channel)

    def _send_subscribe(
        self, connection: BaseConnection, channels: list[bytes]
    ) -> list[trio.Event]:
        connection.send_command(b"SUBSCRIBE", *channels)
        events = [trio.Event() for _ in channels]
        for channel, event in zip(channels, events, strict=True):
            self._subscribing.setdefault(channel, deque()).append(event)
        return events


async def _memory_of(connection: BaseConnection) -> str:
    """Return a name for what the server remembers: while it is the same, nothing was lost.

    It is that of the process, unless every write is on the disk before it is answered.
    """
    config = await connection.create_request(b"CONFIG", b"GET", b"append*", raise_exceptions=False)
    if isinstance(config, dict) and config.items() >= _DURABLE.items():
        return "disk"
    info: Any = await connection.create_request(b"INFO", b"server")
    lines = dict(line.split(b":", 1) for line in info.splitlines() if b":" in line)
    return str(lines[b"run_id"], "ascii")


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = leaves_of(group)[0]
    if isinstance(first, trio.TooSlowError):
        return trio.TooSlowError("it did not answer in time")
    return first
