"""Topics against a model of them: two processes on one broker, and whatever members do.

The model says which frame every member gets, in which order, and what is dropped of which lane.
Each step ends when all that it has caused has been heard everywhere.
"""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import trio
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from tests.brokers.behaviour import until
from tests.channels.guest import Guest
from triows._broker import Broker
from triows._channels import Hub, Memberships
from triows._channels._settings import TopicSettings
from triows._outbox import OVERFLOWS, Lane, Outbox, Overflow, Prepared
from triows._types import Data

PATIENCE = 10.0
"""Seconds for what happens in one process to be known in the other."""

KEPT = 4  # messages in the history of the topic "kept"; "bare" has none
CAPACITY = 2  # fewer than there are keys

SETTINGS = {
    "kept": TopicSettings(history=KEPT, capacity=CAPACITY),
    "bare": TopicSettings(capacity=CAPACITY),
    "barrier": TopicSettings(),
}


class Peer:
    """A connection whose peer reads, or does not: the transport of one, and its owner.

    Attributes:
        got: What it has read.
        closings: What it was closed with.
    """

    closed = None

    def __init__(self, hub: Hub, name: str) -> None:
        self.id = name
        self.got: list[Data] = []
        self.closings: list[tuple[int, str]] = []
        self.is_blocked = False
        self.memberships = Memberships(hub, self, self, self._lag)  # type: ignore[arg-type]
        self._outbox: Outbox[Prepared] = Outbox(1 << 20)

    def _lag(self, code: int, reason: str) -> None:
        self.closings.append((code, reason))

    async def send(self, message: Data) -> None:
        """Let it read a message."""
        await trio.lowlevel.checkpoint()
        assert not self.is_blocked, "the machine has nobody wait"
        self.got.append(message)

    def send_nowait(self, prepared: Prepared, lane: Lane | None = None) -> bool:
        """Let it read a message, or keep it."""
        if self.is_blocked:
            return self._outbox.put(prepared, lane)
        self.got.append(prepared.message)
        return True

    def read_on(self) -> None:
        """Read what has waited."""
        self.is_blocked = False
        while self._outbox.holds(self._outbox.number):
            self.got.append(self._outbox.take().message)


class Frame(NamedTuple):
    """A frame as the model knows it; the lane tells one membership of a topic from the next."""

    lane: str
    key: str | None
    content: Any


class Belief:
    """What a member of a topic is to the model."""

    def __init__(self, lane: str, overflow: Overflow, *, envelope: bool, is_present: bool) -> None:
        self.lane = lane
        self.overflow = overflow
        self.envelope = envelope
        self.is_present = is_present
        # Of the lane, the one that is to be dropped next first.
        self.waiting: list[Frame] = []


class Model:
    """What a peer should get."""

    def __init__(self, process: int, peer: Peer) -> None:
        self.process = process
        self.peer = peer
        self.joined: dict[str, Belief] = {}
        self.expected: list[Any] = []
        self.queue: list[Frame] = []  # of all lanes, in the order in which they go out
        self.is_lagging = False

    def offer(self, belief: Belief, key: str | None, content: Any) -> tuple[bool, int]:
        """Take a frame; return whether it gets through, and how many do not."""
        frame = Frame(belief.lane, key, content)
        if self.is_lagging:
            return False, 1
        if not self.peer.is_blocked:
            self.expected.append(content)
            return True, 0
        waiting = belief.waiting
        if belief.overflow == "latest":
            for old in waiting:
                if old.key == key:
                    waiting.remove(old)
                    waiting.append(frame)
                    self.queue[self.queue.index(old)] = frame
                    return True, 1
        dropped = 0
        if len(waiting) == CAPACITY:
            if belief.overflow in ("close", "drop_newest"):
                self.is_lagging = belief.overflow == "close"
                return False, 1
            dropped = 1
            self.queue.remove(waiting.pop(0))
        waiting.append(frame)
        self.queue.append(frame)
        return True, dropped

    def tell(self, belief: Belief, content: Any) -> None:
        """Tell it where it stands, which is never dropped."""
        if not self.peer.is_blocked and not self.is_lagging:
            self.expected.append(content)
        elif not self.is_lagging:
            self.queue.append(Frame(belief.lane, None, content))

    def read_on(self) -> None:
        """Expect everything that has waited."""
        self.expected += [frame.content for frame in self.queue]
        self.queue.clear()
        for belief in self.joined.values():
            belief.waiting.clear()


class Numbers:
    """What a process should have counted."""

    def __init__(self) -> None:
        self.delivered = 0
        self.dropped = 0


peers = Bundle[Any]("peers")
topics = st.sampled_from(["kept", "bare"])
processes = st.integers(0, 1)


