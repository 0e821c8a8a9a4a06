"""Cores, and the CPU time and memory of other processes. Linux only."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")
_SESSION_FIELD = 3  # of /proc/PID/stat, counted behind the command's closing parenthesis


def own_core() -> int | None:
    """Return the core of the server under measurement; None if there are not two to share."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[-1] if len(cores) > 1 else None


def leave_core(core: int | None) -> None:
    """Keep this process, and what it starts from now on, off that core."""
    if core is not None:
        os.sched_setaffinity(0, os.sched_getaffinity(0) - {core})


def pin(pid: int, core: int | None) -> None:
    """Keep a process, and what it starts from now on, on that core alone."""
    if core is not None:
        os.sched_setaffinity(pid, {core})


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the user and system time that these processes have spent so far."""
    return sum(map(_process_seconds, pids))


def _process_seconds(pid: int) -> float:
    # The clock that clock_getcpuclockid(3) would return. It counts nanoseconds, where
    # /proc/PID/stat counts ticks of 10 ms: a tenth of what is measured at a time.
    return time.clock_gettime((~pid << 3) | 2)


def resident_bytes(pids: Iterable[int]) -> int:
    """Return the memory of these processes that is not swapped out, the shared counted for each."""
    pages = (int((_PROC / str(pid) / "statm").read_text().split()[1]) for pid in pids)
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def processes_of(session: int) -> list[int]:
    """Return all processes of a session: a server, started as its leader, and its workers."""
    return [pid for pid in _all_pids() if _session_of(pid) == session]


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal()]


def _session_of(pid: int) -> int | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command is in parentheses, and may contain any character.
    return int(stat.rpartition(")")[2].split()[_SESSION_FIELD])
