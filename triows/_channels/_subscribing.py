"""Topics for code: subscriptions around a block."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from triows._broker import Message, PresenceEvent
from triows._channels._hub import Hub
from triows._channels._settings import Since, parse_since
from triows._channels._subscription import MessageSubscription, Subscription
from triows._channels._topic import Topic
from triows._outbox import Lane, Overflow


@asynccontextmanager
async def subscribe(
    hub: Hub, name: str, since: Since, overflow: Overflow | None
) -> AsyncGenerator[Subscription[Message]]:
    """Have the messages of a topic around a block; see `Channels.subscribe`."""
    since = parse_since(since)
    async with _using(hub, name, overflow) as (topic, lane):
        subscription = MessageSubscription(name, lane)
        topic.subscriptions[subscription] = None
        try:
            if since is not None and topic.settings.history:
                replay = await hub.replay(topic, since)
                subscription.begin(replay.position, replay)
            else:
                subscription.begin(topic.position)
                if since is not None:
                    subscription.lapse()
            yield subscription
        finally:
            del topic.subscriptions[subscription]
            subscription.close()


@asynccontextmanager
async def watch(hub: Hub, name: str) -> AsyncGenerator[Subscription[PresenceEvent]]:
    """Have the presence events of a topic around a block; see `Channels.presence_events`."""
    async with _using(hub, name, None) as (topic, lane):
        watcher: Subscription[PresenceEvent] = Subscription(name, lane)
        topic.watchers[watcher] = None
        try:
            yield watcher
        finally:
            del topic.watchers[watcher]
            watcher.close()


@asynccontextmanager
async def _using(
    hub: Hub, name: str, overflow: Overflow | None
) -> AsyncGenerator[tuple[Topic, Lane]]:
    topic, lane = await hub.enter(name, overflow)
    try:
        yield topic, lane
    finally:
        hub.exit(topic)
