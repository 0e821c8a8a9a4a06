"""The history of a topic, read from Redis page by page, while others go on to publish.

One answer for all of it would be too large for the connection, which Redis ends when more than a
few megabytes wait there. So what a page says is compared with those before it: when it does not
follow them, since a new epoch has begun, everything is read again; and of messages that do not
follow each other only those are taken that are the newest, as what was between them, and everything
before that, is forgotten by now.
"""

from collections.abc import Iterable

from triows._broker import Message, Position, Replay
from triows.brokers._redis_messages import decode_message, make_position
from triows.brokers._redis_reasons import Reasons


class Reading:
    """What was read of a topic's history so far.

    Args:
        topic: The topic.
        since: After which position, or None for everything.
        rubbish: Of what is no message.

    Attributes:
        position: The next page is what comes after it.
        is_over: All is read that was there when it began, and what has come with that.
    """

    def __init__(self, topic: str, since: Position | None, rubbish: Reasons) -> None:
        self.position = Position("", 0) if since is None else since
        self.is_over = False
        self._topic = topic
        self._rubbish = rubbish
        self._is_known = since is None  # It is known where it begins, and nothing is before that.
        self._start: Position | None = None
        self._until = 0
        self._next = 0
        self._messages: list[Message] = []

    def take(
        self, epoch: bytes, offset: int, after: int, last: int, entries: Iterable[tuple[int, bytes]]
    ) -> None:
        """Take a page.

        Args:
            epoch: Where the topic stands.
            offset: Where the topic stands.
            after: Behind which offset the page begins: that of `position`, or 0 if
                that is not known there.
            last: With which one it ends.
            entries: The offsets of those that are remembered, and what they are.
        """
        start = make_position(epoch, after)
        if self._start is None or start != self.position:
            self._is_known = start == self.position or (self._is_known and self._start is None)
            self._start, self._until, self._next = start, offset, after + 1
            self._messages.clear()
        for number, body in entries:
            self._go_to(number)
            self._next = number + 1
            try:
                message = decode_message(self._topic, body, start._replace(offset=number))
            except Exception as exc:  # Anybody may write there.
                self._rubbish.add(f"{number} of topic {self._topic!r} is no message", exc)
            else:
                self._messages.append(message)
        self._go_to(last + 1)
        self.position = start._replace(offset=last)
        self.is_over = last >= self._until

    def _go_to(self, number: int) -> None:
        if number != self._next:
            self._messages.clear()
        self._next = number

    def result(self) -> Replay:
        """Return all that was read."""
        assert self._start is not None, "a page was read, or it is not over"
        asked = self.position.offset - self._start.offset
        is_complete = self._is_known and len(self._messages) == asked
        return Replay(self._messages, self.position, is_complete)