class ChannelsMachine(RuleBasedStateMachine):
    """Joins, leaves, publications, slow and returning members, in two processes."""

    def __init__(self, make_broker: Callable[[], Broker]) -> None:
        super().__init__()
        self._make_broker = make_broker
        self.guest = Guest(self._world)
        self.members: list[Model] = []
        self.numbers = [Numbers(), Numbers()]
        self.log: list[tuple[str, str | None]] = []  # of "kept": the data, and who is excluded
        self.epoch: str | None = None
        self.names = 0
        self.texts = 0

    @asynccontextmanager
    async def _world(self) -> AsyncGenerator[list[Hub]]:
        hubs = [Hub(self._make_broker), Hub(self._make_broker)]
        for hub in hubs:
            for pattern, settings in SETTINGS.items():
                hub.settings.add(pattern, settings)
        async with hubs[0].running(), hubs[1].running():
            self.walls = [Peer(hub, f"wall {i}") for i, hub in enumerate(hubs)]
            for wall in self.walls:
                await self._join(wall, "barrier", envelope=False, since=None, presence=None)
            yield hubs

    @staticmethod
    async def _join(peer: Peer, topic: str, **how: Any) -> Any:
        return await peer.memberships.join(topic, **{"overflow": None, **how})

    def _name(self) -> str:
        self.names += 1
        return f"{self.names}"

    # What happens

    @initialize(
        target=peers,
        topic=topics,
        overflow=st.sampled_from(OVERFLOWS),
        blocked=st.lists(st.booleans(), min_size=2, max_size=4),
    )
    def begin(self, topic: str, overflow: Overflow, blocked: list[bool]) -> MultipleResults[Model]:
        """Some are there from the beginning, and some of these do not read."""
        models = [self._connect(number % 2) for number in range(len(blocked))]
        for model, is_blocked in zip(models, blocked, strict=True):
            self.join(model, topic, overflow, envelope=False, is_present=False, since=None)
            model.peer.is_blocked = is_blocked
        return multiple(*models)

    @rule(target=peers, process=processes)
    def connect(self, process: int) -> Model:
        """A peer connects."""
        return self._connect(process)

    def _connect(self, process: int) -> Model:
        model = Model(process, Peer(self.guest.world[process], self._name()))
        self.members.append(model)
        return model

    @rule(
        model=peers,
        topic=topics,
        overflow=st.sampled_from(OVERFLOWS),
        envelope=st.booleans(),
        is_present=st.booleans(),
        since=st.none() | st.just(0) | st.tuples(st.booleans(), st.integers(0, 12)),
    )
    def join(  # noqa: PLR0917  # hypothesis names them
        self,
        model: Model,
        topic: str,
        overflow: Overflow,
        envelope: bool,
        is_present: bool,
        since: Any,
    ) -> None:
        """It joins, or comes back; a peer that does not read asks for nothing older."""
        if topic in model.joined:
            return
        if model.peer.is_blocked:
            since = None
        if isinstance(since, tuple):
            is_right, offset = since
            since = (self.epoch if is_right and self.epoch else "another", offset)
        belief = Belief(self._name(), overflow, envelope=envelope, is_present=is_present)
        peer = model.peer
        told = {"name": peer.id} if is_present else None
        joined = self.guest.call(
            lambda: self._join(
                peer, topic, overflow=overflow, envelope=envelope, since=since, presence=told
            )
        )
        self._expect_joined(model, belief, topic, joined, since)
        model.joined[topic] = belief
        if is_present:
            self._tell(topic, "join", model)

    def _expect_joined(
        self, model: Model, belief: Belief, topic: str, joined: Any, since: Any
    ) -> None:
        missed: list[int] = []
        recovered = False
        epoch = offset = None
        if topic == "kept":
            epoch, last = joined.position.epoch, len(self.log)
            if last:
                assert epoch == self.epoch
            self.epoch = epoch
            if since is not None:
                is_known = since == 0 or (since[0] == epoch and since[1] <= last)
                after = since[1] if since and is_known else 0
                missed = list(range(max(after, last - KEPT) + 1, last + 1))
                recovered = is_known and len(missed) == last - after
            offset = last - len(missed)
            assert offset == joined.position.offset
        assert recovered == joined.recovered
        if belief.envelope:
            start = {"topic": topic, "joined": True, "epoch": epoch, "offset": offset}
            model.tell(belief, {**start, "recovered": recovered})
        for number in missed:
            data, exclude = self.log[number - 1]
            if exclude != model.peer.id:
                model.expected.append(self._message(belief, topic, data, number))

    def _message(self, belief: Belief, topic: str, data: str, offset: int | None) -> Any:
        if not belief.envelope:
            return data
        epoch = None if offset is None else self.epoch
        return {"topic": topic, "epoch": epoch, "offset": offset, "data": data}

    @rule(model=peers, topic=topics)
    def leave(self, model: Model, topic: str) -> None:
        """It leaves a topic; what waits for it still goes out."""
        self.guest.call(model.peer.memberships.leave, topic)
        self._gone(model, topic)

    def _gone(self, model: Model, topic: str) -> None:
        belief = model.joined.pop(topic, None)
        if belief is not None and belief.is_present:
            self._tell(topic, "leave", model)

    @rule(model=consumes(peers))
    def disconnect(self, model: Model) -> None:
        """Its connection ends, however."""
        self.members.remove(model)
        model.peer.memberships.end()
        for topic in list(model.joined):
            self._gone(model, topic)

    @rule(
        process=processes,
        topic=topics,
        keys=st.lists(st.sampled_from([None, "a", "b"]), min_size=1, max_size=5),
        exclude=st.none() | peers,
    )
    def publish(
        self, process: int, topic: str, keys: list[str | None], exclude: Model | None
    ) -> None:
        """A process publishes; it is told what became of each message there."""
        for key in keys:
            self._publish(process, topic, key, exclude)

    def _publish(self, process: int, topic: str, key: str | None, exclude: Model | None) -> None:
        self.texts += 1
        text = f"text {self.texts}"
        name = None if exclude is None else exclude.peer.id
        hub = self.guest.world[process]
        published = self.guest.call(
            lambda: hub.publish(topic, text, is_json=False, exclude=name, key=key)
        )
        offset = None
        if topic == "kept":
            self.log.append((text, name))
            offset = len(self.log)
            self.epoch = self.epoch or self._epoch_now()
        before = self.numbers[process].delivered, self.numbers[process].dropped
        for model in self.members:
            belief = model.joined.get(topic)
            if belief is not None and model is not exclude:
                content = self._message(belief, topic, text, offset)
                is_queued, dropped = model.offer(belief, key, content)
                self.numbers[model.process].delivered += is_queued
                self.numbers[model.process].dropped += dropped
        after = self.numbers[process].delivered, self.numbers[process].dropped
        here = published.queued, published.dropped
        assert here == (after[0] - before[0], after[1] - before[1])

    def _epoch_now(self) -> str:
        session = self.guest.world[0].session
        replay = self.guest.call(session.replay, "kept", None, SETTINGS["kept"].retention)
        return replay.position.epoch

    @rule(model=peers)
    def stop_reading(self, model: Model) -> None:
        """It does not read."""
        model.peer.is_blocked = True

    @rule(model=peers)
    def read_on(self, model: Model) -> None:
        """It reads what has waited."""
        model.peer.read_on()
        model.read_on()

    # What is true then

    def _tell(self, topic: str, kind: str, who: Model) -> None:
        name = who.peer.id
        event = {"topic": topic, "presence": kind, "member": name, "data": {"name": name}}
        for model in self.members:
            belief = model.joined.get(topic)
            if model is not who and belief and belief.is_present and belief.envelope:
                self.numbers[model.process].dropped += model.offer(belief, name, event)[1]

    async def _settle(self) -> None:
        """Wait until what was told to the broker has come to both processes."""
        with trio.fail_after(PATIENCE):
            for topic in ("kept", "bare"):
                present = {
                    model.peer.id: {"name": model.peer.id}
                    for model in self.members
                    if topic in model.joined and model.joined[topic].is_present
                }
                for hub in self.guest.world:
                    while await hub.session.presence(topic) != present:
                        await trio.sleep(0.001)
            count = len(self.walls[0].got) + 1
            await self.guest.world[0].publish("barrier", "", is_json=False, exclude=None, key=None)
            await until(lambda: all(len(wall.got) == count for wall in self.walls))

    @invariant()
    def everything_is_as_expected(self) -> None:
        """Each has read what it should, in this order, and each process has counted right."""
        self.guest.call(self._settle)
        for model in self.members:
            got = [json.loads(data) if data[:1] == "{" else data for data in model.peer.got]
            assert model.expected == got
            assert model.is_lagging == bool(model.peer.closings)
            assert {1013} >= {code for code, _ in model.peer.closings}
        walls = len(self.walls[0].got)
        for process, hub in enumerate(self.guest.world):
            now, numbers = hub.statistics(), self.numbers[process]
            joined = [len(model.joined) for model in self.members if model.process == process]
            assert sum(joined) + 1 == now.members
            assert numbers.delivered + walls == now.delivered
            assert (numbers.dropped, 0) == (now.dropped, now.gaps)

    def teardown(self) -> None:
        """Who waits reads on; and when all have gone nothing is left."""
        for model in self.members:
            self.read_on(model)
        self.everything_is_as_expected()
        for model in list(self.members):
            self.disconnect(model)
        self.guest.call(self._settle)
        for wall in self.walls:
            wall.memberships.end()
        self.guest.call(self._wait_forgotten)
        self.guest.close()

    async def _wait_forgotten(self) -> None:
        await until(lambda: not any(hub.statistics().topics for hub in self.guest.world))
        assert [0, 0] == [hub.statistics().members for hub in self.guest.world]
