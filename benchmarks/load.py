"""The load generator, a process of its own, for one server or several.

Several are loaded in turn, a tenth of a second each, because a virtual machine's speed may
change by half from one second to the next. All keep their connections meanwhile, and those
whose turn it is not have nothing to do.

    python -m benchmarks.load --target 8000:4711:echo --clients 64

loads a server on port 8000, the leader of session 4711, prints a `Measurement` as JSON, and
fails if a single byte was not what it should be.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Protocol

from benchmarks.cpu import cpu_seconds, processes_of
from benchmarks.crowd import Audience, Crowd, EchoFailed
from benchmarks.files import max_open_files, raise_open_files
from benchmarks.measurement import Measurement
from benchmarks.servers import ROOT, Server
from benchmarks.socket_io import SocketIOAudience
from benchmarks.visits import Visitors

TURN = 0.1
"""Seconds that a server is loaded before it is the next one's turn."""

OTHER_FILES = 100
"""Files that the load generator may have open beside its connections."""

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

    def options(self) -> list[str]:
        """Return the command line that `add_load_options` understands."""
        return [word for name, value in asdict(self).items() for word in (f"--{name}", f"{value}")]


class Clients(Protocol):
    """What loads a server.

    Attributes:
        done: How many of what is counted are done.
        latencies: Seconds that some of them took.
    """

    done: int
    latencies: list[float]

    def run(self, seconds: float) -> None:
        """Load it for so long, and until nothing is missing."""

    def close(self) -> None:
        """Close what is open."""


def _echo(load: Load, port: int) -> Clients:
    return Crowd(port, clients=load.clients, size=load.size, depth=load.depth)


def _fanout(load: Load, port: int) -> Clients:
    return Audience(port, clients=load.clients, size=load.size, depth=load.depth)


def _socket_io_fanout(load: Load, port: int) -> Clients:
    return SocketIOAudience(port, clients=load.clients, size=load.size, depth=load.depth)


def _handshakes(load: Load, port: int) -> Clients:
    return Visitors(port, clients=load.clients)


KINDS: dict[str, Callable[[Load, int], Clients]] = {
    "echo": _echo,
    "fanout": _fanout,
    "handshakes": _handshakes,
    "socket_io_fanout": _socket_io_fanout,
}
"""What clients may do to a server."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and what the clients do to it, of `KINDS`."""

    server: Server
    kind: str

    def __str__(self) -> str:
        return f"{self.server.port}:{self.server.session}:{self.kind}"


def measure(load: Load, targets: list[Target]) -> list[Measurement]:
    """Run the load against servers in turn, from another process.

    Raises:
        subprocess.CalledProcessError: It failed; why is on stderr.
    """
    words = [word for target in targets for word in ("--target", f"{target}")]
    command = [sys.executable, "-m", "benchmarks.load", *words, *load.options()]
    patience = (load.warm_up + load.seconds) * len(targets) + PATIENCE
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=patience)
    return [Measurement(**json.loads(line)) for line in done.stdout.splitlines()]


def run(load: Load, targets: list[Target]) -> list[Measurement]:
    """Like `measure`, from this process.

    Raises:
        EchoFailed: A message differed, was missing, or was one too many.
    """
    parts = _parts(targets, (max_open_files() - OTHER_FILES) // load.clients)
    return [measured for part in parts for measured in _run(load, part)]


def _parts(targets: list[Target], size: int) -> Iterator[list[Target]]:
    # Not all at once, if there are not enough files for the connections.
    size = max(1, size)
    return (targets[i : i + size] for i in range(0, len(targets), size))


def _run(load: Load, targets: list[Target]) -> list[Measurement]:
    trials = [Trial(load, target) for target in targets]
    for trial in trials:
        trial.run(load.warm_up)
    for trial in trials:
        trial.forget()
    while running := [trial for trial in trials if trial.measured.seconds < load.seconds]:
        for trial in running:
            trial.measured += trial.run(min(TURN, load.seconds))
    return [trial.close() for trial in trials]


class Trial:
    """A server, and the clients that load it."""

    def __init__(self, load: Load, target: Target) -> None:
        self.measured = Measurement()
        self._processes = processes_of(target.server.session)
        self._clients = KINDS[target.kind](load, target.server.port)

    def run(self, seconds: float) -> Measurement:
        """Load the server for so long, and until everything is back.

        It has nothing to do before and after, so all its work belongs to these messages.
        """
        before = self._so_far()
        self._clients.run(seconds)
        return self._so_far() - before

    def forget(self) -> None:
        """Do not let the warm-up be part of the latencies."""
        self._clients.latencies.clear()

    def _so_far(self) -> Measurement:
        return Measurement(
            messages=self._clients.done,
            seconds=time.perf_counter(),
            server=cpu_seconds(self._processes),
            load=time.process_time(),
        )

    def close(self) -> Measurement:
        """Close the connections, and return what was measured.

        Raises:
            EchoFailed: Nothing was measured.
        """
        self._clients.close()
        if not self.measured.messages:
            raise EchoFailed("no message came back in time")
        return self.measured.timed(self._clients.latencies)


def add_load_options(parser: argparse.ArgumentParser, default: Load) -> None:
    """Add an option for each attribute of `Load`."""
    add = parser.add_argument
    add("--clients", type=int, default=default.clients, help="connections")
    add("--size", type=int, default=default.size, help="bytes of a message")
    add("--depth", type=int, default=default.depth, help="messages in flight on a connection")
    add("--seconds", type=float, default=default.seconds, help="how long to measure each")


def load_of(options: argparse.Namespace) -> Load:
    """Return what `add_load_options` has read."""
    return Load(**{field.name: getattr(options, field.name) for field in fields(Load)})


def _target_of(words: str) -> Target:
    port, session, kind = words.split(":")
    return Target(Server(port=int(port), session=int(session)), kind)


def main() -> None:
    """Run the load that the command line asks for."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description="Load servers.", formatter_class=formatter)
    parser.add_argument(
        "--target", type=_target_of, action="append", required=True, help="port:session:kind"
    )
    add_load_options(parser, Load())
    options = parser.parse_args()
    raise_open_files()
    for measured in run(load_of(options), options.target):
        print(json.dumps(asdict(measured)))


if __name__ == "__main__":
    main()
