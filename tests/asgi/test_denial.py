"""Refusing a handshake over ASGI."""

import pytest

from triows._asgi._denial import denial
from triows._headers import RawHeaders
from triows._types import Event, Scope


def scope(http_version: str | None = "1.1", *, extension: bool = True) -> Scope:
    """Return what matters of a handshake's scope."""
    version = {} if http_version is None else {"http_version": http_version}
    return {**version, "extensions": {"websocket.http.response": {}} if extension else {}}


def test_response() -> None:
    """A denial is a whole HTTP response: status, the app's headers, ours, and the body."""
    events = denial(scope(), 401, [(b"www-authenticate", b"Bearer")], b"who?")

    assert [
        {
            "type": "websocket.http.response.start",
            "status": 401,
            "headers": [
                (b"www-authenticate", b"Bearer"),
                (b"content-length", b"4"),
                (b"connection", b"close"),
            ],
        },
        {"type": "websocket.http.response.body", "body": b"who?", "more_body": False},
    ] == events


def test_empty_body() -> None:
    """A denial without a text has a body all the same: servers wait for one."""
    start, body = denial(scope(), 404, [], b"")

    assert (b"content-length", b"0") in start["headers"]
    assert {"type": "websocket.http.response.body", "body": b"", "more_body": False} == body


@pytest.mark.parametrize("http_version", ["2", "1.0", None])
def test_connection_header_only_over_http_1_1(http_version: str | None) -> None:
    """Over HTTP/2 the header is illegal (RFC 9113 §8.2.2), and it is not sent on a guess."""
    start, _ = denial(scope(http_version), 403, [], b"")

    assert [(b"content-length", b"0")] == start["headers"]


def test_framing_is_ours() -> None:
    """Headers of the app that delimit the response are replaced: two lengths end a server."""
    theirs: RawHeaders = [
        (b"content-length", b"99"),
        (b"connection", b"keep-alive"),
        (b"transfer-encoding", b"chunked"),
        (b"retry-after", b"5"),
    ]

    start, _ = denial(scope(), 503, theirs, b"later")

    assert [
        (b"retry-after", b"5"),
        (b"content-length", b"5"),
        (b"connection", b"close"),
    ] == start["headers"]


def test_the_callers_list_is_left_alone() -> None:
    """The headers that were handed in may be used for the next denial."""
    headers: RawHeaders = [(b"retry-after", b"5")]

    denial(scope(), 503, headers, b"")

    assert [(b"retry-after", b"5")] == headers


@pytest.mark.parametrize(
    "without", [scope(extension=False), {"http_version": "1.1"}, {"extensions": None}]
)
def test_server_that_knows_403_only(without: Scope) -> None:
    """Without the extension the handshake is closed, which servers answer with 403."""
    expected: list[Event] = [{"type": "websocket.close", "code": 1000, "reason": ""}]

    assert expected == denial(without, 401, [(b"www-authenticate", b"Bearer")], b"who?")
