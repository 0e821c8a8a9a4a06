"""The topics of this process, and its line to the broker.

A topic exists here while somebody uses it. The broker is told of its first user before that one
has joined, and of the last one some time after it has left: connections end at once, whatever
the broker does, and a task of the hub tidies up behind them.
"""

import os
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeAlias
from uuid import uuid4

import trio

from triows._broker import Broker, BrokerSession, Message, Position, PresenceEvent, Replay
from triows._channels._attempt import Attempt
from triows._channels._echo import Echoes
from triows._channels._membership import Membership
from triows._channels._settings import (
    SettingsTable,
    Since,
    TopicSettings,
    check_overflow,
    check_topic,
)
from triows._channels._statistics import NOTHING, ChannelStatistics, Published
from triows._channels._topic import Topic, summary
from triows._errors import NotRunning, StateError
from triows._groups import tasks_beside
from triows._logs import error_log, log_failure
from triows._outbox import Lane, Overflow, size_of
from triows._types import Data

Chore: TypeAlias = Callable[[BrokerSession], Awaitable[None]]

PROCESSES = "TRIOWS_PROCESSES"
"""The environment variable in which `triows run` tells its workers how many they are."""

ECHO = 5.0
"""Seconds for a publication to come back from the broker, which it has reached."""

DROPS_LOGGED_EVERY = 1.0
"""Seconds between two lines about dropped messages."""

_SPLIT = (
    "this app uses channels and runs in several workers, each of which would have rooms of its "
    "own: run one worker, or give the app a broker for all of them, App(..., broker=...)"
)

_DROPPED = "%d messages of topic %r were dropped: members were too slow"
_DROPPED_OF_MANY = "%d messages of %d topics were dropped, %d of them of %r: members were too slow"


