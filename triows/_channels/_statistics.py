"""What channels tell of themselves."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a publication, as far as this process knows.

    Attributes:
        queued: Members and subscriptions of this process that get the message.
        dropped: Messages that slow members of this process do not get because of it:
            this one, or older ones that made room for it.
        remote: Other processes that it was sent to, or None if the broker cannot know.
    """

    queued: int
    dropped: int
    remote: int | None


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """A snapshot of the channels of this process, or of one topic.

    Attributes:
        topics: Topics that are in use.
        members: Connections that have joined, once for each topic.
        subscriptions: Of code: `subscribe` and `presence_events`.
        delivered: Messages handed to members and subscriptions so far.
        dropped: Messages that did not get through to slow ones so far.
        gaps: Times that messages may have been lost between the processes, and were
            not recovered, so far.
    """

    topics: int
    members: int
    subscriptions: int
    delivered: int
    dropped: int
    gaps: int


NOTHING = ChannelStatistics(topics=0, members=0, subscriptions=0, delivered=0, dropped=0, gaps=0)
