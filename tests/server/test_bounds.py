"""What hypercorn's config says of WebSockets, and a route's own limits."""

import pytest
from hypercorn.config import Config

from triows import Limits
from triows.server._bounds import limits_of, within


def config(**settings: object) -> Config:
    """Return a config with these settings."""
    return Config.from_mapping(settings)


def test_limits_of_apps_without() -> None:
    """Messages are bounded as under hypercorn; pings, which it has not by default, as ours."""
    limits = limits_of(config())

    assert Limits(max_message_size=16 * 1024 * 1024) == limits


def test_limits_of_apps_with_a_config() -> None:
    """Both settings of the config are theirs."""
    limits = limits_of(config(websocket_max_message_size=100, websocket_ping_interval=3))

    assert Limits(max_message_size=100, ping_interval=3) == limits


@pytest.mark.parametrize("name", ["websocket_max_message_size", "websocket_ping_interval"])
def test_a_config_that_makes_no_sense(name: str) -> None:
    """It is refused."""
    with pytest.raises(ValueError, match="must be a positive"):
        limits_of(config(**{name: 0}))


def test_messages_of_a_route() -> None:
    """The smaller bound counts, whoever has it, and whether it was named or not."""
    bounds = limits_of(config(websocket_max_message_size=2000))

    assert 1000 == within(Limits(max_message_size=1000), bounds).max_message_size
    assert 2000 == within(Limits(max_message_size=3000), bounds).max_message_size
    assert 2000 == within(Limits(), bounds).max_message_size
    assert 1024 * 1024 == within(Limits(), limits_of(config())).max_message_size


def test_pings_of_a_route() -> None:
    """The config's interval is for a route without one; a default is not one."""
    bounds = limits_of(config(websocket_ping_interval=3))

    assert 3 == within(Limits(idle_timeout=60), bounds).ping_interval
    assert 20 == within(Limits(ping_interval=20), bounds).ping_interval
    assert 20 == within(Limits(), limits_of(config())).ping_interval


def test_the_rest_is_the_route_s() -> None:
    """Nothing else changes."""
    bounds = limits_of(config(websocket_max_message_size=100, websocket_ping_interval=3))
    limits = within(Limits(idle_timeout=60, outbox_bytes=7), bounds)

    assert Limits(idle_timeout=60, outbox_bytes=7, max_message_size=100, ping_interval=3) == limits


def test_limits_that_fit_are_not_copied() -> None:
    """It costs a handshake nothing."""
    limits = Limits(idle_timeout=60)

    assert limits is within(limits, limits_of(config()))
