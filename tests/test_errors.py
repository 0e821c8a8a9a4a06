"""The errors: whose fault each is, and what it carries."""

import copy
import pickle
from http import HTTPStatus

import pytest

from triows._close import CloseInfo
from triows._errors import (
    AlreadyAccepted,
    Close,
    ConnectionClosed,
    HandshakeRejected,
    InvalidMessage,
    MessageTooBig,
    NotRunning,
    OutsideConnection,
    PeerError,
    ProtocolViolation,
    Reject,
    RouteError,
    StateError,
    TriowsError,
)
from triows._headers import HeadersInput, RawHeaders

TEXT = (b"content-type", b"text/plain; charset=utf-8")
GONE = CloseInfo(4001, "bye", by_peer=True)


# How a handler ends its own connection


def test_close_is_normal_by_default() -> None:
    """A bare `raise Close` ends the connection as if the handler had returned."""
    close = Close()

    assert (1000, "") == (close.code, close.reason)
    assert "close with 1000 ''" == str(close)


def test_close_checks_its_code() -> None:
    """A code that may not be sent is the application's mistake, found where it is written."""
    with pytest.raises(ValueError, match="close code 1006 cannot be sent"):
        Close(1006)


def test_close_cuts_its_reason() -> None:
    """A reason that is too long for a close frame is no mistake: it is cut."""
    assert "ü" * 61 == Close(4404, "ü" * 100).reason


def test_reject_is_forbidden_by_default() -> None:
    """A bare `raise Reject` answers 403, with an empty body."""
    reject = Reject()

    assert (403, [TEXT], b"") == (reject.status, reject.headers, reject.body)
    assert "reject with HTTP 403" == str(reject)


@pytest.mark.parametrize(
    ("body", "headers", "raw", "content"),
    [
        ("who?", None, [TEXT], b"who?"),
        ("wër?", None, [TEXT], b"w\xc3\xabr?"),
        ("\ud800", None, [TEXT], b"?"),
        (b"\xff", None, [], b"\xff"),
        (
            "{}",
            {"Content-Type": "application/json"},
            [(b"content-type", b"application/json")],
            b"{}",
        ),
        ("", [("Retry-After", "5")], [(b"retry-after", b"5"), TEXT], b""),
    ],
    ids=["text", "UTF-8", "surrogate", "bytes", "own content type", "own header"],
)
def test_reject_body(
    body: str | bytes, headers: HeadersInput | None, raw: RawHeaders, content: bytes
) -> None:
    """A text body is UTF-8 and says so, unless a content type was given; bytes are left alone."""
    reject = Reject(401, body, headers)

    assert (raw, content) == (reject.headers, reject.body)


def test_reject_does_not_keep_the_callers_headers() -> None:
    """Headers that the application keeps and changes later do not change the answer."""
    headers = {"X-Version": "1"}
    reject = Reject(401, b"", headers)
    headers["X-Version"] = "2"

    assert [(b"x-version", b"1")] == reject.headers


@pytest.mark.parametrize("status", [300, 401, 503, 599, HTTPStatus.TOO_MANY_REQUESTS])
def test_reject_status(status: int) -> None:
    """Every status that refuses may be used, also by its name in `http`."""
    reject = Reject(status)

    assert (status, int) == (reject.status, type(reject.status))


@pytest.mark.parametrize("status", [0, 101, 200, 299, 600, -1])
def test_reject_with_a_status_that_does_not_refuse(status: int) -> None:
    """A status that would accept, or is none, is the application's mistake."""
    with pytest.raises(ValueError, match=f"a status of 300 to 599, not {status}"):
        Reject(status)


def test_reject_checks_its_headers() -> None:
    """A header that would split the response is found where it is written."""
    with pytest.raises(ValueError, match="has a control character"):
        Reject(401, headers={"X": "a\r\nSet-Cookie: b"})


def test_reject_with_headers_for_a_body() -> None:
    """Arguments in the wrong order are told apart at once."""
    with pytest.raises(TypeError, match="headers come after it"):
        Reject(401, {"WWW-Authenticate": "Bearer"})  # type: ignore[arg-type]


# Nobody's fault


def test_connection_closed_tells_how() -> None:
    """It carries what is known of the end, and whose end it was."""
    websocket = object()
    closed = ConnectionClosed(GONE, websocket)

    assert (GONE, websocket) == (closed.info, closed.websocket)
    assert "the connection has ended: peer closed 4001 'bye'" == str(closed)


def test_connection_closed_of_a_test_client() -> None:
    """From a test client there is no `WebSocket` to name."""
    assert None is ConnectionClosed(GONE).websocket


def test_handshake_rejected_shows_the_answer() -> None:
    """A test that did not expect the rejection reads status and body in the failure."""
    rejected = HandshakeRejected(401, [("x", "1")], b"who?" + b"!" * 1000)

    assert (401, [("x", "1")], b"who?") == (rejected.status, rejected.headers, rejected.body[:4])
    expected = f"the handshake was answered with HTTP 401: {b'who?' + b'!' * 196!r}"
    assert expected == str(rejected)


# Their fault


@pytest.mark.parametrize(
    ("kind", "code"),
    [(PeerError, 1008), (ProtocolViolation, 1002), (InvalidMessage, 1007), (MessageTooBig, 1009)],
)
def test_peer_error(kind: type[PeerError], code: int) -> None:
    """What the peer did wrong has the close code that answers it, and another if need be."""
    assert ("why", code) == (str(kind("why")), kind("why").code)
    assert 4000 == kind("why", 4000).code


def test_peer_error_of_an_application() -> None:
    """An application gives its own kind a code, which is checked when it is raised."""

    class Nonsense(PeerError):
        default_code = 4422

    class Impossible(PeerError):
        default_code = 1006

    assert 4422 == Nonsense("why").code
    with pytest.raises(ValueError, match="close code 1006 cannot be sent"):
        Impossible("why")
    with pytest.raises(ValueError, match="close code 42 cannot be sent"):
        Nonsense("why", 42)


# Our caller's fault


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (StateError, RuntimeError),
        (OutsideConnection, RuntimeError),
        (AlreadyAccepted, RuntimeError),
        (NotRunning, RuntimeError),
        (RouteError, ValueError),
    ],
)
def test_bugs_are_builtin_errors_too(kind: type[Exception], builtin: type[Exception]) -> None:
    """A bug of the application is caught as the builtin error that it would be anywhere."""
    assert issubclass(kind, builtin)
    assert issubclass(kind, TriowsError)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionClosed(GONE),
        Close(4404, "no such room"),
        Reject(401, "who?", {"X": "1"}),
        InvalidMessage("not JSON", 1003),
        HandshakeRejected(401, [("x", "1")], b"who?"),
        RouteError("/a: twice"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_copies(error: TriowsError) -> None:
    """An error survives pickling, as between the processes of a test run, with all it carries."""
    for copied in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301
        assert str(error) == str(copied)
        assert vars(error) == vars(copied)


def test_an_app_that_is_not_running() -> None:
    """The error says what was asked for, and who runs apps."""
    text = str(NotRunning("app.nursery was asked for"))

    assert text.startswith("app.nursery was asked for, and the app's lifespan is not running")
    assert "app.running()" in text
