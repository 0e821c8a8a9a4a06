"""How a server is told to let its connections go."""

from typing import Any

import pytest

from triows import Drain


def test_the_defaults() -> None:
    """No notice, batches of 100 in a tenth of a second, 10 s of grace, and 1001."""
    drain = Drain()

    assert (0, 100, 0.1, 10) == (drain.notice, drain.batch, drain.interval, drain.grace)
    assert (1001, "server draining") == (drain.code, drain.reason)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"notice": -1}, "notice must be seconds, not -1"),
        ({"interval": float("nan")}, "interval must be seconds, not nan"),
        ({"grace": -0.1}, "grace must be seconds"),
        ({"batch": 0}, "batch must be a positive number, not 0"),
        ({"batch": 2.5}, r"batch must be a positive number, not 2\.5"),
        ({"code": 1006}, "close code 1006 cannot be sent"),
    ],
    ids=str,
)
def test_what_makes_no_sense(setting: dict[str, Any], message: str) -> None:
    """It is refused at once, and not when the server ends."""
    with pytest.raises(ValueError, match=message):
        Drain(**setting)


def test_a_reason_that_is_too_long() -> None:
    """It is cut on a character to what a close frame can carry (RFC 6455 §5.5)."""
    assert "ä" * 61 == Drain(reason="ä" * 62).reason
