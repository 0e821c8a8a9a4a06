"""How a server lets its connections go."""

from dataclasses import dataclass

from triows._close import GOING_AWAY, check_code, cut_reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """How a server lets its connections go, when it is asked to end.

    It stops listening, tells the handlers by `app.draining` and `websocket.draining`, closes
    the connections in batches, and waits for the handlers; what is left then is cancelled.

    Attributes:
        notice: Seconds that handlers have to end by themselves, before any is closed.
        batch: Connections closed at a time: their clients come back elsewhere, and all at
            once they would be a crowd.
        interval: Seconds between two batches.
        grace: Seconds from the last batch until handlers are cancelled. 10: more than
            `disconnect_grace`, which is what a handler has after its connection ended.
        code: The close code.
        reason: The close reason, cut to 123 bytes.

    Raises:
        ValueError: A time is negative, the batch empty, or the code not one that may be sent.
    """

    notice: float = 0.0
    batch: int = 100
    interval: float = 0.1
    grace: float = 10.0
    code: int = GOING_AWAY
    reason: str = "server draining"

    def __post_init__(self) -> None:
        for name in ("notice", "interval", "grace"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be seconds, not {getattr(self, name)!r}")
        if not (isinstance(self.batch, int) and self.batch > 0):
            raise ValueError(f"batch must be a positive number, not {self.batch!r}")
        check_code(self.code)
        object.__setattr__(self, "reason", cut_reason(self.reason))
