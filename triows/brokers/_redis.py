"""A broker on Redis or Valkey, for processes on many machines.

Of each topic there are, all beginning with `prefix:{topic}`: a channel; with history a hash that
says where the topic stands and a stream of its messages, whose ids are `offset-0`; and with
presence the leases of the sessions that have members there, and a hash of those for each.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

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
from triows._codecs import decode_json, encode_json
from triows._errors import BrokerUnavailable, InvalidMessage
from triows._groups import tasks_beside
from triows._logs import error_log
from triows.brokers._redis_messages import decode_payload, encode_message, make_position
from triows.brokers._redis_reading import Reading
from triows.brokers._redis_reasons import Reasons
from triows.brokers._redis_scripts import ENTER, LEAVE, PUBLISH, RENEW, REPLAY, STAND, WHO, Script

if TYPE_CHECKING:
    from triows.brokers._redis_cluster import Cluster
    from triows.brokers._redis_line import Line

PREFIX = "triows"
"""Begins the names of keys and channels, unless another is named."""

TIMEOUT = 10.0
"""Seconds for an answer, unless others are named."""

RENEWALS = 3
"""How often a lease is renewed before it would end."""

AT_ONCE = 100
"""Topics whose leases are renewed together, in one write to Redis."""

FAREWELL = 2.0
"""Seconds for a session that ends to take its members out; their leases end anyway."""


class RedisBroker(Broker):
    """Carries messages between all apps that were given the same Redis and prefix.

    Each session holds one connection. When it is lost another is made, after pauses of 0.05 to 5
    seconds, and every topic is told that something may be missing; what was remembered is
    recovered from the history. A server that is another process than before may have lost
    messages, so topics begin a new epoch there, except with `appendonly yes` and
    `appendfsync always` and without replicas, where it cannot have. `SUBSCRIBE`, `INFO` and
    scripts have to be allowed, and `CONFIG GET` if that is to be found out. When such a
    server was given an older copy of its files, its keys `prefix:*:state` have to be deleted.

    In a cluster there is a connection to each node that has topics of this process, and they
    follow their topics when those move. A node that takes over from another one is believed
    nothing, so topics begin a new epoch there.

    Args:
        url: `redis://[[user]:password@]host[:port][/db]`, `rediss://` for TLS, or
            `unix:///path`; Redis 6 or newer, or Valkey. Of a cluster
            `redis+cluster://host[:port][,host[:port]...]`, or `rediss+cluster://`: some of
            its nodes.
        prefix: Begins the name of every key and channel.
        sharded: Publish within the shard of a topic (`SPUBLISH`), where a cluster otherwise
            hands each message to all of its nodes. Redis 7; all processes are to say the same.
        timeout: Seconds for an answer of Redis, with the wait for a connection. When there
            is none to a ping the connection is given up.
        lease: Seconds after which members of a process that has died are gone.

    Raises:
        ImportError: coredis is missing: install `triows[redis]`.
        ValueError: The URL is none of those, or a number of seconds is not positive.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = PREFIX,
        sharded: bool = False,
        timeout: float = TIMEOUT,
        lease: float = 30.0,
    ) -> None:
        try:
            from triows.brokers._redis_address import parse_url  # noqa: PLC0415  # an extra
        except ModuleNotFoundError as exc:
            raise ImportError("a RedisBroker needs coredis: install triows[redis]") from exc
        if not (timeout > 0 and lease > 0):
            raise ValueError(f"timeout and lease are seconds above 0: {timeout}, {lease}")
        if "{}" in prefix:
            raise ValueError(f"a prefix with {{}} would part a topic's keys: {prefix!r}")
        self._addresses, self._is_cluster = parse_url(url)
        self._is_sharded = sharded
        self._timeout = timeout
        self._prefix = prefix
        self._lease = lease

    @asynccontextmanager
    async def open(self, listener: Listener) -> AsyncGenerator[BrokerSession]:
        """Open a session around a block; see `Broker.open`."""
        session = _RedisSession(self._prefix, self._lease, listener)
        session.line = self._line_of(session)
        async with tasks_beside("the session has ended") as nursery:
            await nursery.start(session.line.run)
            nursery.start_soon(session.keep_present)
            try:
                yield session
            finally:
                with trio.move_on_after(FAREWELL, shield=True):
                    await session.end()

    def _line_of(self, session: "_RedisSession") -> "Line | Cluster":
        from triows.brokers._redis_cluster import Cluster  # noqa: PLC0415  # needs the extra
        from triows.brokers._redis_line import Line  # noqa: PLC0415

        if self._is_cluster:
            return Cluster(self._addresses, self._timeout, session, sharded=self._is_sharded)
        return Line(self._addresses[0], self._timeout, session, sharded=self._is_sharded)


