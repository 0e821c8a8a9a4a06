"""A publication comes back from the broker to who has published it."""

import trio


class Echo:
    """What became of a publication in this process.

    Attributes:
        queued: How many get the message.
        dropped: Messages that made room for it, or did not get through.
    """

    __slots__ = ("_heard", "dropped", "queued")

    def __init__(self) -> None:
        self.queued = 0
        self.dropped = 0
        self._heard = trio.Event()

    @property
    def is_heard(self) -> bool:
        """It has come back."""
        return self._heard.is_set()

    def hear(self, queued: int, dropped: int) -> None:
        """Hear that it was handed on."""
        self.queued, self.dropped = queued, dropped
        self._heard.set()

    async def wait(self) -> None:
        """Wait for it to come back."""
        await self._heard.wait()
