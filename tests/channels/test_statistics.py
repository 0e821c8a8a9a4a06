"""What channels tell of themselves."""

from dataclasses import FrozenInstanceError

import pytest

from triows._channels._statistics import NOTHING, ChannelStatistics, Published


def test_nothing() -> None:
    """At first every number is 0."""
    assert ChannelStatistics(0, 0, 0, 0, 0, 0) == NOTHING


def test_snapshots_do_not_change() -> None:
    """A snapshot is of a moment."""
    for snapshot in (NOTHING, Published(1, 0, None)):
        with pytest.raises(FrozenInstanceError):
            snapshot.dropped = 7  # type: ignore[misc]
