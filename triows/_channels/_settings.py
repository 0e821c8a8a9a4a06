"""What an app says of its topics, by patterns of their names."""

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from triows._broker import Position, Retention
from triows._errors import StateError
from triows._outbox import OVERFLOWS, Overflow

LONGEST_NAME = 255
"""Bytes of a topic's name: brokers make names of their own from it, for every process to keep."""

MOST = 10**9
"""Seconds of a `ttl`, some thirty years, or messages of a history: brokers reckon with no more."""

_SURROGATE = re.compile("[\ud800-\udfff]")
"""What JSON of a peer may have, and no broker can be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSettings:
    """How a topic is.

    Attributes:
        history: Messages that are remembered; 0 for none.
        ttl: Seconds for which each is remembered.
        overflow: What happens to a member that is too slow.
        capacity: Messages that may wait for one member.

    Raises:
        ValueError: One of them cannot be.
    """

    history: int = 0
    ttl: float = 300.0
    overflow: Overflow = "close"
    capacity: int = 1000

    def __post_init__(self) -> None:
        if not isinstance(self.history, int) or not 0 <= self.history <= MOST:
            raise ValueError(f"history is a number of messages up to {MOST}, not {self.history!r}")
        if not isinstance(self.capacity, int) or self.capacity < 1:
            raise ValueError(f"capacity is a positive number of messages, not {self.capacity!r}")
        if not isinstance(self.ttl, int | float) or not 0 < self.ttl <= MOST:
            raise ValueError(f"ttl is a positive number of seconds up to {MOST}, not {self.ttl!r}")
        check_overflow(self.overflow)

    @property
    def retention(self) -> Retention | None:
        """What brokers are told; None for a topic without history."""
        return Retention(self.history, self.ttl) if self.history else None


def check_overflow(overflow: Overflow) -> Overflow:
    """Return a policy that there is.

    Raises:
        ValueError: There is no such policy.
    """
    if overflow not in OVERFLOWS:
        raise ValueError(f"overflow is one of {', '.join(OVERFLOWS)}, not {overflow!r}")
    return overflow


DEFAULTS = TopicSettings()
"""How a topic is that nothing is said of."""

Since: TypeAlias = Position | tuple[str, int] | Literal[0] | None
"""From where on older messages are wanted: after a position, 0 for all there are, None for none."""


def parse_since(since: Since) -> Position | Literal[0] | None:
    """Return a position, 0 or None.

    Raises:
        ValueError: It is none of these.
    """
    if since is None or (since == 0 and since is not False):
        return since
    if isinstance(since, tuple) and len(since) == 2:
        epoch, offset = since
        is_name = isinstance(epoch, str) and not _SURROGATE.search(epoch)
        if is_name and isinstance(offset, int) and 0 <= offset < 2**63:
            return Position(epoch, offset)
    raise ValueError(f"since is (epoch, offset) of a message, 0 or None, not {since!r:.200}")


def check_topic(name: str) -> str:
    """Return a name that a topic may have.

    Raises:
        ValueError: It is empty, too long, or no text.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"a topic is named by a text that is not empty, not by {name!r}")
    if len(name.encode(errors="surrogatepass")) > LONGEST_NAME or not name.isprintable():
        raise ValueError(
            f"a topic's name has at most {LONGEST_NAME} bytes and no control characters: "
            f"{name[:80]!r}"
        )
    return name


class SettingsTable:
    """The settings of all topics: the first pattern that was declared and matches counts."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[re.Pattern[str], TopicSettings]] = {}

    def __bool__(self) -> bool:
        """Whether anything was declared."""
        return bool(self._rows)

    def add(self, pattern: str, settings: TopicSettings) -> None:
        """Declare the settings of the topics that a pattern matches.

        Raises:
            StateError: The pattern was declared before.
        """
        check_topic(pattern)
        if pattern in self._rows:
            raise StateError(f"the topics {pattern!r} were configured before")
        regex = ".*".join(map(re.escape, pattern.split("*")))
        self._rows[pattern] = (re.compile(regex), settings)

    def find(self, topic: str) -> TopicSettings:
        """Return the settings of a topic."""
        for regex, settings in self._rows.values():
            if regex.fullmatch(topic):
                return settings
        return DEFAULTS
