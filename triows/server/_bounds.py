"""What hypercorn's config says of WebSockets, beside the limits of a route."""

from hypercorn.config import Config

from triows._limits import Limits


def limits_of(config: Config) -> Limits:
    """Return the limits of apps that bring none: hypercorn's for messages, ours for the rest.

    Raises:
        ValueError: The config has a bound that is not a positive number.
    """
    limits = Limits(max_message_size=config.websocket_max_message_size)
    if config.websocket_ping_interval is None:
        return limits
    return Limits(ping_interval=config.websocket_ping_interval).over(limits)


def within(limits: Limits, bounds: Limits) -> Limits:
    """Return a route's limits, as far as those of the config let them go.

    As under hypercorn, nobody gets a larger message than its `websocket_max_message_size`;
    its `websocket_ping_interval` is for whoever has not named one.
    """
    if limits.max_message_size > bounds.max_message_size:
        limits = Limits(max_message_size=bounds.max_message_size).over(limits)
    if "ping_interval" in bounds._named - limits._named:
        limits = Limits(ping_interval=bounds.ping_interval).over(limits)
    return limits
