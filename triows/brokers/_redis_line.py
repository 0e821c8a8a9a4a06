"""A line to Redis that comes back by itself.

One connection carries everything, commands and what is published alike (RESP3 pushes), and
commands that are sent at the same time go out in one write. When it fails another one is made,
and whoever listens is told once it is subscribed to everything again. It is coredis' connection,
without its pool and its pub/sub, which do not outlive the server.
"""

import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Protocol

import trio
from coredis.connection import BaseConnection
from coredis.exceptions import AuthorizationError, NoScriptError, ReadOnlyError, RedisError

from triows._errors import BrokerUnavailable
from triows._groups import leaves_of
from triows._logs import error_log
from triows.brokers._redis_address import Address
from triows.brokers._redis_memory import memory_of
from triows.brokers._redis_reasons import Reasons
from triows.brokers._redis_scripts import SCRIPTS, Script

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
"""Seconds between two attempts to connect; each pause is twice the one before, less some jitter."""

AT_ONCE = 1000
"""Channels that one command subscribes to."""

_MARK = b""
"""No channel: that it is given up is what a server says behind all that it says of others."""

FAILURES = (RedisError, OSError, trio.TooSlowError)
"""What a connection fails with."""


class LineEnded(BrokerUnavailable):
    """The line has ended before anything was asked."""


class Hearer(Protocol):
    """Who has a line. Nothing here waits or raises."""

    def connected(self, channels: Iterable[bytes]) -> None:
        """Hear that these channels are heard again, of a server that may remember or not."""

    def heard(self, channel: bytes, payload: bytes) -> None:
        """Take what was published to a channel."""


class _Request:
    """What a server was asked to let us hear.

    Attributes:
        missing: The channels of which it has not said so.
        decided: It has said all that it will.
    """

    __slots__ = ("decided", "missing")

    def __init__(self, channels: Iterable[bytes]) -> None:
        self.missing = set(channels)
        self.decided = trio.Event()


