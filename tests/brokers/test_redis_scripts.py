"""The scripts that Redis runs for a broker; what they do, `test_redis` shows."""

import pytest

from tests.brokers.redis_server import redis_server
from triows.brokers._redis_scripts import SCRIPTS, Script


async def test_names() -> None:
    """Redis compiles each of them, and calls it by the name that we do."""
    with redis_server() as server:
        await server.wait_started()
        for script in (*SCRIPTS, *(script.sharded for script in SCRIPTS)):
            assert script.sha == await server.command("SCRIPT", "LOAD", script.text)


@pytest.mark.parametrize("script", SCRIPTS)
def test_one_slot(script: Script) -> None:
    """No key is built of anything but the keys that were given, so a cluster can run it."""
    calls = script.text.split("redis.call(")[1:]
    keys = [call.split(",")[1].strip(" )") for call in calls if "'TIME'" not in call]
    assert keys
    assert all(key.startswith(("KEYS[", "members_of(", "key", "channel")) for key in keys)


@pytest.mark.parametrize("script", SCRIPTS)
def test_shards(script: Script) -> None:
    """What publishes does so in a shard instead, and nothing else is changed."""
    assert script.sharded.text == script.text.replace("'PUBLISH'", "'SPUBLISH'")
    assert script.sharded.sharded is script.sharded
