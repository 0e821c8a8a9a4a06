"""Connections that exist only as far as topics know them."""

from triows._outbox import Lane, Prepared


class Taking:
    """A transport that takes everything."""

    closed = None

    def __init__(self) -> None:
        self.taken: list[str | bytes] = []

    def send_nowait(self, prepared: Prepared, lane: Lane | None = None) -> bool:
        """Take it."""
        self.taken.append(prepared.message)
        return True


class Somebody:
    """A connection's owner."""

    id = "somebody"
