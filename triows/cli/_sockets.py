"""The sockets that a server listens on: opened once, before anything serves.

Workers share them, and a port in use is known before the app starts. A Unix socket's file is
removed at the end by whoever made it; a socket that was handed in (`fd://`) is not ours.
"""

import copy
import socket
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from errno import EADDRINUSE, EAGAIN
from os import strerror
from pathlib import Path

from hypercorn import Config
from hypercorn.config import Sockets, SocketTypeError

from triows.cli._settings import reason_of
from triows.cli._statuses import CANNOT_LISTEN, CommandError
from triows.server._sockets import name_of

UNIX = "unix:"


@contextmanager
def open_sockets(config: Config) -> Generator[Sockets]:
    """Listen on all addresses of a configuration, and close the sockets after the block.

    Raises:
        CommandError: One of the addresses is in use, or cannot be bound.
    """
    with ExitStack() as stack:
        sockets = Sockets([], [], [])
        for part in _one_by_one(config):
            opened = stack.enter_context(_open(part))
            sockets.secure_sockets += opened.secure_sockets
            sockets.insecure_sockets += opened.insecure_sockets
        yield sockets


def all_of(sockets: Sockets) -> Sequence[socket.socket]:
    """Return the sockets of all kinds."""
    return (*sockets.secure_sockets, *sockets.insecure_sockets)


def close(sockets: Sockets) -> None:
    """Stop listening, as far as this process is concerned."""
    for sock in all_of(sockets):
        sock.close()


def addresses_of(sockets: Sockets) -> list[str]:
    """Return where clients connect: "http://127.0.0.1:8000", "unix:/path"."""
    secure = [name_of("https", sock) for sock in sockets.secure_sockets]
    return secure + [name_of("http", sock) for sock in sockets.insecure_sockets]


def _one_by_one(config: Config) -> Generator[Config]:
    """Yield the configuration for one address at a time, so that a failure has a name."""
    names = ("bind", "insecure_bind") if config.ssl_enabled else ("bind",)
    for name in names:
        for bind in getattr(config, name):
            part = copy.copy(config)
            part.bind, part.insecure_bind = [], []
            setattr(part, name, [bind])
            yield part


@contextmanager
def _open(config: Config) -> Generator[Sockets]:
    """Open what is to listen on a configuration's only address."""
    (bind,) = config.bind + config.insecure_bind
    try:
        _refuse_if_taken(bind)
        sockets = config.create_sockets()
        for sock in all_of(sockets):
            sock.listen(config.backlog)
    except SocketTypeError as exc:
        raise CommandError(f"cannot listen on {bind}: it is no stream", CANNOT_LISTEN) from exc
    except OSError as exc:
        raise CommandError(f"cannot listen on {bind}: {reason_of(exc)}", CANNOT_LISTEN) from exc
    with _removing_file(bind):
        try:
            yield sockets
        finally:
            close(sockets)


def _refuse_if_taken(bind: str) -> None:
    # hypercorn removes the file of a Unix socket, also while another server listens there.
    if bind.startswith(UNIX) and _is_answered(bind.removeprefix(UNIX)):
        raise OSError(EADDRINUSE, strerror(EADDRINUSE))


def _is_answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        # A full backlog must not be waited for, and is an answer, too.
        probe.settimeout(0)
        return probe.connect_ex(path) in {0, EAGAIN}


@contextmanager
def _removing_file(bind: str) -> Generator[None]:
    """Remove the file of a Unix socket after the block, unless another has taken its place."""
    if not bind.startswith(UNIX):
        yield
        return
    path = Path(bind.removeprefix(UNIX))
    ours = path.stat().st_ino
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            if path.stat().st_ino == ours:
                path.unlink()
