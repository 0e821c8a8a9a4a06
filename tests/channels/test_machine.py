"""Topics against a model, with both brokers."""

from collections.abc import Generator
from uuid import uuid4

import pytest
import trio
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.brokers.redis_server import RedisServer, redis_server
from tests.channels.machine import ChannelsMachine
from triows.brokers import MemoryBroker, RedisBroker


@pytest.fixture(scope="module")
def redis() -> Generator[RedisServer]:
    """A server."""
    with redis_server() as server:
        yield server


def test_memory() -> None:
    """The broker of one process does what the model says, whatever members do."""

    class Machine(ChannelsMachine):
        def __init__(self) -> None:
            broker = MemoryBroker()
            type(self).make_broker = lambda: broker
            super().__init__()

    run_state_machine_as_test(Machine, settings=bounded(200))


def test_redis(redis: RedisServer) -> None:
    """So does Redis, with a line of each process."""
    trio.run(redis.wait_started)

    class Machine(ChannelsMachine):
        def __init__(self) -> None:
            prefix = uuid4().hex
            type(self).make_broker = lambda: RedisBroker(redis.url, prefix=prefix)
            super().__init__()

    run_state_machine_as_test(Machine, settings=bounded(40))


def bounded(examples: int) -> settings:
    """Return how much is tried."""
    slow = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    return settings(
        max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=slow
    )
