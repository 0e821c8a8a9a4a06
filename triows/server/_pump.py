"""One task for the sockets of all connections.

Trio's `wait_readable` costs a system call and two task switches for each wait of each socket.
So the sockets are in an epoll object of our own, and one task waits for that. When it fires,
the pump reads each ready socket once, and whoever uses it takes the bytes: parses them, and
wakes the handler that waits for a message.

A turn is one look at the epoll object. The first write of a socket in a turn goes straight to
the kernel; what follows in the same turn is kept until the tasks that run now have run, and
leaves in one piece. So an echo waits for nobody, and a burst is one system call.

Rules learnt:

- Events carry the number of a file descriptor, which may belong to another socket by the time
  they are looked at: what was registered in this turn ignores this turn's events. One function
  closes a socket, in this order: mark it closed, unregister it, close it. (A child process
  may hold a copy of it: closing alone would leave it registered.)
- HUP and ERR cannot be masked, and fire again and again until the socket is closed.
- What goes wrong with one socket ends that one. Ctrl-C must not land in here.
"""

import select
from typing import NoReturn, Protocol

import trio

from triows._logs import log_failure

READABLE: int = getattr(select, "EPOLLIN", 0)
WRITABLE: int = getattr(select, "EPOLLOUT", 0)

HAS_EPOLL = hasattr(select, "epoll")

MAX_EVENTS = 128
"""Sockets read in a turn; the kernel goes round, so those left out come first in the next."""


class Target(Protocol):
    """What is registered: a socket's owner.

    Attributes:
        since: The turn in which it was registered.
    """

    since: int

    def ready(self, events: int) -> None:
        """Hear of events on the socket."""

    def abort(self) -> None:
        """Close the socket: something went wrong in `ready`."""


class Flushable(Protocol):
    """Has kept something to write."""

    def flush(self) -> None:
        """Write it."""

    def abort(self) -> None:
        """Close the socket: something went wrong in `flush`."""


class Pump:
    """Watches sockets, while somebody awaits `run` and `run_flusher`.

    Attributes:
        turn: Counts the looks at the sockets.
    """

    def __init__(self) -> None:
        self.turn = 0
        self._epoll = select.epoll()
        self._targets: dict[int, Target] = {}
        self._kept: list[Flushable] = []
        self._flusher: trio.lowlevel.Task | None = None

    def __len__(self) -> int:
        return len(self._targets)

    def register(self, fd: int, target: Target, events: int = READABLE) -> None:
        """Watch a socket for events; errors are always among them."""
        target.since = self.turn
        self._epoll.register(fd, events)
        self._targets[fd] = target

    def hand_over(self, fd: int, target: Target) -> None:
        """Let another target have the events of a socket that is watched."""
        target.since = self.turn
        self._targets[fd] = target

    def modify(self, fd: int, events: int) -> None:
        """Watch a socket for other events."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Watch a socket no longer; to be called before it is closed."""
        if self._targets.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def give_up(self, fd: int, target: Target) -> None:
        """Abort a target that has failed, or whoever it had handed its socket over to before."""
        _abort(self._targets.get(fd, target))

    def targets(self) -> list[Target]:
        """Return whoever has a socket here."""
        return list(self._targets.values())

    def flush_soon(self, wire: Flushable) -> None:
        """Call `flush` when the tasks that run now have run."""
        self._kept.append(wire)
        if self._flusher is not None:
            trio.lowlevel.reschedule(self._flusher)
            self._flusher = None

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> NoReturn:
        """Read whatever is ready, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            self._look()

    def _look(self) -> None:
        self.turn += 1
        targets = self._targets
        for fd, events in self._epoll.poll(0, MAX_EVENTS):
            target = targets.get(fd)
            if target is None or target.since == self.turn:
                continue
            try:
                target.ready(events)
            except Exception as exc:
                log_failure("a connection is ended: reading it failed", failure=exc)
                self.give_up(fd, target)

    @trio.lowlevel.enable_ki_protection
    async def run_flusher(self) -> NoReturn:
        """Write what was kept, until cancelled."""
        while True:
            if self._kept:
                await trio.lowlevel.checkpoint()
            else:
                self._flusher = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
            kept, self._kept = self._kept, []
            for wire in kept:
                try:
                    wire.flush()
                except Exception as exc:
                    log_failure("a connection is ended: writing it failed", failure=exc)
                    _abort(wire)

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._flusher = None
        return trio.lowlevel.Abort.SUCCEEDED

    def close(self) -> None:
        """Abort whatever is still watched, and close the epoll object."""
        for target in self.targets():
            _abort(target)
        self._epoll.close()


def _abort(target: Target | Flushable) -> None:
    try:
        target.abort()
    except Exception as exc:
        log_failure("aborting a connection failed", failure=exc)
