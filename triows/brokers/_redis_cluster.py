"""Lines to the nodes of a Redis Cluster.

All keys of a topic, and its channel, are in one slot, and each slot is served by one node. So a
topic is a matter of one line, as with a single server, as long as it is known which one: that is
asked of the nodes at the beginning, and again when there is doubt. A node that answers MOVED has
not done what it was asked, which is asked again where the slot has gone to. Channels follow their
slots; what may have been missed on the way they are told like after any lost connection.

A line is made when something is first asked of its node, and ends when that has no more slots.
"""

import random
from binascii import crc_hqx
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import trio
from coredis.connection import Location
from coredis.exceptions import AskError, ClusterDownError, MovedError, RedisError, TryAgainError

from triows._errors import BrokerUnavailable
from triows._groups import leaves_of
from triows.brokers._redis_address import Address
from triows.brokers._redis_line import FAILURES, FIRST_PAUSE, Hearer, Line, LineEnded, encoded
from triows.brokers._redis_reasons import Reasons
from triows.brokers._redis_scripts import Script

SLOTS = 16384

ASKED = 3
"""How many nodes are asked at once where the slots are, beside those that were named."""

LONGEST_PAUSE = 1.0
"""Seconds at most until nodes are asked once more. Who waits for a failover waits for this too."""

_NOT_DONE = (AskError, MovedError, TryAgainError, ClusterDownError)


def slot_of(key: bytes) -> int:
    """Return the slot of a key: of what is in its first braces, if that is something."""
    _, opened, rest = key.partition(b"{")
    tag, closed, _ = rest.partition(b"}")
    return crc_hqx(tag if opened and closed and tag else key, 0) % SLOTS


