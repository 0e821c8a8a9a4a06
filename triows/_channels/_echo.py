"""A publication comes back from the broker to who has published it."""

import trio

from triows._broker import Message


class Echo:
    """What became of a publication in this process.

    Attributes:
        queued: How many get the message.
        dropped: Messages that made room for it, or did not get through.
        is_heard: It has come back.
    """

    __slots__ = ("_publisher", "dropped", "is_heard", "queued")

    def __init__(self) -> None:
        self.queued: int = 0
        self.dropped: int = 0
        self.is_heard: bool = False
        self._publisher: trio.lowlevel.ParkingLot | None = None  # most never wait

    def hear(self, queued: int, dropped: int) -> None:
        """Hear that it was handed on."""
        self.queued, self.dropped, self.is_heard = queued, dropped, True
        self.give_up()

    def give_up(self) -> None:
        """Let nobody wait for it any longer."""
        if self._publisher is not None:
            self._publisher.unpark_all()

    async def wait(self) -> None:
        """Wait, while it is not heard, for it to come back or to be given up. One task may."""
        self._publisher = trio.lowlevel.ParkingLot()
        await self._publisher.park()


class Echoes:
    """The publications of this process that are on their way."""

    def __init__(self) -> None:
        self._topics: dict[str, dict[str, Echo]] = {}

    def expect(self, message: Message) -> Echo:
        """Begin to listen for one, until `forget`."""
        echo = Echo()
        self._topics.setdefault(message.topic, {})[message.id] = echo
        return echo

    def forget(self, message: Message) -> None:
        """Listen for it no more."""
        expected = self._topics[message.topic]
        del expected[message.id]
        if not expected:
            del self._topics[message.topic]

    def hear(self, message: Message, queued: int, dropped: int) -> None:
        """Hear what became of a message; if it comes twice, the first time it counts."""
        if (expected := self._topics.get(message.topic)) is not None:
            echo = expected.get(message.id)
            if echo is not None and not echo.is_heard:
                echo.hear(queued, dropped)

    def give_up(self, topic: str) -> None:
        """Let nobody wait any longer for what was published to a topic: it may never come."""
        for echo in self._topics.get(topic, {}).values():
            echo.give_up()
