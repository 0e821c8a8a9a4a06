"""What `triows run` says: the start-up line, and the log, all of it on stderr."""

import logging
import os
import sys
from collections.abc import Iterable
from importlib.metadata import version

from triows._logs import access_log, error_log
from triows.cli._settings import Settings, reason_of
from triows.cli._statuses import CommandError

FORMAT = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
DATES = "[%Y-%m-%d %H:%M:%S %z]"

STDERR = "-"


def say(line: str) -> None:
    """Print a line of the program's own."""
    print(f"triows: {line}", file=sys.stderr, flush=True)


def say_listening(addresses: Iterable[str]) -> None:
    """Print where the server listens, and which process to send signals to.

    Tests and scripts wait for these lines: from then on every client is served.
    """
    for address in addresses:
        line = f"triows {version('triows')} listening on {address} (pid {os.getpid()})"
        print(line, file=sys.stderr, flush=True)


def set_up_logs(settings: Settings) -> None:
    """Let our two loggers write to stderr, and the parts that are hypercorn's write to them.

    An app that has set up logging while it was imported keeps what it has set up, but for
    the options that were given; an `errorlog` or `accesslog` of the configuration is a file.
    """
    config = settings.config
    _set_up(error_log, config.errorlog, settings.log_level)
    _set_up(access_log, config.accesslog, _access_level(settings))
    config.errorlog = error_log
    # A line that nobody reads is not to be put together for every request.
    config.accesslog = access_log if access_log.isEnabledFor(logging.INFO) else None


def _access_level(settings: Settings) -> str | None:
    if settings.access_log is None:
        return settings.log_level
    # Without the access log there are still warnings: a setting may have surprised somebody.
    return "info" if settings.access_log else "warning"


def _set_up(logger: logging.Logger, target: logging.Logger | str | None, level: str | None) -> None:
    is_set_up = logger.hasHandlers()
    if not is_set_up:
        for handler in _handlers_of(target):
            logger.addHandler(handler)
    if level is not None or not is_set_up:
        logger.setLevel((level or "info").upper())


def _handlers_of(target: logging.Logger | str | None) -> list[logging.Handler]:
    if isinstance(target, logging.Logger):
        return target.handlers
    if target in {None, STDERR}:
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
        # An app may set up logging later, in its lifespan; then no line is to come twice.
        handler.addFilter(lambda _: not logging.getLogger().handlers)
    else:
        handler = _open_file(str(target))
    handler.setFormatter(logging.Formatter(FORMAT, DATES))
    return [handler]


def _open_file(name: str) -> logging.Handler:
    try:
        return logging.FileHandler(name)
    except OSError as exc:
        raise CommandError(f"cannot write the log {name}: {reason_of(exc)}") from exc