class Hub:
    """What all connections and tasks of an app share of its channels; a `Listener`.

    Args:
        make_broker: Makes the broker, when the app begins to run.
        is_local: It is of one process, so the app must not run in several.
    """

    def __init__(self, make_broker: Callable[[], Broker], *, is_local: bool = False) -> None:
        self.settings: SettingsTable = SettingsTable()
        self._make_broker = make_broker
        self._is_local = is_local
        self._is_split = False
        self._session: BrokerSession | None = None
        self._nursery: trio.Nursery | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._topics: dict[str, Topic] = {}
        self._chores: list[Chore] = []
        self._unused: dict[Topic, None] = {}
        self._work = trio.lowlevel.ParkingLot()
        self._echoes = Echoes()
        self._name = uuid4().hex
        self._published = 0
        self._before = NOTHING  # what topics counted that are no more
        self._drops: Counter[str] = Counter()  # by topic, that were not logged
        self._has_dropped = trio.lowlevel.ParkingLot()

    # Its life

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Hold a session with the broker around a block.

        Raises:
            BrokerUnavailable: The broker cannot be reached.
            StateError: Topics are configured, and the app runs in several processes.
        """
        self._is_split = self._is_local and int(os.environ.get(PROCESSES, "1")) > 1
        if self._is_split and self.settings:
            raise StateError(_SPLIT)
        async with (
            self._make_broker().open(self) as session,
            tasks_beside("the app is shutting down") as nursery,
        ):
            self._session, self._nursery = session, nursery
            self._token = trio.lowlevel.current_trio_token()
            nursery.start_soon(self._tidy_up, session)
            nursery.start_soon(self._keep_logging_drops)
            try:
                yield
            finally:
                self._session = self._nursery = self._token = None
                self._log_drops()
                self._topics.clear()
                self._chores, self._unused = [], {}

    @property
    def is_running(self) -> bool:
        """There is a session."""
        return self._session is not None

    @property
    def session(self) -> BrokerSession:
        """The line to the broker.

        Raises:
            NotRunning: The app is not running.
            StateError: It runs in several processes, and its broker is of one.
        """
        if self._session is None:
            raise NotRunning("channels were used")
        if self._is_split:
            raise StateError(_SPLIT)
        return self._session

    @property
    def nursery(self) -> trio.Nursery:
        """The tasks of this run.

        Raises:
            NotRunning: The app is not running.
        """
        if self._nursery is None:
            raise NotRunning("channels were used")
        return self._nursery

    @property
    def trio_token(self) -> trio.lowlevel.TrioToken:
        """The way into the app's thread from others.

        Raises:
            NotRunning: The app is not running.
        """
        if self._token is None:
            raise NotRunning("channels were used from a thread")
        return self._token

    async def _tidy_up(self, session: BrokerSession) -> None:
        """Tell the broker of members that have left, and of topics that nobody uses any more."""
        while True:
            while not (self._chores or self._unused):
                await self._work.park()
            chores, self._chores = self._chores, []
            unused, self._unused = self._unused, {}
            # Together, so that a thousand of them wait for the broker once.
            async with trio.open_nursery() as nursery:
                for chore in chores:
                    nursery.start_soon(_do, chore, session)
            for topic in unused:
                await _do(partial(self._close, topic), session)

    async def _close(self, topic: Topic, session: BrokerSession) -> None:
        try:
            async with topic.lock:
                if topic.is_live and not topic.users:
                    topic.is_live = False
                    self._echoes.give_up(topic.name)
                    await session.unsubscribe(topic.name)
        finally:
            if not topic.users and self._topics.get(topic.name) is topic:
                del self._topics[topic.name]
                self._note_drops(topic)
                self._before = summary([topic], self._before)

    # Users of topics

    async def enter(self, name: str, overflow: Overflow | None) -> tuple[Topic, Lane]:
        """Use a topic, until `exit`, with a lane of one's own: the topic's policy if None is named.

        Raises:
            BrokerUnavailable: The broker cannot be told.
            ValueError: The name or the policy cannot be.
        """
        settings = self._settings_of(check_topic(name))
        policy = settings.overflow if overflow is None else check_overflow(overflow)
        session = self.session
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = Topic(name, settings, self._catch_up, self._echoes)
        topic.users += 1
        try:
            await trio.lowlevel.checkpoint()
            while not topic.is_live:
                await self._attempt(topic, session).wait()
        except BaseException:
            self.exit(topic)
            raise
        return topic, Lane(policy, settings.capacity, topic.tally)

    def _attempt(self, topic: Topic, session: BrokerSession) -> Attempt:
        attempt = topic.attempt
        if attempt is None:
            nursery = self.nursery
            attempt = topic.attempt = Attempt()
            nursery.start_soon(attempt.run, partial(self._subscribe, topic, session))
        return attempt

    async def _subscribe(self, topic: Topic, session: BrokerSession) -> None:
        try:
            async with topic.lock:
                topic.position = None
                position = await session.subscribe(topic.name, topic.settings.retention)
                topic.position = topic.position or position
                topic.is_live = True
        finally:
            topic.attempt = None

    def _settings_of(self, name: str) -> TopicSettings:
        # One that is in use has found them before.
        topic = self._topics.get(name)
        return self.settings.find(name) if topic is None else topic.settings

    def exit(self, topic: Topic) -> None:
        """Use a topic no more."""
        topic.users -= 1
        # One of a run that has ended is nobody's concern.
        if not topic.users and self._topics.get(topic.name) is topic:
            self._unused[topic] = None
            self._work.unpark_all()

    def do(self, chore: Chore) -> None:
        """Have something done soon, by a task of the hub, in this run."""
        if self._session is not None:
            self._chores.append(chore)
            self._work.unpark_all()

    def _catch_up(self, topic: Topic) -> None:
        self.nursery.start_soon(self._fill_gap, topic, self.session)

    async def _fill_gap(self, topic: Topic, session: BrokerSession) -> None:
        await topic.catch_up(session)
        self.see_drops(topic)

    async def replay(self, topic: Topic, since: Since) -> Replay:
        """Return what the history of a topic has since then."""
        start = since if isinstance(since, Position) else None
        return await self.session.replay(topic.name, start, topic.settings.retention)

    def remove(self, membership: Membership) -> None:
        """Have a topic forget a member, unless it is of a run that has ended."""
        topic = self._topics.get(membership.topic)
        if topic is not None and topic.members.get(membership.port.name) is membership:
            del topic.members[membership.port.name]
            self.exit(topic)

    # Publishing

    async def publish(
        self, name: str, data: Data, *, is_json: bool, exclude: str | None, key: str | None
    ) -> Published:
        """Publish a message; see `Channels.publish`."""
        check_topic(name)
        size_of(data)  # A lone surrogate is our caller's mistake.
        session = self.session
        self._published += 1
        message = Message(
            name, data, f"{self._name}:{self._published}", is_json, key=key, exclude=exclude
        )
        topic = self._topics.get(name)
        if topic is not None and not topic.is_live:
            topic = None  # The broker, which is being told of it, may have the message before.
        echo = self._echoes.expect(message)
        try:
            receipt = await session.publish(message, self._settings_of(name).retention)
            if topic is not None and topic.is_live and not echo.is_heard:
                with trio.move_on_after(ECHO):
                    await echo.wait()
        finally:
            self._echoes.forget(message)
        is_here = topic is not None or echo.is_heard
        remote = None if receipt.sessions is None else max(receipt.sessions - is_here, 0)
        return Published(echo.queued, echo.dropped, remote)

    # From the broker

    def deliver(self, message: Message) -> None:
        """Hand a message to its topic."""
        if (topic := self._topics.get(message.topic)) is not None:
            topic.deliver(message)
            self.see_drops(topic)

    def lapse(self, topic: str) -> None:
        """Have a topic find out what it has missed."""
        if (there := self._topics.get(topic)) is not None and there.is_live:
            there.lapse()

    def presence_changed(self, event: PresenceEvent) -> None:
        """Hand a presence event to its topic."""
        if (topic := self._topics.get(event.topic)) is not None:
            topic.presence_changed(event)
            self.see_drops(topic)

    # What it tells

    def statistics(self, name: str | None = None) -> ChannelStatistics:
        """Return a snapshot, of one topic or of all."""
        if name is not None:
            topic = self._topics.get(name)
            return summary([] if topic is None else [topic], NOTHING)
        return summary(self._topics.values(), self._before)

    def see_drops(self, topic: Topic) -> None:
        """Have it logged, soon, if messages of a topic were dropped."""
        if topic.tally.has_news:
            self._has_dropped.unpark_all()

    async def _keep_logging_drops(self) -> None:
        while True:
            if self._log_drops():
                await trio.sleep(DROPS_LOGGED_EVERY)
            else:
                await self._has_dropped.park()

    def _log_drops(self) -> bool:
        """Log what was dropped, in one line; return whether something was."""
        for topic in self._topics.values():
            self._note_drops(topic)
        drops, self._drops = self._drops, Counter()
        if not drops:
            return False
        ((name, most),) = drops.most_common(1)
        if len(drops) == 1:
            error_log.warning(_DROPPED, most, name)
        else:
            error_log.warning(_DROPPED_OF_MANY, drops.total(), len(drops), most, name)
        return True

    def _note_drops(self, topic: Topic) -> None:
        if topic.tally.has_news:
            self._drops[topic.name] += topic.tally.take_news()


async def _do(chore: Chore, session: BrokerSession) -> None:
    try:
        await chore(session)
    except Exception as exc:
        # It promises to raise nothing here; if it does, that is no reason to end the app.
        log_failure("the broker could not be told of who has left", failure=exc)
