"""What one contender did while it was measured."""

from dataclasses import astuple, dataclass
from operator import add, sub


@dataclass(frozen=True, slots=True)
class Measurement:
    """What happened while the clocks ran.

    Attributes:
        messages: Echoes that arrived whole.
        seconds: By the clock on the wall.
        server: Seconds of CPU the server took.
        load: Seconds of CPU the load generator took.
    """

    messages: int = 0
    seconds: float = 0
    server: float = 0
    load: float = 0

    def __add__(self, other: "Measurement") -> "Measurement":
        return Measurement(*map(add, astuple(self), astuple(other)))

    def __sub__(self, other: "Measurement") -> "Measurement":
        return Measurement(*map(sub, astuple(self), astuple(other)))

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
