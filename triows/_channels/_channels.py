"""What an app and its handlers see of topics."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Protocol

import trio

from triows._broker import Message, PresenceEvent
from triows._channels._hub import Hub
from triows._channels._membership import Joined, Owner
from triows._channels._settings import DEFAULTS, Since, TopicSettings, check_topic
from triows._channels._statistics import ChannelStatistics, Published
from triows._channels._subscribing import subscribe, watch
from triows._channels._subscription import Subscription
from triows._codecs import encode_json
from triows._errors import StateError
from triows._outbox import Overflow
from triows._transport import as_message
from triows._types import Data


class Joiner(Protocol):
    """What a `WebSocket` is to `Channels.join`."""

    async def join(
        self,
        topic: str,
        *,
        envelope: bool,
        since: Since,
        presence: Any,
        overflow: Overflow | None,
    ) -> Joined:
        """Become a member of a topic."""

    async def leave(self, topic: str) -> None:
        """Be a member no more."""


class Channels:
    """The topics of an app: `app.channels`, or `channels` where the app is running.

    A topic is a name, up to 255 bytes. It exists as long as somebody has joined it or
    its history remembers something; publishing to one that nobody has joined is fine.
    """

    def __init__(self, hub: Hub, current: Callable[[], Joiner]) -> None:
        self._hub = hub
        self._current = current

    def configure(
        self,
        pattern: str,
        *,
        history: int = DEFAULTS.history,
        ttl: float = DEFAULTS.ttl,
        overflow: Overflow = DEFAULTS.overflow,
        capacity: int = DEFAULTS.capacity,
    ) -> None:
        """Say how topics are, before the app runs; the first pattern that matches counts.

        All processes of an app are to say the same.

        Args:
            pattern: A topic's name, where each `*` stands for anything.
            history: Messages that are remembered for those who come back; 0: none.
            ttl: Seconds for which each is remembered. 300: for a reload or a tunnel.
            overflow: What happens to a member that is too slow: it is closed with 1013
                (`"close"`); messages are dropped, the ones that have waited longest
                (`"drop_oldest"`) or the new ones (`"drop_newest"`); or only the newest
                of each `key` waits (`"latest"`).
            capacity: Messages that may wait for one member. Its connection's
                `outbox_bytes` is a bound too.

        Raises:
            StateError: The app is running, or the pattern was configured before.
            ValueError: One of the settings cannot be.
        """
        if self._hub.is_running:
            raise StateError("topics are configured before the app runs, where routes are declared")
        settings = TopicSettings(history=history, ttl=ttl, overflow=overflow, capacity=capacity)
        self._hub.settings.add(pattern, settings)

    async def join(
        self,
        topic: str,
        *,
        envelope: bool = False,
        since: Since = None,
        presence: Any = None,
        overflow: Overflow | None = None,
    ) -> Joined:
        """Make the current connection a member of a topic; see `WebSocket.join`.

        Raises:
            OutsideConnection: The current task belongs to no connection.
        """
        return await self._current().join(
            topic, envelope=envelope, since=since, presence=presence, overflow=overflow
        )

    async def leave(self, topic: str) -> None:
        """Make the current connection leave a topic; see `WebSocket.leave`.

        Raises:
            OutsideConnection: The current task belongs to no connection.
        """
        await self._current().leave(topic)

    async def publish(
        self,
        topic: str,
        message: Data | bytearray | memoryview,
        *,
        exclude: Owner | None = None,
        key: str | None = None,
    ) -> Published:
        """Send a message to everybody who has joined a topic, in every process.

        It is encoded once, and waits for no member: what becomes of one that is too slow
        the topic's overflow policy says. Pipes do not see it. Messages of one task reach
        each member in the order of the calls.

        Cancelled, it was published or not.

        Args:
            topic: The topic.
            message: Text, or anything like bytes.
            exclude: The connection that does not get it, as `websocket`.
            key: What it is about, for the overflow policy `"latest"`.

        Raises:
            NotRunning: The app is not running.
            BrokerUnavailable: The broker cannot be reached; the message may have gone out.
            TypeError: The message is neither text nor bytes: see `publish_json`. Or the key
                is no text.
        """
        return await self._publish(topic, as_message(message), exclude, key, is_json=False)

    async def publish_json(
        self,
        topic: str,
        value: Any,
        *,
        exclude: Owner | None = None,
        key: str | None = None,
    ) -> Published:
        """Like `publish`, but encodes the value as JSON; in an envelope it is the data itself."""
        return await self._publish(topic, encode_json(value), exclude, key, is_json=True)

    async def _publish(
        self, topic: str, data: Data, exclude: Owner | None, key: str | None, *, is_json: bool
    ) -> Published:
        if not isinstance(key, str | None):
            raise TypeError(f"a key is text, not {type(key).__name__}")
        name = None if exclude is None else exclude.id
        return await self._hub.publish(topic, data, is_json=is_json, exclude=name, key=key)

    def subscribe(
        self, topic: str, *, since: Since = None, overflow: Overflow | None = None
    ) -> AbstractAsyncContextManager[Subscription[Message]]:
        """Receive what is published to a topic, in code; to be used with `async with`.

        Args:
            topic: The topic.
            since: Begin with what its history has after this position, or 0 for all.
                If messages are missing, the first `receive` raises `SubscriptionLagged`.
            overflow: The topic's, if it is None. With `"close"` a subscription that is
                too slow ends with `SubscriptionLagged`.

        Raises:
            NotRunning: The app is not running.
            BrokerUnavailable: The broker cannot be reached.
        """
        return subscribe(self._hub, topic, since, overflow)

    def presence_events(
        self, topic: str
    ) -> AbstractAsyncContextManager[Subscription[PresenceEvent]]:
        """Receive who comes and goes in a topic; to be used with `async with`.

        After `SubscriptionLagged` ask `presence` for the truth.

        Raises:
            NotRunning: The app is not running.
            BrokerUnavailable: The broker cannot be reached.
        """
        return watch(self._hub, topic)

    async def presence(self, topic: str) -> Mapping[str, Any]:
        """Return who is present in a topic, in all processes: what they told, by connection `id`.

        Those are there who have joined with `presence=`. A process that was killed
        leaves its members behind for as long as the broker's lease.

        Raises:
            NotRunning: The app is not running.
            BrokerUnavailable: The broker cannot be reached.
        """
        return await self._hub.session.presence(check_topic(topic))

    def statistics(self, topic: str | None = None) -> ChannelStatistics:
        """Return a snapshot of this process: of one topic, or of all."""
        return self._hub.statistics(topic)

    @property
    def from_thread(self) -> "ThreadChannels":
        """What other threads may use: `publish` and `publish_json`, which block there.

        Raises:
            NotRunning: The app is not running.
        """
        return ThreadChannels(self, self._hub.trio_token)


class ThreadChannels:
    """Publishing from a thread that is not Trio's; each call waits for the answer."""

    def __init__(self, channels: Channels, token: trio.lowlevel.TrioToken) -> None:
        self._channels = channels
        self._token = token

    def publish(
        self, topic: str, message: Data | bytearray | memoryview, *, key: str | None = None
    ) -> Published:
        """Like `Channels.publish`.

        Raises:
            RuntimeError: It was called in Trio's own thread: await `publish` there.
            NotRunning, trio.RunFinishedError: The app has ended.
        """
        publish = partial(self._channels.publish, topic, message, key=key)
        return trio.from_thread.run(publish, trio_token=self._token)

    def publish_json(self, topic: str, value: Any, *, key: str | None = None) -> Published:
        """Like `Channels.publish_json`; see `publish`."""
        publish = partial(self._channels.publish_json, topic, value, key=key)
        return trio.from_thread.run(publish, trio_token=self._token)
