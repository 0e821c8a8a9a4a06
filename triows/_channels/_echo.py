"""A publication comes back from the broker to who has published it."""

import trio


class Echo:
    """What became of a publication in this process.

    Attributes:
        is_heard: It has come back.
        queued: How many get the message.
        dropped: Messages that made room for it, or did not get through.
    """

    __slots__ = ("_event", "dropped", "is_heard", "queued")

    def __init__(self) -> None:
        self.is_heard = False
        self.queued = 0
        self.dropped = 0
        self._event: trio.Event | None = None

    def hear(self, queued: int, dropped: int) -> None:
        """Hear that it was handed on."""
        self.is_heard = True
        self.queued, self.dropped = queued, dropped
        if self._event is not None:
            self._event.set()

    async def wait(self) -> None:
        """Wait for it to come back."""
        self._event = trio.Event()
        await self._event.wait()
