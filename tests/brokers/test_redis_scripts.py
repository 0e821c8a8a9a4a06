"""The scripts that Redis runs for a broker; what they do, `test_redis` shows."""

import pytest

from tests.brokers.redis_server import redis_server
from triows.brokers._redis_scripts import SCRIPTS, STAND, Script


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


@pytest.mark.parametrize(
    ("before", "now", "is_same", "after"),
    [
        ("p disk", "p disk", True, "p disk"),
        # Another process.
        ("p disk", "q disk", True, "q disk"),
        ("p disk", "q other", False, "q other"),
        ("p disk", "q ", False, "q "),
        ("p disk", "q ?", False, "q ?"),
        ("p ", "q ", False, "q "),
        ("p ?", "q ?", False, "q ?"),
        ("p ?", "q disk", False, "q disk"),
        # The same, of which not everybody knows everything.
        ("p disk", "p ", True, "p "),
        ("p ", "p disk", True, "p disk"),
        ("p disk", "p ?", True, "p disk"),
        ("p ?", "p disk", True, "p disk"),
        # What is no memory of ours.
        ("disk", "p disk", False, "p disk"),
    ],
)
async def test_memory(before: str, now: str, *, is_same: bool, after: str) -> None:
    """An epoch lasts as long as the process or the disk does, whoever asks."""
    with redis_server() as server:
        await server.wait_started()
        keys = ("2", "t:state", "t:log")
        for memory, epoch in ((before, "first"), (now, "second")):
            said = await server.command("EVAL", STAND.text, *keys, memory, epoch, "9", "99999")
        assert said.split() == ["first" if is_same else "second", "0"]
        script = "return redis.call('HGET', KEYS[1], 'memory') == ARGV[1] and 1 or 0"
        assert "1" == await server.command("EVAL", script, "1", "t:state", after)
