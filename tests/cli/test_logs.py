"""What the program says: its own lines, and the log, on stderr and once."""

import logging
import os
from collections.abc import Generator
from importlib.metadata import version
from pathlib import Path

import pytest
from hypercorn import Config

from triows._logs import access_log, error_log
from triows.cli._logs import say, say_listening, set_up_logs
from triows.cli._settings import Settings
from triows.cli._statuses import CommandError
from triows.server import Drain


@pytest.fixture(autouse=True)
def logs(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Let the loggers be as they are in a new process, and close what a test has opened."""
    levels = {logger: logger.level for logger in (error_log, access_log)}
    for logger in levels:
        monkeypatch.setattr(logger, "handlers", [])
    yield
    for logger, level in levels.items():
        logger.setLevel(level)
        for handler in logger.handlers:
            handler.close()


def forget_pytest() -> None:
    """Take away what pytest has set up for each test, after its fixtures: nobody shall have."""
    logging.getLogger().handlers.clear()


def settings(
    log_level: str | None = None, *, access_log: bool | None = None, **config: object
) -> Settings:
    """Return settings that differ in what concerns logging."""
    return Settings(
        target="shop:app",
        config=Config.from_mapping(config),
        drain=Drain(),
        compression=None,
        workers=1,
        reload=False,
        log_level=log_level,
        access_log=access_log,
    )


def log_everything() -> None:
    """Log a line at each of three levels to each of the two loggers."""
    for name, logger in (("error", error_log), ("access", access_log)):
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logger.log(level, "%s: %s", name, logging.getLevelName(level))


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what was logged to stderr, without times, after something of each kind was."""
    log_everything()
    captured = capsys.readouterr()
    assert "" == captured.out
    return [line.partition("] [")[2].partition("] ")[2] for line in captured.err.splitlines()]


def test_lines_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    """They go to stderr, and tell where to connect to, and what to send signals to."""
    say("no")
    say_listening(["http://a:1", "unix:/b"])

    name = f"triows {version('triows')}"
    assert [
        "triows: no",
        f"{name} listening on http://a:1 (pid {os.getpid()})",
        f"{name} listening on unix:/b (pid {os.getpid()})",
    ] == capsys.readouterr().err.splitlines()


def test_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    """Both logs are written, from the level info on, each line with its process."""
    forget_pytest()
    set_up_logs(settings())

    error_log.info("hello")
    assert f"[{os.getpid()}] [INFO] hello\n" in capsys.readouterr().err
    assert [
        "error: INFO",
        "error: WARNING",
        "access: INFO",
        "access: WARNING",
    ] == [line.partition("] ")[2] or line for line in lines_of(capsys)]


@pytest.mark.parametrize(
    ("level", "access", "errors", "accesses"),
    [
        ("debug", None, 3, 3),
        ("warning", None, 1, 1),
        ("warning", True, 1, 2),
        ("debug", False, 3, 1),
        (None, False, 2, 1),
        ("critical", None, 0, 0),
    ],
)
def test_levels(
    level: str, access: bool | None, errors: int, accesses: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The level is for both; the access log can be had without it, and be left out."""
    forget_pytest()
    set_up_logs(settings(level, access_log=access))

    lines = "\n".join(lines_of(capsys))
    assert (errors, accesses) == (lines.count("error: "), lines.count("access: "))


def test_log_that_the_app_has_set_up(capsys: pytest.CaptureFixture[str]) -> None:
    """It is as the app wants it: no line comes twice, no level is another."""
    forget_pytest()
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    logging.getLogger().addHandler(handler)

    set_up_logs(settings())
    log_everything()

    assert ["error: WARNING", "access: WARNING"] == capsys.readouterr().err.splitlines()


def test_options_and_the_log_of_an_app() -> None:
    """What the command line says of levels holds there, too."""
    forget_pytest()
    logging.getLogger().addHandler(logging.NullHandler())

    set_up_logs(settings("error", access_log=True))

    assert (logging.ERROR, logging.INFO) == (error_log.level, access_log.level)


def test_log_that_is_set_up_later(capsys: pytest.CaptureFixture[str]) -> None:
    """An app that sets up logging in its lifespan does not get every line twice."""
    forget_pytest()
    set_up_logs(settings())
    logging.getLogger().addHandler(logging.StreamHandler())

    error_log.warning("once")

    assert "once\n" == capsys.readouterr().err


def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration may have the logs in files."""
    forget_pytest()
    errors, accesses = tmp_path / "errors", tmp_path / "accesses"
    set_up_logs(settings(errorlog=str(errors), accesslog=str(accesses)))

    assert [] == lines_of(capsys)
    assert (2, 2) == (errors.read_text().count("error: "), accesses.read_text().count("access: "))


def test_file_that_cannot_be_written(tmp_path: Path) -> None:
    """It is named, with what is wrong."""
    forget_pytest()
    with pytest.raises(CommandError, match=r"cannot write the log .*/no/log: no such file"):
        set_up_logs(settings(errorlog=f"{tmp_path}/no/log"))


def test_logger_of_a_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    """A logger is possible there, too; ours writes where that one does."""
    forget_pytest()
    own = logging.Logger("own")  # noqa: LOG001  # for this test only
    own.addHandler(logging.StreamHandler())

    set_up_logs(settings(errorlog=own, accesslog="-"))
    error_log.warning("here")

    assert "here\n" == capsys.readouterr().err


def test_log_of_hypercorn() -> None:
    """What hypercorn's parts log goes the same way; without an access log they make no lines."""
    forget_pytest()
    with_access, without = settings(), settings(access_log=False)
    set_up_logs(with_access)
    assert (error_log, access_log) == (with_access.config.errorlog, with_access.config.accesslog)

    set_up_logs(without)
    assert without.config.accesslog is None