class Line:
    """A connection to Redis, again and again.

    Args:
        address: Of the server.
        timeout: Seconds for each answer, with the wait for a connection.
        hearer: Takes what is published.
        sharded: Channels are those of a shard.
        on_doubt: In a cluster: called with a channel that the server does not let us
            hear, or no more, and with None when the connection was lost.
    """

    def __init__(
        self,
        address: Address,
        timeout: float,
        hearer: Hearer,
        *,
        sharded: bool = False,
        on_doubt: Callable[[bytes | None], None] | None = None,
    ) -> None:
        self._address = address
        self._timeout = timeout
        self._hearer = hearer
        self._is_sharded = sharded
        self._on_doubt = on_doubt
        self._scope = trio.CancelScope()
        self._connection: BaseConnection | None = None
        self._reasons = Reasons()
        self._is_over = False
        self._is_quiet = False
        self._memory = ""
        self._waiting = trio.lowlevel.ParkingLot()
        # The latest who wanted each.
        self._wanted: dict[bytes, object] = {}
        self._requests: deque[_Request] = deque()
        self._refused: list[bytes] = []  # Of those, what it did not let us hear the last time.
        self._heard: set[bytes] = set()  # Of those, what the server says that it lets us hear.

    # Its life

    async def run(  # noqa: ASYNC114, ASYNC128  # it is ours, and hands it on
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Be connected until stopped or cancelled; started once it is.

        Raises:
            BrokerUnavailable: The first connection could not be made; not in a cluster.
        """
        try:
            with self._scope:
                await self._keep_connected(task_status.started)
        finally:
            self._is_over = True
            self._waiting.unpark_all()

    def stop(self) -> None:
        """End it."""
        self._scope.cancel(reason="the node has left the cluster")

    async def _keep_connected(self, started: Callable[[], None]) -> None:
        pause = 0.0
        is_new = self._on_doubt is None
        failure: BaseException | None = None
        while True:
            await trio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  # jitter
            try:
                async with trio.open_nursery() as nursery:
                    connection = await self._connect(nursery)
                    is_new = False
                    started()
                    started = trio.TASK_STATUS_IGNORED.started
                    pause = 0.0
                    await self._watch(connection)
            except* FAILURES as group:
                failure = _first_of(group)
            finally:
                self._disconnected()
            if is_new:
                raise BrokerUnavailable(f"Redis cannot be reached: {failure}") from failure
            what = "Redis cannot be reached" if pause else "the connection to Redis was lost"
            self._reasons.add(what, failure)
            if self._on_doubt is not None:
                self._on_doubt(None)
            pause = min(max(FIRST_PAUSE, 2 * pause), LONGEST_PAUSE)

    async def _connect(self, nursery: trio.Nursery) -> BaseConnection:
        with trio.fail_after(self._timeout):
            connection = await self._address.connect(nursery)
            nursery.start_soon(self._listen, connection)
            self._memory = await memory_of(connection)
            self._is_quiet = await _can_be_quiet(connection)
            if self._is_sharded and not self._is_quiet:
                raise RedisError("sharded channels take Redis 7, and CLIENT REPLY to be allowed")
            for script in SCRIPTS:
                await connection.create_request(b"SCRIPT", b"LOAD", self._own(script).text)
            self._refused = await self._subscribe_to(connection, tuple(self._wanted))
        self._connection = connection
        self._reasons.clear()
        self._waiting.unpark_all()
        self._hearer.connected(tuple(self._heard))
        self._tell_of_refused()
        return connection

    def _own(self, script: Script) -> Script:
        return script.sharded if self._is_sharded else script

    async def _subscribe_to(
        self, connection: BaseConnection, channels: Sequence[bytes]
    ) -> list[bytes]:
        """Have the server let us hear channels, and return those that it refuses."""
        refused: list[bytes] = []
        for i in range(0, len(channels), AT_ONCE):
            request = self._ask_for(connection, channels[i : i + AT_ONCE])
            await request.decided.wait()
            if request.missing and not self._is_sharded:
                # One that is refused has taken the whole command with it.
                request = self._ask_for(connection, tuple(request.missing), singly=True)
                await request.decided.wait()
            refused += request.missing
        return refused

    def _tell_of_refused(self) -> None:
        """Tell who can find another node. Others wait: nothing is told of a channel unheard."""
        if self._on_doubt is not None:
            for channel in self._refused:
                self._on_doubt(channel)
        elif self._refused:
            error_log.error(
                "Redis does not let us subscribe to %d channels, such as %r",
                len(self._refused),
                self._refused[0],
            )

    async def _ask_again(self, connection: BaseConnection) -> None:
        is_ours = self._is_quiet and self._on_doubt is None
        names = self._wanted.keys() - self._heard if is_ours else set[bytes]()
        refused = [name for name in self._refused if name in names]
        self._refused = await self._subscribe_to(connection, refused)
        if heard := self._heard.intersection(refused):
            self._hearer.connected(heard)

    async def _watch(self, connection: BaseConnection) -> None:
        """Ask from time to time whether the server is alive; until it is not."""
        while True:
            await trio.sleep(self._timeout / 2)
            with trio.fail_after(self._timeout):
                self._memory = await memory_of(connection)  # It may have got a replica.
                await self._ask_again(connection)

    async def _listen(self, connection: BaseConnection) -> None:
        pushes: AsyncIterator[Any] = connection.push_messages
        async for kind, channel, value in pushes:
            if kind in {b"message", b"smessage"}:
                self._hearer.heard(channel, value)
            elif kind in {b"subscribe", b"ssubscribe"}:
                if channel in self._wanted:
                    self._heard.add(channel)
                self._requests[0].missing.discard(channel)
            elif channel == _MARK:
                self._requests.popleft().decided.set()
            elif channel in self._heard and self._on_doubt is not None:
                self._heard.discard(channel)  # It has moved, and we have not given it up.
                self._on_doubt(channel)

    def _disconnected(self) -> None:
        self._connection = None
        self._heard.clear()
        requests, self._requests = self._requests, deque()
        for request in requests:
            request.decided.set()

    # What it is asked for

    def is_connected(self, _: str = "") -> bool:
        """There is a connection, for this key as for any, as far as is known."""
        return self._connection is not None and self._connection.usable

    async def _connected(self) -> BaseConnection:
        # One that has just failed takes nothing, and another one will be made.
        while (connection := self._connection) is None or not connection.usable:
            if self._is_over:
                raise LineEnded("the session has ended")
            await self._waiting.park()
        return connection

    async def call(
        self,
        script: Script,
        keys: Sequence[str | bytes],
        *arguments: str | bytes | int,
        asking: bool = False,
    ) -> Any:
        """Run a script, once; `asking` for what is about to move to this node of a cluster.

        Raises:
            BrokerUnavailable: It may have run, or not.
            UnicodeEncodeError: A key or an argument is none that can be sent.
        """
        # What fails to be encoded later fails for everybody: it takes the connection with it.
        before, after = [b"%d" % len(keys), *encoded(keys)], encoded(arguments)
        failure: BaseException | None = None
        with trio.move_on_after(self._timeout):
            connection = await self._connected()
            try:
                if asking:
                    connection.create_request(b"ASKING")
                return await connection.create_request(
                    b"EVALSHA", self._own(script).sha, *before, self._memory, *after
                )
            except (NoScriptError, ReadOnlyError) as exc:
                failure = exc
                # The next one loads the scripts that were flushed, or goes to another primary.
                connection.invalidate(str(exc))
            except FAILURES as exc:
                failure = exc
        late = f"no answer within {self._timeout} seconds"
        reason = failure or self._reasons.told_with(late)
        raise BrokerUnavailable(f"Redis: {reason}") from failure

    async def subscribe(self, channel: bytes) -> None:
        """Hear what is published to a channel from now on, through all connections.

        Raises:
            BrokerUnavailable: The server does not say that it has heard of it.
        """
        token = self._wanted[channel] = object()
        is_confirmed = False
        try:
            with trio.move_on_after(self._timeout):
                connection = await self._connected()
                request = self._ask_for(connection, [channel])
                await request.decided.wait()
                is_confirmed = self._connection is connection and not request.missing
        finally:
            if not is_confirmed and self._wanted.get(channel) is token:
                self.unsubscribe(channel)
        if not is_confirmed:
            what = "Redis did not answer to SUBSCRIBE, or refused"
            raise BrokerUnavailable(self._reasons.told_with(what))

    def unsubscribe(self, channel: bytes) -> None:
        """Hear of a channel no more."""
        self._wanted.pop(channel, None)
        self._heard.discard(channel)
        if self._connection is not None and self._connection.usable:
            command = b"SUNSUBSCRIBE" if self._is_sharded else b"UNSUBSCRIBE"
            self._send_quietly(self._connection, command, channel)

    def _ask_for(
        self, connection: BaseConnection, channels: Sequence[bytes], *, singly: bool = False
    ) -> _Request:
        """Ask for channels; what cannot be had is known when something behind it is answered."""
        if self._is_sharded:  # Each may be of another shard.
            commands = [[b"SSUBSCRIBE", channel] for channel in channels]
        elif singly:
            commands = [[b"SUBSCRIBE", channel] for channel in channels]
        else:
            commands = [[b"SUBSCRIBE", *channels]]
        for command in commands:
            self._send_quietly(connection, *command)
        connection.send_command(b"UNSUBSCRIBE", _MARK)
        request = _Request(channels)
        self._requests.append(request)
        return request

    def _send_quietly(self, connection: BaseConnection, *command: bytes) -> None:
        # A refusal would be taken for the answer to another command.
        if self._is_quiet:
            connection.send_command(b"CLIENT", b"REPLY", b"SKIP")
        connection.send_command(*command)


def encoded(words: Iterable[str | bytes | int]) -> list[bytes]:
    """Return words as they are sent.

    Raises:
        UnicodeEncodeError: One has a lone surrogate.
    """
    return [_encoded(word) for word in words]


def _encoded(word: str | bytes | int) -> bytes:
    if isinstance(word, bytes):
        return word
    return word.encode() if isinstance(word, str) else b"%d" % word


async def _can_be_quiet(connection: BaseConnection) -> bool:
    """Return whether refusals can be suppressed; before Redis 7 that would hide consent too."""
    major = int((connection.server_version or "0").partition(".")[0])
    try:
        await connection.create_request(b"CLIENT", b"REPLY", b"ON")
    except AuthorizationError:
        return False
    return major >= 7


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = leaves_of(group)[0]
    if isinstance(first, trio.TooSlowError):
        return trio.TooSlowError("it did not answer in time")
    return first