class Cluster:
    """What a `Line` is to a single server, to a cluster.

    Args:
        addresses: Of some of its nodes.
        timeout: Seconds for each answer, with all that has to be found out for it.
        hearer: Takes what is published.
        sharded: Channels are those of a shard.
    """

    def __init__(
        self, addresses: Sequence[Address], timeout: float, hearer: Hearer, *, sharded: bool
    ) -> None:
        self._addresses = addresses
        self._timeout = timeout
        self._hearer = hearer
        self._is_sharded = sharded
        self._nursery: trio.Nursery | None = None
        self._lines: dict[Location, Line] = {}
        # Of each range of slots the last one, and who has it.
        self._lasts: list[int] = []
        self._owners: list[Address] = []
        self._homes: dict[bytes, Line] = {}  # of the channels that are wanted
        self._adrift: set[bytes] = set()  # those that their homes do not have, or no more
        self._doubt = trio.Event()
        self._news = trio.Event()
        self._reasons = Reasons()
        self._delays = Reasons()  # of channels, of which there may be thousands
        self._is_over = False

    # Its life

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:  # noqa: ASYNC114  # it is ours
        """Follow the cluster until cancelled; started once its nodes are known.

        Raises:
            BrokerUnavailable: None of them answers.
        """
        self._learn(await self._ask_nodes())
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await self._follow_slots()
        finally:
            self._is_over = True
            self._news.set()

    async def _follow_slots(self) -> None:
        pause = 0.0
        asked_at = trio.current_time()
        while True:
            await self._doubt.wait()
            is_seldom = trio.current_time() > asked_at + LONGEST_PAUSE
            pause = 0.0 if is_seldom else min(max(FIRST_PAUSE, 2 * pause), LONGEST_PAUSE)
            await trio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  # jitter
            asked_at = trio.current_time()
            self._doubt = trio.Event()
            try:
                self._learn(await self._ask_nodes())
            except BrokerUnavailable as exc:
                self._reasons.add("where the slots are is not known", exc)
                self._doubt.set()
            else:
                self._reasons.clear()
                self._settle()

    def _is_in_doubt(self, channel: bytes | None) -> None:
        if channel is not None:
            self._adrift.add(channel)
        self._doubt.set()

    async def _ask_nodes(self) -> Sequence[Any]:
        """Return what the first node says that answers.

        Raises:
            BrokerUnavailable: None does.
        """
        known = list({address.location: address for address in self._owners}.values())
        answers: list[Sequence[Any]] = []
        failures: list[BaseException] = [trio.TooSlowError("no node answers in time")]

        async def ask(address: Address) -> None:
            try:
                answers.append(await _slots_of(address))
                nursery.cancel_scope.cancel(reason="another node has answered")
            except* FAILURES as group:
                failures.extend(leaves_of(group))

        with trio.move_on_after(self._timeout):
            async with trio.open_nursery() as nursery:
                for address in [*random.sample(known, min(ASKED, len(known))), *self._addresses]:
                    nursery.start_soon(ask, address)
        if not answers:
            raise BrokerUnavailable(f"the Redis Cluster cannot be reached: {failures[-1]}")
        return answers[0]

    def _learn(self, ranges: Sequence[Any]) -> None:
        ranges = sorted(ranges, key=lambda served: served[1])
        self._lasts = [last for _, last, *_ in ranges]
        self._owners = [self._addresses[0].at(host, port) for _, _, host, port in ranges]
        self._news.set()
        self._news = trio.Event()

    def _settle(self) -> None:
        """Have channels follow their slots, and let lines go that are of no more use."""
        assert self._nursery is not None, "it is called by `run`"
        adrift, self._adrift = self._adrift, set()
        for channel, home in list(self._homes.items()):
            line = self._line_of(channel)
            if line is None:
                # Nobody has its slot, as far as the node knew that was asked.
                self._is_in_doubt(channel)
            elif line is not home or channel in adrift:
                home.unsubscribe(channel)
                self._homes[channel] = line
                self._nursery.start_soon(self._follow, channel, line)
        owners = {address.location for address in self._owners}
        for location in set(self._lines) - owners:
            self._lines.pop(location).stop()

    async def _follow(self, channel: bytes, line: Line) -> None:
        try:
            await line.subscribe(channel)
        except BrokerUnavailable as exc:
            self._delays.add("a channel has not followed its slot yet", exc)
            self._is_in_doubt(channel)
        else:
            self._delays.clear()
            if self._homes.get(channel) is line:
                self._hearer.connected((channel,))
            else:
                line.unsubscribe(channel)

    # Its lines

    def _line_of(self, key: bytes) -> Line | None:
        owner = self._owner_of(key)
        return None if owner is None else self._line_at(owner)

    def _owner_of(self, key: bytes) -> Address | None:
        place = bisect_left(self._lasts, slot_of(key))
        return self._owners[place] if place < len(self._owners) else None

    def _line_at(self, address: Address) -> Line:
        line = self._lines.get(address.location)
        if line is None:
            assert self._nursery is not None, "it is asked for something while it runs"
            line = self._lines[address.location] = Line(
                address,
                self._timeout,
                self._hearer,
                sharded=self._is_sharded,
                on_doubt=self._is_in_doubt,
            )
            self._nursery.start_soon(line.run)
        return line

    async def _find(self, key: bytes) -> Line:
        while True:
            if self._is_over:
                raise BrokerUnavailable("the session has ended")
            if (line := self._line_of(key)) is not None:
                return line
            await self._hear_news()

    async def _hear_news(self) -> None:
        news = self._news
        self._doubt.set()
        await news.wait()

    # What it is asked for

    def is_connected(self, key: str) -> bool:
        """There is a connection to the node that has this key, or will be when it is asked."""
        owner = self._owner_of(key.encode())
        line = None if owner is None else self._lines.get(owner.location)
        return line is None or line.is_connected()

    async def call(
        self, script: Script, keys: Sequence[str | bytes], *arguments: str | bytes | int
    ) -> Any:
        """Run a script, once, on the node that has its keys.

        Raises:
            BrokerUnavailable: It may have run, or not.
            UnicodeEncodeError: A key or an argument is none that can be sent.
        """
        names, words = encoded(keys), encoded(arguments)
        failure: BaseException | None = None
        with trio.move_on_after(self._timeout):
            while True:
                line, is_asking = await self._find(names[0]), False
                if isinstance(failure, AskError) and not isinstance(failure, MovedError):
                    line, is_asking = self._line_at(self._at(failure)), True
                try:
                    return await line.call(script, names, *words, asking=is_asking)
                except BrokerUnavailable as exc:
                    failure = exc.__cause__
                    if not isinstance(exc, LineEnded) and not isinstance(failure, _NOT_DONE):
                        raise
                if not isinstance(failure, AskError) or isinstance(failure, MovedError):
                    await self._hear_news()
        late = f"no answer within {self._timeout} seconds"
        reason = failure or self._reasons.told_with(late)
        raise BrokerUnavailable(f"Redis: {reason}") from failure

    def _at(self, failure: AskError) -> Address:
        return self._addresses[0].at(failure.host, failure.port)

    async def subscribe(self, channel: bytes) -> None:
        """Hear what is published to a channel from now on, wherever it goes.

        Raises:
            BrokerUnavailable: No server says that it has heard of it.
        """
        try:
            with trio.fail_after(self._timeout):
                while not await self._is_heard_at_home(channel):
                    await self._hear_news()
        except trio.TooSlowError as exc:
            self.unsubscribe(channel)
            what = "Redis did not answer to SUBSCRIBE, or refused"
            raise BrokerUnavailable(self._reasons.told_with(what)) from exc
        except BaseException:
            self.unsubscribe(channel)
            raise

    async def _is_heard_at_home(self, channel: bytes) -> bool:
        line = self._homes[channel] = await self._find(channel)
        try:
            await line.subscribe(channel)
        except BrokerUnavailable:
            return False
        return True

    def unsubscribe(self, channel: bytes) -> None:
        """Hear of a channel no more."""
        home = self._homes.pop(channel, None)
        self._adrift.discard(channel)
        if home is not None:
            home.unsubscribe(channel)


async def _slots_of(address: Address) -> list[tuple[int, int, str, int]]:
    """Ask a node for all ranges of slots, and who serves them.

    Raises:
        RedisError: It is none of a cluster, or knows of no slots.
    """
    async with trio.open_nursery() as nursery:
        connection = await address.connect(nursery)
        ranges: Any = await connection.create_request(b"CLUSTER", b"SLOTS")
        nursery.cancel_scope.cancel(reason="it has answered")
    if not ranges:
        raise RedisError("a node knows of no slots: it is new, or has lost what it knew")
    return list(_read(ranges, address))


def _read(ranges: Iterable[Any], address: Address) -> Iterator[tuple[int, int, str, int]]:
    for first, last, (host, port, *_), *_ in ranges:
        # A node that does not know its own name is the one that was asked.
        here = getattr(address.location, "host", "")
        yield first, last, str(host or b"", "utf-8") or here, port
