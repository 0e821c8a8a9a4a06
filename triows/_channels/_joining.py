"""Connections that join topics and leave them, in any task and at any moment.

A membership ends at once, for whoever is first to end it: `leave` in another task, the end of the
connection, or `join` itself that fails or is cancelled. What is still on its way then comes to
nothing. A `join` that was overtaken returns as if the other had come right behind it.

What a broker is told of one connection's presence, it is told one thing at a time. Where it may
have the connection present, and should not, the topic is in `Port.stale` until it was told so; that
is done by `leave`, or before the connection is present again, or by the hub behind both. So nobody
who is cancelled leaves a ghost, and nobody who comes back at once is taken for the one who left.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import trio

from triows._broker import BrokerSession
from triows._channels._hub import Hub
from triows._channels._membership import Joined, Membership, Port
from triows._channels._settings import Since, parse_since
from triows._channels._topic import Topic
from triows._codecs import decode_json, encode_json
from triows._errors import InvalidMessage
from triows._outbox import Overflow

DEEPEST = 32
"""Levels of lists and dicts in what a connection tells of itself."""


async def join(
    hub: Hub,
    port: Port,
    name: str,
    *,
    envelope: bool,
    since: Since,
    presence: Any,
    overflow: Overflow | None,
) -> Joined:
    """Make a connection a member of a topic; see `WebSocket.join`."""
    presence = _copy_of(presence)
    since = parse_since(since)
    topic, lane = await hub.enter(name, overflow)
    if port.is_closed or name in port.memberships:
        hub.exit(topic)
        raise port.refusal(name)
    membership = Membership(port, name, lane, is_enveloped=envelope)
    topic.members[port.name] = port.memberships[name] = membership
    try:
        joined = await _begin(hub, topic, membership, since)
        hub.see_drops(topic)
        if presence is not None:
            await _appear(hub, membership, presence)
    except BaseException:
        forget(hub, membership)
        raise
    if port.is_closed:
        raise port.refusal(name)
    return joined


def _copy_of(presence: Any) -> Any:
    """Return what others are told, as it is now: nobody changes it any more.

    Raises:
        TypeError: It has no JSON form.
        ValueError: It is nested too deeply. What is close to the limits of an encoder
            would be beyond them in a frame, where it is nobody's mistake any more.
    """
    try:
        copy = decode_json(encode_json(presence))
    except InvalidMessage as exc:
        raise ValueError(f"presence cannot be read again: {exc}") from exc
    level = [copy]
    for _ in range(DEEPEST):
        level = [item for value in level for item in _items_of(value)]
    if any(_items_of(value) for value in level):
        raise ValueError(f"presence has at most {DEEPEST} levels of lists and dicts")
    return copy


def _items_of(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()


async def _begin(hub: Hub, topic: Topic, membership: Membership, since: Since) -> Joined:
    if since is None or not topic.settings.history:
        joined = Joined(topic.name, topic.position, recovered=False)
        if not membership.begin(joined.position):
            membership.hold()
            await membership.send_position(joined)
            membership.release()
        return joined
    membership.hold()
    replay = await hub.replay(topic, since)
    membership.floor = replay.position
    joined = Joined(topic.name, replay.start, recovered=replay.is_complete)
    await membership.send_position(joined)
    for message in replay.messages:
        if membership.has_left:
            break
        await membership.send(message)
    membership.release()
    return joined


async def _appear(hub: Hub, membership: Membership, data: Any) -> None:
    port, name = membership.port, membership.topic
    session = hub.session
    async with port.turn:
        await _take_back(port, name, session)
        if not membership.has_left:
            membership.is_present = True  # or it may be, from now on
            await session.enter(name, port.name, data)


async def leave(hub: Hub, port: Port, name: str) -> None:
    """End a membership, and tell the broker; cancelled, the hub does that behind it."""
    membership = port.memberships.get(name)
    if membership is not None:
        forget(hub, membership)
    if name in port.stale and hub.is_running:
        await _disappear(port, name, hub.session)
    else:
        await trio.lowlevel.checkpoint()


def forget(hub: Hub, membership: Membership) -> None:
    """End a membership now, if it has not ended."""
    if membership.has_left:
        return
    membership.has_left = True
    port, name = membership.port, membership.topic
    del port.memberships[name]
    if membership.is_present:
        port.stale.add(name)
        hub.do(partial(_disappear, port, name))
    hub.remove(membership)


def end(hub: Hub, port: Port) -> None:
    """End all memberships of a connection that has ended; it joins nothing any more."""
    port.is_closed = True
    for membership in list(port.memberships.values()):
        forget(hub, membership)


async def _disappear(port: Port, name: str, session: BrokerSession) -> None:
    async with port.turn:
        await _take_back(port, name, session)


async def _take_back(port: Port, name: str, session: BrokerSession) -> None:
    if name in port.stale:
        await session.leave(name, port.name)
        port.stale.discard(name)
