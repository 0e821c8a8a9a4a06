"""How many files a process may have open: a connection is one, on each side."""

import resource


def raise_open_files() -> None:
    """Allow this process, and what it starts, as many as the system lets it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def max_open_files() -> int:
    """Return how many this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
