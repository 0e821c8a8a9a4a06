"""The reasons why there is no connection."""

import pytest

from triows.brokers._redis_reasons import MOST, Reasons


def test_reasons(caplog: pytest.LogCaptureFixture) -> None:
    """Each is logged once until there is a connection, and the latest is told."""
    reasons = Reasons()
    assert "late" == reasons.told_with("late")
    for failure in (OSError("no network"), OSError("no server"), OSError("no network")):
        reasons.add("lost", failure)
    assert ["lost: no network", "lost: no server"] == caplog.messages
    assert "late; there is no connection: no network" == reasons.told_with("late")
    reasons.clear()
    assert "late" == reasons.told_with("late")
    reasons.add("lost", OSError())
    assert "lost: OSError" == caplog.messages[2]


def test_many_reasons(caplog: pytest.LogCaptureFixture) -> None:
    """A log is not filled with them."""
    reasons = Reasons()
    for i in range(2 * MOST):
        reasons.add("lost", OSError(f"{i}"))

    assert len(caplog.messages) == MOST
    assert f"late; there is no connection: {2 * MOST - 1}" == reasons.told_with("late")
