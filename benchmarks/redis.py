"""Through Redis: what is published in one process of triows and delivered in another.

python -m benchmarks.redis --rounds 5 --clients 1 64 --record

Beside it is the memory broker, where one process does both. Each client that publishes has a topic
of its own, where another listens, and it publishes again when that one has the message.
"""

import subprocess
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from socket import create_connection
from typing import TypeAlias

from benchmarks.client import HANDSHAKE_TIMEOUT, HOST
from benchmarks.comparison import chosen, make_parser, prepare, publish
from benchmarks.contenders import TRIOWS, Contender, triows_run
from benchmarks.cpu import cpu_seconds, processes_of
from benchmarks.load import TURN
from benchmarks.measurement import Measurement
from benchmarks.pairs import Pairs
from benchmarks.report import Column, cost_columns, table
from benchmarks.rounds import Round, Row, run_rounds, summarize
from benchmarks.servers import Command, Server, running, shakes_hands

PARTS = ("publishing", "delivering", "redis-server")
"""What the processes do, in the order of `Chain.servers`; the first may do all."""

READY = shakes_hands("/publish/nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The way of a message.

    Attributes:
        publishing: Where it is published.
        delivering: Where it is delivered.
        servers: All that have work with it, each once.
    """

    publishing: Server
    delivering: Server
    servers: tuple[Server, ...]


Open: TypeAlias = Callable[[int | None], AbstractContextManager[Chain]]
"""Takes a core, and runs a chain there."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """What happened while the clocks ran.

    Attributes:
        whole: In all processes together.
        parts: Seconds of CPU in each.
    """

    whole: Measurement
    parts: tuple[float, ...]

    @property
    def cost(self) -> float:
        """CPU time of all processes a message, in µs."""
        return self.whole.cost

    def cost_of(self, part: int) -> float:
        """Like `cost`, of one process."""
        return self.parts[part] / self.whole.messages * 1e6


def relay(url: str) -> Command:
    """Return what serves the app with Redis as its broker, or without if there is no URL."""
    serve = triows_run("relay_app")
    return lambda port: ["env", f"RELAY_REDIS={url}", *serve(port)]


def redis_server(port: int) -> list[str]:
    """Return the command of a Redis that keeps nothing."""
    return ["redis-server", "--bind", HOST, "--port", f"{port}", "--save", ""]


def ping(port: int) -> None:
    """Raise OSError if there is no Redis that answers."""
    with create_connection((HOST, port), HANDSHAKE_TIMEOUT) as sock:
        sock.sendall(b"PING\r\n")
        if not sock.recv(100).startswith(b"+PONG"):
            raise ConnectionError("no Redis, or not yet")


@contextmanager
def in_memory(core: int | None) -> Generator[Chain]:
    """Run one process that publishes and delivers."""
    with running(relay(""), READY, core=core) as server:
        yield Chain(publishing=server, delivering=server, servers=(server,))


@contextmanager
def through_redis(core: int | None) -> Generator[Chain]:
    """Run a process that publishes, one that delivers, and a Redis between them."""
    with running(redis_server, ping, core=core) as redis:
        serve = relay(f"redis://{HOST}:{redis.port}")
        with running(serve, READY, core=core) as one, running(serve, READY, core=core) as other:
            yield Chain(publishing=one, delivering=other, servers=(one, other, redis))


MEMORY = Contender(name="memory broker", command=relay(""), packages=TRIOWS.packages)
REDIS = Contender(
    name="RedisBroker",
    command=redis_server,
    packages=(*TRIOWS.packages, "coredis"),
    programs=("redis-server",),
)
CHAINS: Mapping[str, Open] = {MEMORY.name: in_memory, REDIS.name: through_redis}


class Trial:
    """A chain, and the clients at both ends."""

    def __init__(self, chain: Chain, clients: int, size: int) -> None:
        self._processes = [processes_of(server.session) for server in chain.servers]
        self._pairs = Pairs(
            chain.publishing.port, chain.delivering.port, clients=clients, size=size
        )
        self.forget()

    def forget(self) -> None:
        """Begin to measure."""
        self._pairs.latencies.clear()
        self._totals = [0.0] * len(self._so_far())

    @property
    def seconds(self) -> float:
        """How long it has been measured."""
        return self._totals[1]

    def run(self, seconds: float) -> None:
        """Have messages on their way for so long, and until all are there."""
        before = self._so_far()
        self._pairs.run(seconds)
        rows = zip(self._totals, self._so_far(), before, strict=True)
        self._totals = [total + now - then for total, now, then in rows]

    def _so_far(self) -> list[float]:
        return [self._pairs.done, time.perf_counter(), *map(cpu_seconds, self._processes)]

    def close(self) -> Relayed:
        """Close the connections, and return what was measured."""
        self._pairs.close()
        messages, seconds, *parts = self._totals
        whole = Measurement(messages=int(messages), seconds=seconds, server=sum(parts))
        return Relayed(whole.timed(self._pairs.latencies), tuple(parts))


def measure(
    names: list[str], *, clients: int, size: int, seconds: float, core: int | None
) -> Round[Relayed]:
    """Measure the chains in turn, each started anew; see `load`."""
    with ExitStack() as stack:
        chains = [stack.enter_context(CHAINS[name](core)) for name in names]
        trials = [Trial(chain, clients, size) for chain in chains]
        for trial in trials:
            trial.run(seconds / 4)
            trial.forget()
        while unfinished := [trial for trial in trials if trial.seconds < seconds]:
            for trial in unfinished:
                trial.run(min(TURN, seconds))
        return dict(zip(names, [trial.close() for trial in trials], strict=True))


def compare(
    names: list[str], counts: list[int], size: int, seconds: float, rounds: int
) -> list[Row[Relayed]]:
    """Measure in rounds, with so many messages in flight; the rows say how many."""
    core = prepare()
    rows = []
    for count in counts:
        run = partial(measure, clients=count, size=size, seconds=seconds, core=core)
        measured = run_rounds(names, run, rounds, "µs")
        rows += [
            replace(row, name=f"{row.name}, {count:,} in flight")
            for row in summarize(measured, names, [MEMORY.name])
        ]
    return rows


def columns(rows: list[Row[Relayed]]) -> list[Column[Relayed]]:
    """Return the columns of the table."""
    return [
        *cost_columns(rows, "CPU µs/message"),
        *[_column_of(part, title) for part, title in enumerate(PARTS)],
        Column("messages/s", lambda row: f"{row.median(lambda each: each.whole.rate):,.0f}"),
        Column("p50, ms", lambda row: f"{row.median(lambda each: each.whole.p50) * 1e3:.2f}"),
        Column("p99, ms", lambda row: f"{row.median(lambda each: each.whole.p99) * 1e3:.2f}"),
        Column("busy", lambda row: f"{row.median(lambda each: each.whole.busy):.0%}"),
    ]


def _column_of(part: int, title: str) -> Column[Relayed]:
    def cell(row: Row[Relayed]) -> str:
        if part >= len(row.measured[0].parts):
            return "-"
        return f"{row.median(lambda each: each.cost_of(part)):.1f}"

    return Column(title, cell)


def redis_version() -> str:
    """Return a line that names the Redis that is installed."""
    done = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.partition(" sha=")[0]


def main() -> None:
    """Run the comparison that the command line asks for."""
    parser = make_parser("Publish in one process, through Redis, and deliver in another.")
    parser.add_argument(
        "--clients", type=int, nargs="+", default=[1, 64], help="that publish at once"
    )
    parser.add_argument("--size", type=int, default=32, help="bytes of a message")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long to measure each")
    options = parser.parse_args()
    contenders = chosen(options, [MEMORY, REDIS])
    names = [contender.name for contender in contenders]
    rows = compare(names, options.clients, options.size, options.seconds, options.rounds)
    version = [redis_version()] if REDIS.name in names else []
    words = ["--clients", *options.clients, "--size", options.size, "--seconds", options.seconds]
    publish(
        options,
        map(str, words),
        "\n\n".join([table(rows, columns(rows)), *version]),
        name="redis",
        title="Through Redis",
        contenders=contenders,
    )


if __name__ == "__main__":
    main()
