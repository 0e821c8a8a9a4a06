"""Topics against a model, with both brokers."""

from uuid import uuid4

import trio
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.brokers.redis_server import redis_server
from tests.channels.machine import ChannelsMachine
from triows.brokers import MemoryBroker, RedisBroker


def test_memory() -> None:
    """The broker of one process does what the model says, whatever members do."""

    def machine() -> ChannelsMachine:
        broker = MemoryBroker()
        return ChannelsMachine(lambda: broker)

    run_state_machine_as_test(machine, settings=bounded(100))  # type: ignore[arg-type]  # it is called


def test_redis() -> None:
    """So does Redis, with a line of each process."""

    def machine() -> ChannelsMachine:
        prefix = uuid4().hex
        return ChannelsMachine(lambda: RedisBroker(redis.url, prefix=prefix))

    with redis_server() as redis:
        trio.run(redis.wait_started)
        run_state_machine_as_test(machine, settings=bounded(25))  # type: ignore[arg-type]  # it is called


def bounded(examples: int) -> settings:
    """Return how much is tried."""
    slow = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    return settings(
        max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=slow
    )
