"""What one contender did while it was measured."""

from collections.abc import Collection
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Measurement:
    """What happened while the clocks ran.

    Attributes:
        messages: What arrived whole: echoes, deliveries, or connections that came and went.
        seconds: By the clock on the wall.
        server: Seconds of CPU the server took.
        load: Seconds of CPU the load generator took.
        p50: Seconds within which half of the messages were there.
        p99: Seconds within which 99 of a hundred were there.
    """

    messages: int = 0
    seconds: float = 0
    server: float = 0
    load: float = 0
    p50: float = 0
    p99: float = 0

    def __add__(self, other: "Measurement") -> "Measurement":
        return Measurement(
            self.messages + other.messages,
            self.seconds + other.seconds,
            self.server + other.server,
            self.load + other.load,
        )

    def __sub__(self, other: "Measurement") -> "Measurement":
        return Measurement(
            self.messages - other.messages,
            self.seconds - other.seconds,
            self.server - other.server,
            self.load - other.load,
        )

    def timed(self, latencies: Collection[float]) -> "Measurement":
        """Return the same with `p50` and `p99`, which cannot be added or subtracted."""
        ordered = sorted(latencies)
        p50, p99 = (ordered[len(ordered) * percent // 100] for percent in (50, 99))
        return replace(self, p50=p50, p99=p99)

    @property
    def cost(self) -> float:
        """CPU time of the server a message, in µs."""
        return self.server / self.messages * 1e6

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    @property
    def busy(self) -> float:
        """Share of the time that the server had work; near 1, it was the bottleneck."""
        return self.server / self.seconds
