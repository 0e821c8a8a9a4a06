"""The two loggers, and the form of what they say.

`triows.error` has tracebacks of failures and warnings; `triows.access` has one line a
connection, at INFO, or at WARNING where a setting of the app may have surprised its developer.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

error_log = logging.getLogger("triows.error")
access_log = logging.getLogger("triows.access")


def log_failure(message: str, *values: object, failure: BaseException) -> None:
    """Log a failure with its traceback."""
    error_log.error(message, *values, exc_info=failure)


def log_access(
    scope: Mapping[str, Any],
    status: int,
    *,
    seconds: float,
    code: int | None = None,
    received: int = 0,
    sent: int = 0,
) -> None:
    """Log the line of one connection: who, what, HTTP status, close code, and how much."""
    if not access_log.isEnabledFor(logging.INFO):
        return
    access_log.info(
        '%s "WS %s" %d %s %.3f s, %d in, %d out',
        client_of(scope),
        _path_of(scope),
        status,
        "-" if code is None else code,
        seconds,
        received,
        sent,
    )


def log_refusal(
    scope: Mapping[str, Any], status: int, why: str, *, level: int = logging.INFO
) -> None:
    """Log the line of a handshake that reached no handler."""
    access_log.log(level, '%s "WS %s" %d - %s', client_of(scope), _path_of(scope), status, why)


def client_of(scope: Mapping[str, Any]) -> str:
    """Return the peer as `host:port`, or "-"."""
    client = scope.get("client")
    return "-" if client is None else f"{client[0]}:{client[1]}"


def _path_of(scope: Mapping[str, Any]) -> str:
    # Quoted, so that no path can forge a line; and some servers decode with surrogates.
    return quote(scope["path"], errors="surrogatepass")


def reporter_of(scope: Mapping[str, Any]) -> Callable[[Exception], None]:
    """Return what hands logged failures to the test that serves this scope, if one does."""
    reporter: Callable[[Exception], None] | None
    reporter = (scope.get("extensions") or {}).get("triows.errors")
    return _keep_quiet if reporter is None else reporter


def _keep_quiet(_: Exception) -> None:
    """Stand in where nobody asked for the failures."""
