"""Who is compared: how each of them is started, and what must be installed for it.

All serve from one process, compress nothing, log no connection and send no pings, for the
clients answer none.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from shutil import which

from benchmarks.client import HOST
from benchmarks.servers import Command

_PYTHON = [sys.executable, "-m"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A server with an app.

    Attributes:
        name: As tables show it.
        command: What serves the app.
        packages: The distributions that it is made of.
        programs: What else has to be there.
        kind: What its clients do, of `load.KINDS`, if it is not what those of all others do.
    """

    name: str
    command: Command
    packages: tuple[str, ...]
    programs: tuple[str, ...] = ()
    kind: str | None = None

    @property
    def missing(self) -> list[str]:
        """The packages and programs that are not installed."""
        packages = [package for package in self.packages if not _is_installed(package)]
        return [*packages, *[program for program in self.programs if not which(program)]]


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def hypercorn(app: str) -> Command:
    """Return what serves an app with hypercorn's trio worker.

    With no workers, hypercorn serves in the process that was started: the same
    `trio_worker` as otherwise runs in a child, beside a parent that only waits.
    """
    hypercorn = [*_PYTHON, "hypercorn", "--worker-class", "trio", "--workers", "0"]
    # With thousands of connections it collects garbage for seconds; a handshake that had to wait
    # for longer than 5 would be dropped as an idle connection.
    patient = ["--keep-alive", "60"]
    return lambda port: [
        *[*hypercorn, *patient, "--bind", f"{HOST}:{port}"],
        f"benchmarks.apps.{app}:app",
    ]


def uvicorn(app: str) -> Command:
    """Return what serves an app with uvicorn, on uvloop."""
    uvicorn = [*_PYTHON, "uvicorn", "--loop", "uvloop", "--host", HOST]
    quiet = ["--no-access-log", "--log-level", "warning", "--ws-ping-interval", "0"]
    plain = ["--ws-per-message-deflate", "false"]
    return lambda port: [
        *[*uvicorn, "--port", f"{port}", *quiet, *plain],
        f"benchmarks.apps.{app}:app",
    ]


def granian(app: str) -> Command:
    """Return what serves an app with granian's RSGI, on uvloop, in the one child that it needs."""
    granian = [*_PYTHON, "granian", "--interface", "rsgi", "--loop", "uvloop", "--workers", "1"]
    quiet = ["--no-access-log", "--log-level", "warning"]
    # It counts every connection as a request that is not yet answered.
    many = ["--backpressure", "100000"]
    return lambda port: [
        *[*granian, "--host", HOST, "--port", f"{port}", *quiet, *many],
        f"benchmarks.apps.{app}:app",
    ]


def triows_run(app: str) -> Command:
    """Return what serves an app with our own server."""
    quiet = ["--no-access-log", "--log-level", "warning"]
    return lambda port: [
        *[*_PYTHON, "triows", "run", "--bind", f"{HOST}:{port}", *quiet],
        f"benchmarks.apps.{app}:app",
    ]


def program(name: str) -> Command:
    """Return what runs a server of `apps`."""
    return lambda port: [*_PYTHON, f"benchmarks.apps.{name}", HOST, f"{port}"]


HYPERCORN = ("hypercorn", "trio", "wsproto", "h11")
_UVICORN = ("uvicorn", "uvloop", "websockets", "httptools")

TRIOWS = Contender(
    name="triows",
    command=triows_run("triows_app"),
    packages=("triows", "trio", "websockets"),
)
TRIOWS_HYPERCORN = Contender(
    name="hypercorn, triows", command=hypercorn("triows_app"), packages=("triows", *HYPERCORN)
)
BARE_HYPERCORN = Contender(
    name="hypercorn, bare ASGI", command=hypercorn("bare_asgi"), packages=HYPERCORN
)
TRIO_WEBSOCKET = Contender(
    name="trio-websocket",
    command=program("trio_websocket_server"),
    packages=("trio-websocket", "trio", "wsproto"),
)
WEBSOCKETS = Contender(
    name="websockets.trio", command=program("websockets_server"), packages=("websockets", "trio")
)
BARE_UVICORN = Contender(name="uvicorn, bare ASGI", command=uvicorn("bare_asgi"), packages=_UVICORN)
UVICORN = Contender(
    name="uvicorn, Starlette",
    command=uvicorn("starlette_app"),
    packages=(*_UVICORN, "starlette"),
)
SOCKET_IO = Contender(
    name="uvicorn, python-socketio",
    command=uvicorn("socket_io_app"),
    packages=(*_UVICORN, "python-socketio"),
    kind="socket_io_fanout",
)
EMMETT = Contender(
    name="granian, Emmett",
    command=granian("emmett_app"),
    packages=("granian", "emmett", "uvloop"),
)
PICOWS = Contender(name="picows", command=program("picows_server"), packages=("picows", "uvloop"))
TRIO = Contender(name="bare Trio TCP", command=program("trio_server"), packages=("trio",))
SOCKETS = Contender(name="bare sockets", command=program("sockets_server"), packages=())

SERVERS = (
    TRIOWS,
    BARE_HYPERCORN,
    TRIO_WEBSOCKET,
    WEBSOCKETS,
    BARE_UVICORN,
    UVICORN,
    EMMETT,
    PICOWS,
    TRIO,
)
"""All servers that do everything, ours first."""


def present(contenders: Iterable[Contender]) -> list[Contender]:
    """Return those that can be started; tell on stdout what is missing for the others."""
    found = []
    for contender in contenders:
        if contender.missing:
            print(f"left out: {contender.name}, without {', '.join(contender.missing)}")
        else:
            found.append(contender)
    return found
