"""From options and a configuration file to what `triows run` works with.

The file is hypercorn's, and its names are: `Config` says what each means. What the command line
says goes over it. A `Config` takes any name and any value without a word, so the names of a
TOML file, and the values that we use before the server does, are checked here.
"""

import argparse
import inspect
import re
import ssl
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hypercorn import Config

from triows.cli._statuses import CommandError
from triows.server import Drain

_ADDRESS = re.compile(
    r"unix:.+|fd://\d+|(?:\[[^\[\]]+\]|[^\[\]:/\s]+):(?P<port>\d{1,5})", re.DOTALL
)

_BINDS = ("bind", "insecure_bind")

MAX_PORT = 65535

LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the user wants, whole and checked.

    Attributes:
        workers: Processes that serve; with one there is no supervisor.
        log_level: In lower case; None leaves an app's own logging as it is, and is
            "info" otherwise.
        access_log: None is as if it were true, but for an app's own logging.
    """

    target: str
    config: Config
    drain: Drain
    compression: Literal["deflate"] | None
    workers: int
    reload: bool
    log_level: str | None
    access_log: bool | None


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return what the parsed arguments of `triows run` ask for.

    Raises:
        CommandError: An option, the file, or something in the file is malformed, or two
            of them contradict each other.
    """
    config = Config() if arguments.config is None else load_config(arguments.config)
    for name in ("certfile", "keyfile"):
        setattr(config, name, getattr(arguments, name) or getattr(config, name))
    config.bind = arguments.bind or config.bind
    config.insecure_bind = arguments.insecure_bind or config.insecure_bind
    _check_binds(config)
    _check_certificate(config)
    if not (isinstance(config.workers, int) and config.workers >= 1):
        raise CommandError(f"workers must be a number from 1, not {config.workers!r}")
    _check_shutdown(config)
    settings = Settings(
        target=arguments.target,
        config=config,
        drain=_drain_of(arguments, config),
        compression=arguments.compression,
        workers=arguments.workers or config.workers,
        reload=arguments.reload,
        log_level=_level_of(arguments, config),
        access_log=arguments.access_log,
    )
    if settings.reload and settings.workers > 1:
        raise CommandError("--reload restarts a single worker: leave out --workers")
    # Taken over by us; and hypercorn would bind with SO_REUSEPORT, and not notice another server.
    config.workers = 1
    return settings


def load_config(name: str) -> Config:
    """Read a configuration from a TOML or a Python file.

    Raises:
        CommandError: There is no such file, it is malformed, or raised, or a name in it
            means nothing.
    """
    path = Path(name)
    if path.suffix not in {".toml", ".py"}:
        raise CommandError(f"{name} is no configuration: write a .toml or a .py file")
    try:
        if path.suffix == ".py":
            return Config.from_pyfile(path)
        _check_names(tomllib.loads(path.read_text("utf-8")), name)
        return Config.from_toml(path)
    except OSError as exc:
        raise CommandError(f"cannot read {name}: {reason_of(exc)}") from exc
    except CommandError:
        raise
    except Exception as exc:
        what = str(exc) if path.suffix == ".toml" else f"{type(exc).__name__}: {exc}"
        raise CommandError(f"cannot read {name}: {what}") from exc


def reason_of(failure: OSError) -> str:
    """Return what the system says is wrong, as the end of a sentence."""
    words = failure.strerror or str(failure)
    return words[:1].lower() + words[1:]


def _drain_of(arguments: argparse.Namespace, config: Config) -> Drain:
    grace = arguments.drain_grace
    if grace is None:
        # The default of hypercorn is 3 s, and ours is another: what the file itself says counts.
        grace = vars(config).get("graceful_timeout", Drain().grace)
    try:
        return Drain(grace=grace)
    except (TypeError, ValueError) as exc:
        raise CommandError(f"the drain's {exc}") from exc


def _check_shutdown(config: Config) -> None:
    seconds = config.shutdown_timeout
    # Written by hand, it may be anything.
    if not (isinstance(seconds, int | float) and seconds >= 0):
        raise CommandError(f"shutdown_timeout must be seconds, not {seconds!r}")


def _level_of(arguments: argparse.Namespace, config: Config) -> str | None:
    level = arguments.log_level or vars(config).get("loglevel")
    if level is None:
        return None
    if str(level).lower() not in LEVELS:
        raise CommandError(f"loglevel must be one of {', '.join(LEVELS)}, not {level!r}")
    return str(level).lower()


def _check_names(names: Iterable[str], file: str) -> None:
    known = {name for name, value in inspect.getmembers_static(Config) if _is_setting(name, value)}
    unknown = sorted(set(names) - known)
    if unknown:
        raise CommandError(f"{file} has what is no setting: {', '.join(unknown)}")


def _is_setting(name: str, value: object) -> bool:
    if isinstance(value, property):
        return value.fset is not None
    return not (name.startswith("_") or callable(value) or isinstance(value, classmethod))


def _check_binds(config: Config) -> None:
    if config.quic_bind:
        raise CommandError("quic_bind is for HTTP/3, which triows does not serve")
    for name in _BINDS:
        binds = getattr(config, name)
        if not isinstance(binds, list | tuple):
            raise CommandError(f"{name} must be a list of addresses, not {binds!r}")
        for bind in binds:
            _check_bind(bind)


def _check_bind(bind: object) -> None:
    match = _ADDRESS.fullmatch(bind) if isinstance(bind, str) else None
    if match is None or int(match["port"] or 0) > MAX_PORT:
        raise CommandError(
            f"{bind!r} is no address to listen on: write HOST:PORT, unix:PATH or fd://N"
        )


def _check_certificate(config: Config) -> None:
    """Refuse a certificate that cannot be used, before anything listens."""
    if (config.certfile is None) != (config.keyfile is None):
        missing = "keyfile" if config.keyfile is None else "certfile"
        raise CommandError(f"a certificate and its key belong together: --{missing} is missing")
    try:
        config.create_ssl_context()
    except ssl.SSLError as exc:
        files = f"{config.certfile} and {config.keyfile}"
        raise CommandError(f"cannot use {files} for TLS: {exc.reason or exc}") from exc
    except OSError as exc:
        files = f"{config.certfile} or {config.keyfile}"
        raise CommandError(f"cannot read {files}: {reason_of(exc)}") from exc
