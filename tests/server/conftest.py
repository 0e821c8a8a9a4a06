"""A clock for tests in which both ends of every socket are in this process."""

import pytest
import trio.testing


@pytest.fixture
def loopback_clock() -> trio.testing.MockClock:
    """Return a clock that jumps once no socket has had anything for a moment."""
    return trio.testing.MockClock(autojump_threshold=0.02)
