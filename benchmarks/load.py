"""The load generator for echoes, a process of its own, for one server or several.

Several are loaded in turn, a tenth of a second each, because a virtual machine's speed may
change by half from one second to the next. All keep their connections meanwhile, and those
whose turn it is not have nothing to do.

    python -m benchmarks.load --server 8000:4711 --path /echo --clients 64

loads a server on port 8000, the leader of session 4711, prints a `Measurement` as JSON, and
fails if a single echo was not what it should be.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, fields

from benchmarks.client import close_websockets, open_websocket
from benchmarks.cpu import cpu_seconds, processes_of
from benchmarks.crowd import Crowd, EchoFailed
from benchmarks.measurement import Measurement
from benchmarks.servers import ROOT, Server

TURN = 0.1
"""Seconds that a server is loaded before it is the next one's turn."""

PATIENCE = 600.0
"""Seconds that connecting, draining and closing may take, of many clients with much in flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the clients do.

    Attributes:
        clients: Connections.
        size: Bytes of a message.
        depth: Messages that a client has in flight.
        seconds: How long to measure each server, after a warm-up of a quarter of that.
    """

    clients: int = 64
    size: int = 32
    depth: int = 1
    seconds: float = 4.0

    @property
    def warm_up(self) -> float:
        """Seconds of load before the measurement."""
        return self.seconds / 4

    @property
    def turns(self) -> int:
        """How many turns make up `seconds`."""
        return max(1, round(self.seconds / TURN))

    def options(self) -> list[str]:
        """Return the command line that `add_load_options` understands."""
        return [word for name, value in asdict(self).items() for word in (f"--{name}", f"{value}")]


def measure(load: Load, servers: list[Server], path: str) -> list[Measurement]:
    """Run the load against servers in turn, from another process.

    Raises:
        subprocess.CalledProcessError: It failed; why is on stderr.
    """
    targets = [word for server in servers for word in ("--server", _words_of(server))]
    command = [sys.executable, "-m", "benchmarks.load", *targets, "--path", path, *load.options()]
    patience = (load.warm_up + load.seconds) * len(servers) + PATIENCE
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=patience)
    return [Measurement(**json.loads(line)) for line in done.stdout.splitlines()]


def run(load: Load, servers: list[Server], path: str) -> list[Measurement]:
    """Like `measure`, from this process.

    Raises:
        EchoFailed: An echo differed, was missing, or was one too many.
    """
    trials = [Trial(load, server, path) for server in servers]
    for trial in trials:
        trial.run(load.warm_up)
    for _ in range(load.turns):
        for trial in trials:
            trial.measured += trial.run(load.seconds / load.turns)
    for trial in trials:
        trial.close()
    return [trial.measured for trial in trials]


class Trial:
    """A server, and the crowd that loads it."""

    def __init__(self, load: Load, server: Server, path: str) -> None:
        self.measured = Measurement()
        self._depth = load.depth
        self._processes = processes_of(server.session)
        self._socks = [open_websocket(server.port, path) for _ in range(load.clients)]
        self._crowd = Crowd(self._socks, load.size)

    def run(self, seconds: float) -> Measurement:
        """Load the server for so long, and until everything is back.

        It has nothing to do before and after, so all its work belongs to these messages.
        """
        before = self._so_far()
        self._crowd.start(self._depth)
        self._crowd.run(seconds)
        self._crowd.drain()
        return self._so_far() - before

    def _so_far(self) -> Measurement:
        return Measurement(
            messages=self._crowd.echoes,
            seconds=time.perf_counter(),
            server=cpu_seconds(self._processes),
            load=time.process_time(),
        )

    def close(self) -> None:
        """Close the connections.

        Raises:
            EchoFailed: Nothing was measured.
        """
        close_websockets(self._socks)
        if not self.measured.messages:
            raise EchoFailed("no message came back in time")


def add_load_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each attribute of `Load`."""
    default = Load()
    add = parser.add_argument
    add("--clients", type=int, default=default.clients, help="connections")
    add("--size", type=int, default=default.size, help="bytes of a message")
    add("--depth", type=int, default=default.depth, help="messages in flight on a connection")
    add("--seconds", type=float, default=default.seconds, help="how long to measure each")


def load_of(options: argparse.Namespace) -> Load:
    """Return what `add_load_options` has read."""
    return Load(**{field.name: getattr(options, field.name) for field in fields(Load)})


def _words_of(server: Server) -> str:
    return f"{server.port}:{server.session}"


def _server_of(words: str) -> Server:
    port, session = map(int, words.split(":"))
    return Server(port=port, session=session)


def main() -> None:
    """Run the load that the command line asks for."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description="Load an echo server.", formatter_class=formatter)
    parser.add_argument(
        "--server", type=_server_of, action="append", required=True, help="port:session"
    )
    parser.add_argument("--path", default="/echo", help="of the WebSocket")
    add_load_options(parser)
    options = parser.parse_args()
    for measured in run(load_of(options), options.server, options.path):
        print(json.dumps(asdict(measured)))


if __name__ == "__main__":
    main()
