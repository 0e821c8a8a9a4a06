"""What a Redis remembers with: its process, and its disk if that has everything.

Both have a name, and while either is the same, nothing was lost. That of the disk is only told
when every write is there before it is answered, and nobody else has a copy: a replica that takes
over has what it was sent until then, and after a restart it cannot be told from its primary. A
node of a cluster can, by a name of its own, and by its epoch there, which is another one each time
that it takes its slots over: it may have become a copy of somebody who lacked something meanwhile.

Not everybody is allowed to ask how a server is configured. So who is not, and tells no disk for
that reason, must not end what others remember.
"""

from typing import Any

from coredis.connection import BaseConnection
from coredis.exceptions import AuthorizationError, RedisError, UnknownCommandError

_DURABLE = {
    b"appendonly": b"yes",
    b"appendfsync": b"always",
    b"no-appendfsync-on-rewrite": b"no",
}
"""How a server is configured that has every write on its disk before it answers."""

_NOBODY = b"0" * 40
"""Whose replica a server was of which nobody else was the primary before."""

_DEMOTED = {b"role": b"slave", b"slave_read_only": b"1", b"cluster_enabled": b"0"}
"""What is said of itself by one that others write to. A node of a cluster says who that is."""


async def memory_of(connection: BaseConnection) -> str:
    """Return the name of a server's process and, behind a space, that of its disk.

    That is empty if the disk may lack something, and `?` if that is not known.

    Raises:
        RedisError: It is a replica, where nothing can be written; or it cannot be asked.
    """
    info: dict[bytes, bytes] = {}
    for section in (b"server", b"replication", b"cluster"):  # Redis 6 takes one at a time.
        said: Any = await connection.create_request(b"INFO", section)
        info.update(_fields_of(said))
    if info.items() >= _DEMOTED.items():
        raise RedisError("it is a replica, where nothing can be written")
    process = str(info[b"run_id"], "ascii")
    if (primary := info.get(b"master_replid2", _NOBODY)) != _NOBODY:
        # It has been a replica since it was started, and may have been a primary before that.
        return f"{process}:{str(primary, 'ascii')} "
    return f"{process} {await _disk_of(connection, info)}"


async def _disk_of(connection: BaseConnection, info: dict[bytes, bytes]) -> str:
    is_node = info.get(b"cluster_enabled") == b"1"
    has_copies = info.get(b"role") != b"master" or info.get(b"repl_backlog_active") != b"0"
    if has_copies and not is_node:
        return ""
    try:
        config: Any = await connection.create_request(b"CONFIG", b"GET", b"*append*")
    except (AuthorizationError, UnknownCommandError):
        return "?"
    if not config.items() >= _DURABLE.items():
        return ""
    if not is_node:
        return "disk"
    node: Any = await connection.create_request(b"CLUSTER", b"MYID")
    said: Any = await connection.create_request(b"CLUSTER", b"INFO")
    return f"disk:{str(node, 'ascii')}:{int(_fields_of(said)[b'cluster_my_epoch'])}"


def _fields_of(said: bytes) -> dict[bytes, bytes]:
    """Return what an answer says that has a line for each of several fields."""
    pairs = (line.partition(b":") for line in said.splitlines())
    return {name: value for name, colon, value in pairs if colon}
