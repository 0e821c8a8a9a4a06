"""Where a Redis is: what its URL says."""

import gc
import ssl
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from coredis.connection import TCPLocation, UnixDomainSocketLocation
from coredis.exceptions import RedisError

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
        ("redis://host?decode_responses=true", "no option 'decode_responses'"),
        ("redis+cluster://host?foo", "no option 'foo'"),
        ("rediss://host?ssl_ca_certs=/nowhere", "file that is of no use: .*No such file"),
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


async def test_connecting_by_tls(tmp_path: Path) -> None:
    """A server is trusted if the authority that was named has signed for it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "cert")
    authority.cert_pem.write_to_path(tmp_path / "ca")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert")

    async def greet(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.receive_some(1)
            await stream.send_all(b"%3\r\n+proto\r\n:3\r\n+version\r\n+6.0\r\n+id\r\n:1\r\n")
            await trio.sleep_forever()

    async with trio.open_nursery() as server:
        serve = partial(trio.serve_ssl_over_tcp, greet, 0, context, host="127.0.0.1")
        (listener,) = await server.start(serve)
        port = listener.transport_listener.socket.getsockname()[1]
        (address,), _ = parse_url(f"rediss://localhost:{port}?ssl_ca_certs={tmp_path / 'ca'}")
        async with trio.open_nursery() as nursery:
            connection = await address.connect(nursery)
            assert "6.0" == connection.server_version
            nursery.cancel_scope.cancel()
        (address,), _ = parse_url(f"rediss://localhost:{port}")
        with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="certificate verify failed")):
            async with trio.open_nursery() as nursery:
                await address.connect(nursery)
        server.cancel_scope.cancel()


STEPS = 25
"""More of the scheduler's than it takes to connect."""


async def test_giving_up_a_connection() -> None:
    """One that is cancelled at whatever step leaves nothing for the garbage collector to find."""
    with redis_server() as server:
        await server.wait_started()
        ((address,), _) = parse_url(server.url)
        connected: list[int] = []
        for step in range(STEPS):
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(give_up_after, nursery.cancel_scope, step)
                    await address.connect(nursery)
                    connected.append(step)
            except* RedisError:
                pass  # Cancelled in the midst of its handshake, a connection of coredis fails.
        gc.collect()  # An unclosed stream is a ResourceWarning, which fails the test.

    assert 0 < len(connected) < STEPS


async def give_up_after(scope: trio.CancelScope, steps: int) -> None:
    """Cancel a scope after so many steps of the scheduler."""
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()
