"""The two loggers, and the form of what they say."""

import logging
from typing import Any

import pytest

from triows._logs import client_of, log_access, log_failure, log_refusal, reporter_of

SCOPE: dict[str, Any] = {"type": "websocket", "path": "/room/7", "client": ("192.0.2.1", 50000)}


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Let INFO through, as a server's configuration does."""
    caplog.set_level(logging.INFO, "triows")


def test_failure_comes_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """A failure is an ERROR of `triows.error`, with the traceback of where it happened."""
    with pytest.raises(ValueError, match="invalid literal") as caught:
        int("x")
    failure = caught.value

    log_failure("handler %s failed", "echo", failure=failure)

    (record,) = caplog.records
    assert ("triows.error", logging.ERROR) == (record.name, record.levelno)
    assert "handler echo failed" == record.getMessage()
    assert (ValueError, failure, failure.__traceback__) == record.exc_info


def test_access_line(caplog: pytest.LogCaptureFixture) -> None:
    """A connection is one INFO line of `triows.access`: who, where, how it ended, how much."""
    log_access(SCOPE, 101, seconds=1.5, code=1001, received=3, sent=4)

    (record,) = caplog.records
    assert ("triows.access", logging.INFO) == (record.name, record.levelno)
    expected = '192.0.2.1:50000 "WS /room/7" 101 1001 1.500 s, 3 in, 4 out'
    assert expected == record.getMessage()


def test_access_line_without_a_close_code(caplog: pytest.LogCaptureFixture) -> None:
    """A connection that was never open has no close code."""
    log_access(SCOPE, 403, seconds=0)

    assert '192.0.2.1:50000 "WS /room/7" 403 - 0.000 s, 0 in, 0 out' == caplog.messages[0]


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_refusal_line(caplog: pytest.LogCaptureFixture, level: int) -> None:
    """A refused handshake says why, and louder where the developer may be surprised."""
    log_refusal(SCOPE, 403, "origin 'null' is not allowed", level=level)

    (record,) = caplog.records
    assert ("triows.access", level) == (record.name, record.levelno)
    expected = "192.0.2.1:50000 \"WS /room/7\" 403 - origin 'null' is not allowed"
    assert expected == record.getMessage()


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/a\r\n127.0.0.1 forged", "/a%0D%0A127.0.0.1%20forged"),
        ('/a"b', "/a%22b"),
        ("/ü", "/%C3%BC"),
        ("/\x1b[2J", "/%1B%5B2J"),
        ("/\udcff", "/%ED%B3%BF"),
    ],
)
def test_path_cannot_forge_a_line(caplog: pytest.LogCaptureFixture, path: str, logged: str) -> None:
    """The path is the peer's text: it is percent-encoded, and no path makes logging fail."""
    log_access({**SCOPE, "path": path}, 101, seconds=0)
    log_refusal({**SCOPE, "path": path}, 404, "no route")

    assert [True, True] == [f'"WS {logged}" ' in message for message in caplog.messages]


@pytest.mark.parametrize(
    ("scope", "client"),
    [
        ({"client": ("192.0.2.1", 50000)}, "192.0.2.1:50000"),
        ({"client": ["192.0.2.1", 50000]}, "192.0.2.1:50000"),
        ({"client": None}, "-"),
        ({}, "-"),
    ],
)
def test_client(scope: dict[str, Any], client: str) -> None:
    """The peer is host and port, or a hyphen where the server does not know it."""
    assert client == client_of(scope)


def test_reporter_of_a_test() -> None:
    """A test client asks for the failures through its scope, and is handed them."""
    failures: list[Exception] = []
    report = reporter_of({"extensions": {"triows.errors": failures.append}})
    failure = ValueError()

    report(failure)

    assert [failure] == failures


@pytest.mark.parametrize("scope", [{}, {"extensions": {}}])
def test_nobody_asked_for_the_failures(scope: dict[str, Any]) -> None:
    """Under a server nobody asked for them, and handing them over does nothing."""
    reporter_of(scope)(ValueError())


def test_nobody_reads_the_access_log(caplog: pytest.LogCaptureFixture) -> None:
    """Where its level is higher, a connection costs no line, not even the making of one."""
    caplog.set_level(logging.WARNING, "triows.access")

    log_access({}, 101, seconds=0)

    assert [] == caplog.messages