class _RedisSession(BrokerSession):
    line: "Line | Cluster"

    def __init__(self, prefix: str, lease: float, listener: Listener) -> None:
        self._prefix = prefix
        self._lease = lease
        self._listener = listener
        self._name = uuid4().hex[:16]
        self._topics: dict[bytes, str] = {}
        # What Redis has to know of our members; a topic is there until it knows that it has none.
        self._present: dict[str, dict[str, bytes]] = {}
        self._renewal = trio.Event()
        self._delays = Reasons()  # of members that leave, of whom there may be thousands
        self._refusals = Reasons()  # of leases that are not renewed
        self._rubbish = Reasons()  # what others have written where our messages are
        self._is_over = False

    def _key(self, topic: str, part: str) -> str:
        # Braces make it one slot of a cluster. Between them there has to be something, and of
        # topics that begin with one there is nothing: no topic is a line feed.
        tag = "{\n}" if topic.startswith("}") else ""
        return f"{self._prefix}:{tag}{{{topic}}}:{part}"

    def _keys(self, topic: str, *parts: str) -> list[str]:
        return [self._key(topic, part) for part in parts]

    # What it hears

    def connected(self, channels: Iterable[bytes]) -> None:
        for channel in channels:
            if (topic := self._topics.get(channel)) is not None:
                self._listener.lapse(topic)
        self._renewal.set()

    def heard(self, channel: bytes, payload: bytes) -> None:
        topic = self._topics.get(channel)
        if topic is None:
            return
        try:
            heard = decode_payload(topic, payload)
            if isinstance(heard, Message):
                self._listener.deliver(heard)
            else:
                self._listener.presence_changed(heard)
        except Exception as exc:  # Anybody may publish anything there.
            self._rubbish.add(f"ignored what is no message of triows in topic {topic!r}", exc)

    # Messages

    async def subscribe(self, topic: str, retention: Retention | None) -> Position | None:
        channel = self._key(topic, "all").encode()
        self._topics[channel] = topic
        try:
            await self.line.subscribe(channel)
            keys = self._keys(topic, "state", "log")
            stands = await self.line.call(STAND, keys, *_arguments(retention))
        except BaseException:
            self._forget(channel)
            raise
        return None if stands is None else make_position(*stands)

    async def unsubscribe(self, topic: str) -> None:
        await trio.lowlevel.checkpoint()
        self._forget(self._key(topic, "all").encode())

    def _forget(self, channel: bytes) -> None:
        self._topics.pop(channel, None)
        self.line.unsubscribe(channel)

    async def publish(self, message: Message, retention: Retention | None) -> Receipt:
        keys = self._keys(message.topic, "state", "log")
        sessions, *position = await self.line.call(
            PUBLISH, keys, *_arguments(retention), encode_message(message)
        )
        return Receipt(make_position(*position) if position else None, sessions)

    async def replay(
        self, topic: str, since: Position | None, retention: Retention | None
    ) -> Replay:
        keys = self._keys(topic, "state", "log")
        reading = Reading(topic, since, self._rubbish)
        while not reading.is_over:
            page = await self.line.call(REPLAY, keys, *_arguments(retention), *reading.position)
            reading.take(*page)
        return reading.result()

    # Presence

    async def enter(self, topic: str, member: str, data: Any) -> None:
        told = encode_json(data).encode()
        if self._is_over:  # Nobody would take it out.
            await trio.lowlevel.checkpoint()
            raise BrokerUnavailable("the session has ended")
        self._present.setdefault(topic, {})[member] = told
        try:
            await self._tell(ENTER, topic, member, told)
        except BaseException:
            # If it has reached Redis, `leave` or the next renewal takes it back.
            self._present.setdefault(topic, {}).pop(member, None)
            raise

    async def leave(self, topic: str, member: str) -> None:
        if (members := self._present.get(topic)) is not None:
            members.pop(member, None)
        if self._is_over or not self.line.is_connected(self._key(topic, "who")):
            await trio.lowlevel.checkpoint()
            return  # All that is present is told when the line is back.
        try:
            await self._tell(LEAVE, topic, member)
        except BrokerUnavailable as exc:
            self._delays.add("members leave later", exc)
        else:
            self._delays.clear()

    async def presence(self, topic: str) -> Mapping[str, Any]:
        values = await self._tell(WHO, topic)
        there = {}
        for member, data in zip(values[::2], values[1::2], strict=True):
            try:
                there[str(member, "utf-8")] = decode_json(data)
            except (ValueError, InvalidMessage) as exc:
                error_log.warning("ignored what is no member of topic %r: %r", topic, exc)
        return there

    async def _tell(self, script: Script, topic: str, *arguments: str | bytes) -> Any:
        keys = self._keys(topic, "who", f"who:{self._name}", "state")
        lease = int(self._lease * 1000)
        return await self.line.call(script, keys, self._name, lease, *arguments)

    async def keep_present(self) -> None:
        """Renew the leases of our members, and end those of others that have died.

        Topics that are in use, and silent, keep their history's settings and position with that.
        """
        while True:
            with trio.move_on_after(self._lease / RENEWALS):
                await self._renewal.wait()
            self._renewal = trio.Event()
            self._rubbish.clear()
            await self._renew({*self._present, *self._topics.values()})

    async def _renew(self, topics: Iterable[str]) -> None:
        waiting = list(topics)
        has_failed = False

        async def renew() -> None:
            nonlocal has_failed
            while waiting:
                topic = waiting.pop()
                try:
                    await self._renew_one(topic)
                except BrokerUnavailable as exc:
                    has_failed = True
                    self._refusals.add(f"the presence of topic {topic!r} was not renewed", exc)

        async with trio.open_nursery() as nursery:
            for _ in range(min(AT_ONCE, len(waiting))):
                nursery.start_soon(renew)
        if not has_failed:
            self._refusals.clear()

    async def _renew_one(self, topic: str) -> None:
        if not self._is_over and not self.line.is_connected(self._key(topic, "who")):
            await trio.lowlevel.checkpoint()
            return  # All of it is, when the line is back; a session that ends has no other time.
        members = self._present.get(topic, {})
        await self._tell(RENEW, topic, *[value for pair in members.items() for value in pair])
        if not members and self._present.get(topic) is members:
            del self._present[topic]

    async def end(self) -> None:
        """Take our members out."""
        self._is_over = True
        topics = set(self._present)
        self._present = {}
        await self._renew(topics)


def _arguments(retention: Retention | None) -> tuple[str, int, int]:
    """Return a new epoch, should one begin, and what is kept."""
    epoch = uuid4().hex[:16]
    if retention is None:
        return epoch, 0, 0
    return epoch, retention.messages, max(1, int(retention.seconds * 1000))
