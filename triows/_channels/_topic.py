"""What this process knows of one topic: who is in it, and how far its messages have come.

The messages of a topic with history have positions, and what comes from the broker is handed
on only if it is the next one. After a gap, and when the broker says that there may be one, new
messages wait, what was missed is taken from the history, and then they follow. What is no longer
in the history is not passed over in silence: everybody is told.

The broker calls what is here, or a task of the hub does, and what they raise would end the app. So
a message that cannot be sent is logged and left out, and a broker that fails where the history is
asked is taken for one that does not have it.
"""

from collections.abc import Callable, Iterable

import trio

from triows._broker import BrokerSession, Message, Position, PresenceEvent, Replay, is_after
from triows._channels._attempt import Attempt
from triows._channels._echo import Echoes
from triows._channels._envelope import message_frame, presence_frame
from triows._channels._membership import Membership
from triows._channels._settings import TopicSettings
from triows._channels._statistics import ChannelStatistics
from triows._channels._subscription import Subscription
from triows._errors import BrokerUnavailable
from triows._logs import error_log, log_failure
from triows._outbox import Prepared, Tally

RETRY = 1.0
"""Seconds until a broker is asked again for what was missed. It calls earlier if it can."""

_AHEAD = "%d messages of topic %r were ahead of its history: ignored"


