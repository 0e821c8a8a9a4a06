"""The bounds of a connection."""

import copy
import inspect
import math
import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triows._limits import Limits

NAMES = [bound.name for bound in fields(Limits) if bound.init]
COUNTS = ["max_message_size", "inbox_messages", "inbox_bytes", "outbox_bytes", "max_connections"]
SECONDS = [name for name in NAMES if name not in COUNTS]
OPTIONAL = ["idle_timeout", "max_lifetime", "max_connections"]


def named(bounds: Mapping[str, Any]) -> Limits:
    """Return limits of which exactly these are named."""
    return Limits(**bounds)


some_limits = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 9)).map(named)


def test_defaults() -> None:
    """Nothing has to be set, and everything but a connection's age is bounded."""
    expected = {
        "accept_timeout": 10,
        "disconnect_grace": 5,
        "stall_timeout": 60,
        "idle_timeout": None,
        "max_lifetime": None,
        "close_timeout": 5,
        "pipe_close_timeout": 5,
        "send_timeout": 20,
        "ping_interval": 20,
        "ping_timeout": 20,
        "max_message_size": 1024 * 1024,
        "inbox_messages": 64,
        "inbox_bytes": 1024 * 1024,
        "outbox_bytes": 1024 * 1024,
        "max_connections": None,
    }

    assert expected == {name: getattr(Limits(), name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_bound_is_explained(name: str) -> None:
    """The docstring says of every bound what it is, in seconds, bytes, messages or connections."""
    assert f"\n    {name}: " in (inspect.getdoc(Limits) or "")


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [0.001, 1, math.inf])
def test_seconds(name: str, value: float) -> None:
    """A time is a positive number; for ever is one."""
    assert value == getattr(named({name: value}), name)


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [0, -1, math.nan, True, "10"])
def test_not_seconds(name: str, value: object) -> None:
    """A time that would never or always have passed is refused, and so is what is no number."""
    with pytest.raises(ValueError, match=f"{name} must be a positive number of seconds, not "):
        named({name: value})


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -1, 1.0, math.inf, True, "10"])
def test_not_a_count(name: str, value: object) -> None:
    """A count is a positive integer: every buffer has a bound."""
    with pytest.raises(ValueError, match=f"{name} must be a positive integer, not "):
        named({name: value})


@pytest.mark.parametrize("name", NAMES)
def test_none(name: str) -> None:
    """Only what protects nobody from anybody may be turned off with None."""
    if name in OPTIONAL:
        assert None is getattr(named({name: None}), name)
    else:
        with pytest.raises(ValueError, match=f"{name} must be a positive .*, not None"):
            named({name: None})


def test_unknown_bound() -> None:
    """A bound that does not exist is a mistake, not ignored."""
    with pytest.raises(TypeError, match="idle_timout"):
        named({"idle_timout": 60})


def test_frozen() -> None:
    """Limits do not change while connections live by them."""
    with pytest.raises(FrozenInstanceError):
        Limits().idle_timeout = 60  # type: ignore[misc]


def test_route_goes_over_app() -> None:
    """A route names what differs from the app's limits; the rest is the app's."""
    app = Limits(idle_timeout=60, send_timeout=5)
    route = Limits(idle_timeout=10)

    assert Limits(idle_timeout=10, send_timeout=5) == route.over(app)


def test_naming_a_default() -> None:
    """A route can go back to a default by naming it, None included."""
    app = Limits(idle_timeout=60, send_timeout=5)

    assert Limits() == Limits(idle_timeout=None, send_timeout=20).over(app)


@given(some_limits, some_limits, some_limits)
def test_layers(a: Limits, b: Limits, c: Limits) -> None:
    """With several layers it does not matter which two are put together first."""
    assert a.over(b.over(c)) == a.over(b).over(c)


@given(some_limits)
def test_over_nothing(limits: Limits) -> None:
    """Limits over limits that name nothing, and the other way round, are the same limits."""
    assert limits == limits.over(Limits()) == Limits().over(limits)


@pytest.mark.parametrize("copied", [copy.copy, lambda limits: pickle.loads(pickle.dumps(limits))])  # noqa: S301
def test_copies(copied: Any) -> None:
    """A copy, also in another process, remembers what was named."""
    limits: Limits = copied(Limits(send_timeout=20))

    assert 20 == limits.over(Limits(send_timeout=5)).send_timeout


def test_repr_is_code() -> None:
    """What limits print can be pasted back."""
    limits = Limits(idle_timeout=60)

    assert limits == eval(repr(limits), {"Limits": Limits})  # noqa: S307
