"""What a Redis remembers: a name for it, and while that is the same, nothing was lost.

It is that of the process, unless every write is on the disk before it is answered.
"""

from typing import Any

from coredis.connection import BaseConnection
from coredis.exceptions import RedisError

_DURABLE = {b"appendonly": b"yes", b"appendfsync": b"always"}
"""How a server is configured that has every write on its disk before it answers."""

_DEMOTED = {b"role": b"slave", b"slave_read_only": b"1", b"cluster_enabled": b"0"}
"""What is said of itself by one that others write to. A node of a cluster says who that is."""


async def memory_of(connection: BaseConnection) -> str:
    """Return the name of what the server remembers.

    Raises:
        RedisError: It is a replica, where nothing can be written; or it cannot be asked.
    """
    config = await connection.create_request(b"CONFIG", b"GET", b"append*", raise_exceptions=False)
    info: dict[bytes, bytes] = {}
    for section in (b"server", b"replication", b"cluster"):  # Redis 6 takes one at a time.
        said: Any = await connection.create_request(b"INFO", section)
        info.update(line.split(b":", 1) for line in said.splitlines() if b":" in line)
    if info.items() >= _DEMOTED.items():
        raise RedisError("it is a replica, where nothing can be written")
    if not (isinstance(config, dict) and config.items() >= _DURABLE.items()):
        return str(info[b"run_id"], "ascii")
    if info[b"cluster_enabled"] == b"0":
        return "disk"
    # Another node has its own disk, though it takes over what this one had.
    node: Any = await connection.create_request(b"CLUSTER", b"MYID")
    return f"disk {str(node, 'ascii')}"
