"""Where a Redis is: what its URL says."""

import pytest
import trio
from coredis.connection import TCPLocation, UnixDomainSocketLocation

from tests.brokers.redis_server import redis_server
from triows.brokers._redis_address import parse_url


def test_a_single_server() -> None:
    """A host or a path, and what a connection has to say."""
    (one,), is_cluster = parse_url("redis://joe:secret@host:1234/5")
    assert (TCPLocation("host", 1234), False) == (one.location, is_cluster)
    assert ("joe", "secret", 5) == tuple(one.options[key] for key in ("username", "password", "db"))
    (one,), _ = parse_url("rediss://host")
    assert TCPLocation("host", 6379) == one.location
    assert one.options["ssl_context"] is not None
    (one,), _ = parse_url("unix:///path")
    assert UnixDomainSocketLocation("/path") == one.location


@pytest.mark.parametrize("scheme", ["redis+cluster", "rediss+cluster"])
def test_a_cluster(scheme: str) -> None:
    """Some of its nodes, and what connections to any of them have to say."""
    nodes, is_cluster = parse_url(f"{scheme}://joe:secret@one:1,two/0?client_name=me")
    assert is_cluster
    assert [TCPLocation("one", 1), TCPLocation("two", 6379)] == [node.location for node in nodes]
    for node in (*nodes, nodes[0].at("three", 3)):
        assert ("joe", "me") == (node.options["username"], node.options["client_name"])
        assert (scheme == "rediss+cluster") == ("ssl_context" in node.options)
    assert TCPLocation("three", 3) == nodes[0].at("three", 3).location


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("localhost:6379", "begins with one of redis://, .*, rediss\\+cluster://"),
        ("redis:localhost", "begins with one of"),
        ("http://localhost", "begins with one of"),
        ("redis://", "names a host"),
        ("redis+cluster://host/1", "has only database 0"),
    ],
)
def test_what_is_no_url(url: str, why: str) -> None:
    """It is said where it was written, and why."""
    with pytest.raises(ValueError, match=why):
        parse_url(url)


async def test_connecting() -> None:
    """A connection answers; where nobody is, it is said at once."""
    with redis_server() as server:
        await server.wait_started()
        (address,), _ = parse_url(server.url)
        async with trio.open_nursery() as nursery:
            connection = await address.connect(nursery)
            assert await connection.create_request(b"PING") == b"PONG"
            nursery.cancel_scope.cancel()
        server.kill()
        with pytest.RaisesGroup(ConnectionRefusedError):
            async with trio.open_nursery() as nursery:
                await address.connect(nursery)