class Topic:
    """A topic that somebody in this process uses.

    Args:
        name: Of the topic.
        settings: Of the topic.
        on_gap: Starts `catch_up` in a task.
        echoes: Told what becomes of messages.

    Attributes:
        users: Members and subscriptions, and those that are about to be.
        position: Of the last message that was handed on.
        delivered: Messages handed to members and subscriptions so far.
        gaps: Times that messages were missed for good so far.
        lock: Held while the broker is told of the first user, or the last.
        attempt: The first user's, to have it told.
        is_live: The broker delivers its messages.
    """

    def __init__(
        self,
        name: str,
        settings: TopicSettings,
        on_gap: Callable[["Topic"], None],
        echoes: Echoes,
    ) -> None:
        self.name = name
        self.settings = settings
        self.users = 0
        self.members: dict[str, Membership] = {}
        self.subscriptions: dict[Subscription[Message], None] = {}
        self.watchers: dict[Subscription[PresenceEvent], None] = {}
        self.position: Position | None = None
        self.tally: Tally = Tally()
        self.delivered: int = 0
        self.gaps: int = 0
        self.lock: trio.Lock = trio.Lock()
        self.attempt: Attempt | None = None
        self.is_live = False
        self._on_gap = on_gap
        self._echoes = echoes
        self._held: list[Message] | None = None  # while a gap is being filled
        self._has_lapsed = False  # since the history was asked
        self._stray: Position | None = None  # of a message of another epoch that could not wait

    # From the broker

    def deliver(self, message: Message) -> None:
        """Hand a message on, if it is its turn."""
        if self._is_next(message):
            self._hand_on(message)
        else:
            # Who has published it does not wait for its turn.
            self._echoes.hear(message, 0, 0)

    def _is_next(self, message: Message) -> bool:
        """Return whether a message has its turn; if it comes later it waits."""
        if self._held is not None:
            self._hold(message)
            return False
        position, last = message.position, self.position
        if not is_after(position, last):
            return False  # It came from the history before.
        if position and last and position != (last.epoch, last.offset + 1):
            self.lapse()
            # If only others have a history of it, it goes on behind the gap.
            if self.settings.history:
                self._hold(message)
                return False
        # One that has none, of a process that knows of no history, hides no gap behind it.
        self.position = position or last
        return True

    def lapse(self) -> None:
        """Hear that messages may have been missed, or who came and went."""
        for watcher in list(self.watchers):
            watcher.lapse()
        if not self.settings.history:
            self._tell_gap(None)
            self._echoes.give_up(self.name)
        elif self._held is not None:
            self._has_lapsed = True
        elif self.position is not None:
            self._held = []
            self._on_gap(self)

    def presence_changed(self, event: PresenceEvent) -> None:
        """Tell who is present of others that come and go."""
        try:
            self._tell_presence(event)
        except Exception as exc:
            said = "the presence of %r in topic %r is left out"
            log_failure(said, event.member, self.name, failure=exc)
        for watcher in list(self.watchers):
            watcher.offer(event)

    def _tell_presence(self, event: PresenceEvent) -> None:
        # With `latest`, what is newest of one member does not replace what is of another.
        frame = Prepared(presence_frame(event), event.member)
        for name, membership in list(self.members.items()):
            if membership.is_present and membership.is_enveloped and name != event.member:
                membership.offer(frame)

    # Fan-out

    def _hand_on(self, message: Message) -> None:
        queued, before = 0, self.tally.dropped
        try:
            queued = self._fan_out(message)
        except Exception as exc:
            log_failure("message %r of topic %r is left out", message.id, self.name, failure=exc)
        self._echoes.hear(message, queued, self.tally.dropped - before)

    def _fan_out(self, message: Message) -> int:
        raw: Prepared | None = None
        enveloped: Prepared | None = None
        count = 0
        exclude = message.exclude
        # A member that is too slow leaves while the others still get it.
        for membership in list(self.members.values()):
            # What need not be asked is not, on the way of each delivery: most have no floor.
            if exclude is not None and membership.port.name == exclude:
                continue
            if membership.is_held:
                # Its floor is for `release`: passed here, it would let older ones through there.
                count += membership.keep(message)
            elif membership.floor is not None and not membership.wants(message.position):
                continue
            elif membership.is_enveloped:
                enveloped = enveloped or Prepared(
                    message_frame(message), message.key, message.is_ordered
                )
                count += membership.offer(enveloped)
            else:
                raw = raw or Prepared(message.data, message.key)
                count += membership.offer(raw)
        for subscription in list(self.subscriptions):
            count += subscription.offer(message)
        self.delivered += count
        return count

    # Gaps

    def _hold(self, message: Message) -> None:
        assert self._held is not None, "messages wait only while a gap is being filled"
        if message.position and self.position and message.position.epoch != self.position.epoch:
            # Only the history knows which of the two is the newer one.
            self._has_lapsed = True
            self._stray = message.position
            return
        if len(self._held) >= self.settings.capacity:
            # They are in the history too, or there is another gap, which will be seen.
            self._held.clear()
        self._held.append(message)

    async def catch_up(self, session: BrokerSession) -> None:
        """Hand on what was missed, from the history, and then what has come meanwhile."""
        self._has_lapsed = True
        while self._has_lapsed:
            self._has_lapsed = False
            # What comes meanwhile may be of something newer than the answer. It is handed on all
            # the same: where there is always something new, none would ever be the last.
            self._go_on(await self._ask(session))
        held, self._held = self._held, None
        assert held is not None, "it is started once a gap"
        for message in held:
            self.deliver(message)

    async def _ask(self, session: BrokerSession) -> Replay:
        while True:
            before = list(self._held or ())
            try:
                replay = await session.replay(self.name, self.position, self.settings.retention)
            except BrokerUnavailable:
                await trio.sleep(RETRY)
            except Exception as exc:
                log_failure("the history of topic %r could not be asked", self.name, failure=exc)
                return Replay((), self._guess(), is_complete=False)
            else:
                self._leave_out(before, replay.position)
                return replay

    def _leave_out(self, before: Iterable[Message], known: Position) -> None:
        """Forget messages that came before the broker was asked, and are ahead of its answer.

        What is missing before them nobody has published, or it would know. Waiting for that, one
        would ask for ever.
        """
        ahead = set()
        for message in before:
            position = message.position
            if position is None or not is_after(position, known):
                continue
            if position == (known.epoch, known.offset + 1):
                known = position
            elif position.epoch == known.epoch:
                ahead.add(id(message))
        if ahead and self._held:
            self._held = [message for message in self._held if id(message) not in ahead]
            error_log.warning(_AHEAD, len(ahead), self.name)

    def _guess(self) -> Position:
        """Return where it goes on, as far as can be told without the history."""
        assert self.position is not None, "there are gaps only behind a position"
        if self._stray is not None:
            return self._stray
        first = next((message.position for message in self._held or () if message.position), None)
        return self.position if first is None else first._replace(offset=first.offset - 1)

    def _go_on(self, replay: Replay) -> None:
        if not replay.is_complete:
            self._tell_gap(replay.start)
        else:
            # The history has every message, but not who came and went.
            for membership in list(self.members.values()):
                membership.tell_presence_gap(replay.start)
        for message in replay.messages:
            self._hand_on(message)
        if self._held and self.position and self.position.epoch != replay.position.epoch:
            self._held.clear()  # They are of a memory that was lost, as everybody was told.
        self.position, self._stray = replay.position, None

    def _tell_gap(self, position: Position | None) -> None:
        self.gaps += 1
        for membership in list(self.members.values()):
            membership.tell_gap(position)
        for subscription in list(self.subscriptions):
            subscription.lapse()


def summary(topics: Iterable[Topic], before: ChannelStatistics) -> ChannelStatistics:
    """Return the numbers of some topics, over the counts of others that are no more."""
    topics = list(topics)
    return ChannelStatistics(
        topics=len(topics),
        members=sum(len(topic.members) for topic in topics),
        subscriptions=sum(len(topic.subscriptions) + len(topic.watchers) for topic in topics),
        delivered=before.delivered + sum(topic.delivered for topic in topics),
        dropped=before.dropped + sum(topic.tally.dropped for topic in topics),
        gaps=before.gaps + sum(topic.gaps for topic in topics),
    )
