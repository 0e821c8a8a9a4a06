"""Listening sockets: made by hypercorn's config, named, and cleaned up after."""

import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from hypercorn.config import Config, Sockets

from triows._logs import error_log

_UNIX = "unix:"


@contextmanager
def open_sockets(config: Config, given: Sockets | None) -> Generator[Sockets]:
    """Make the sockets that a config binds, or take those that are given; close them at the end.

    The path of a Unix socket that was made here goes with it, unless it is another's by then.

    Raises:
        OSError: One cannot be bound.
    """
    sockets = config.create_sockets() if given is None else given
    if sockets.quic_sockets:
        error_log.warning("HTTP/3 is not served: quic_bind is ignored")
    # hypercorn would announce HTTP/3 in every response.
    config._quic_addresses = []
    binds = [*config.bind, *config.insecure_bind] if given is None else []
    paths = [path for sock in _all(sockets) if (path := _path_of(sock, binds)) is not None]
    inodes = [(path, path.stat().st_ino) for path in paths]
    try:
        yield sockets
    finally:
        for sock in _all(sockets):
            sock.close()
        for path, inode in inodes:
            _unlink(path, inode)


def name_of(scheme: str, sock: socket.socket) -> str:
    """Return where a socket listens, as `scheme://host:port` or `unix:path`."""
    name = sock.getsockname()
    if not isinstance(name, tuple):
        return f"{_UNIX}{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{scheme}://{host}:{name[1]}"


def _all(sockets: Sockets) -> list[socket.socket]:
    return [*sockets.insecure_sockets, *sockets.secure_sockets, *sockets.quic_sockets]


def _path_of(sock: socket.socket, binds: list[str]) -> Path | None:
    """Return the path that binding the socket has made; one behind `fd://` is not ours."""
    name = sock.getsockname()
    return Path(name).absolute() if f"{_UNIX}{name}" in binds else None


def _unlink(path: Path, inode: int) -> None:
    # Left behind, the path would look like a server that has crashed. But the next server may
    # have bound it already.
    with suppress(OSError):
        if path.stat().st_ino == inode:
            path.unlink()
