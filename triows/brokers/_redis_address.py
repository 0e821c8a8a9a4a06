"""Where a Redis is, and how one connects to it."""

import ssl
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import trio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from coredis.connection import BaseConnection, Location, TCPLocation
from coredis.pool import ConnectionPool

SINGLE = ("redis", "rediss", "unix")
CLUSTER = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
"""Schemes of a cluster, and those of its nodes."""

OPTIONS = {
    "client_name",
    "connect_timeout",
    "db",
    "max_idle_time",
    "noevict",
    "notouch",
    "ssl_ca_certs",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
    "stream_timeout",
}
"""What may stand behind `?` in a URL: those of coredis that leave its answers as they are."""


@dataclass(frozen=True, slots=True)
class Address:
    """A server, and what it has to be told by a connection.

    Attributes:
        location: Where it is.
        connection_class: Of the connections.
        options: Of each of them.
    """

    location: Location
    connection_class: type[BaseConnection]
    options: dict[str, Any]

    def at(self, host: str, port: int) -> "Address":
        """Return the address of another node of its cluster."""
        return replace(self, location=TCPLocation(host, port))

    async def connect(self, nursery: trio.Nursery) -> BaseConnection:
        """Make a connection, which runs in the nursery.

        Raises:
            OSError: Nobody is there.
            RedisError: It cannot be made.
        """
        if not await self.location.check():
            raise ConnectionRefusedError(f"there is no server at {self.location}")
        if isinstance(self.location, TCPLocation) and "ssl_context" in self.options:
            await _check_tls(self.location, self.options["ssl_context"])
        connection = self.connection_class(self.location, **self.options)
        try:
            await nursery.start(connection.run)
        except BaseException:
            _close_queues(connection)
            raise
        return connection


def _close_queues(connection: BaseConnection) -> None:
    """Close the queues of a connection that was never made: coredis leaves them open."""
    for queue in vars(connection).values():
        if isinstance(queue, MemoryObjectReceiveStream | MemoryObjectSendStream):
            queue.close()


async def _check_tls(location: TCPLocation, context: ssl.SSLContext) -> None:
    stream = await trio.open_ssl_over_tcp_stream(
        location.host, location.port, ssl_context=context, https_compatible=True
    )
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as exc:
        raise ConnectionRefusedError(f"no TLS with {location}: {exc.__cause__}") from exc
    finally:
        await trio.aclose_forcefully(stream)


def parse_url(url: str) -> tuple[list[Address], bool]:
    """Return the addresses that a URL names, and whether they are of a cluster.

    Raises:
        ValueError: It is no URL of a Redis.
    """
    scheme, separator, _ = url.partition("://")
    if separator and scheme in SINGLE:
        return [_address(url)], False
    if not separator or scheme not in CLUSTER:
        known = ", ".join(f"{name}://" for name in (*SINGLE, *CLUSTER))
        raise ValueError(f"the URL of a Redis begins with one of {known}: {url!r}")
    parts = urlsplit(url)
    if parts.path not in {"", "/", "/0"}:
        raise ValueError(f"a Redis Cluster has only database 0: {url!r}")
    user, at, hosts = parts.netloc.rpartition("@")
    nodes = [
        urlunsplit((CLUSTER[scheme], f"{user}{at}{host}", "", parts.query, ""))
        for host in hosts.split(",")
    ]
    return [_address(node) for node in nodes], True


def _address(url: str) -> Address:
    if unknown := parse_qs(urlsplit(url).query, keep_blank_values=True).keys() - OPTIONS:
        raise ValueError(f"the URL of a Redis has no option {min(unknown)!r}: {url!r}")
    try:
        pool: ConnectionPool[Any] = ConnectionPool.from_url(url)
    except OSError as exc:  # One of its files is not there, or no certificate.
        raise ValueError(f"the URL of a Redis names a file that is of no use: {exc}") from exc
    if pool.location is None:
        raise ValueError(f"the URL of a Redis names a host: {url!r}")
    return Address(pool.location, pool.connection_class, dict(pool.connection_kwargs))
