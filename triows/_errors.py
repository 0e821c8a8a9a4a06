"""The errors of triows: one root, three faults.

TriowsError
├─ ConnectionClosed            nobody's fault: it ended. `.info`
├─ Close · Reject              not faults: how a handler ends its own connection
├─ PeerError                   their fault; carries the close code we answer with
│   └─ ProtocolViolation 1002 · InvalidMessage 1007 · MessageTooBig 1009
├─ StateError (RuntimeError)   our caller's fault: a bug in the application
│   └─ OutsideConnection · AlreadyAccepted · NotRunning
├─ RouteError (ValueError)     wrong at registration, so at import; or a URL that is none
├─ BrokerError                 published messages may have been missed, or not have gone out
│   └─ BrokerUnavailable · SubscriptionLagged
└─ HandshakeRejected           test client: the handshake was answered with HTTP `.status`
"""

from typing import Any, ClassVar

from triows._close import NORMAL, CloseInfo, check_code, cut_reason
from triows._headers import HeadersInput, RawHeaders, encode_headers


class TriowsError(Exception):
    """The root of every error that triows raises on purpose."""


class ConnectionClosed(TriowsError):
    """The connection has ended; nothing more can be sent or received.

    A handler need not catch it: leaving the handler of the connection that
    ended, it is an ordinary ending and not an error.

    Attributes:
        info: How the connection ended.
        websocket: The `WebSocket` that ended, or None from a test client.
    """

    def __init__(self, info: CloseInfo, websocket: Any = None) -> None:
        super().__init__(info, websocket)
        self.info = info
        self.websocket: Any = websocket

    def __str__(self) -> str:
        return f"the connection has ended: {self.info}"


class Close(TriowsError):
    """Raise it anywhere below a handler to end the connection with this close frame.

    Before accept the connection is accepted first, then closed: a browser shows
    a close code only of a connection that was open.

    Raises:
        ValueError: An endpoint may not send this code (RFC 6455 §7.4).
    """

    def __init__(self, code: int = NORMAL, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code: int = check_code(code)
        self.reason: str = cut_reason(reason)

    def __str__(self) -> str:
        return f"close with {self.code} {self.reason!r}"


class Reject(TriowsError):
    """Raise it before accept to answer the handshake with an HTTP response.

    Args:
        status: 300 to 599. Servers without the `websocket.http.response`
            extension answer 403 whatever is asked for.
        body: Text is sent as UTF-8.
        headers: A mapping or pairs, checked at once.

    Raises:
        ValueError: The status is not one that refuses, or a header is malformed.
    """

    def __init__(
        self, status: int = 403, body: str | bytes = "", headers: HeadersInput | None = None
    ) -> None:
        super().__init__(status, body, headers)
        if not (isinstance(status, int) and 300 <= status <= 599):
            raise ValueError(f"a handshake is refused with a status of 300 to 599, not {status!r}")
        if not isinstance(body, str | bytes):
            raise TypeError(
                f"the body of a Reject is str or bytes, not {body!r}; headers come after it"
            )
        self.status: int = int(status)
        self.headers: RawHeaders = encode_headers(headers)
        if isinstance(body, str) and not any(name == b"content-type" for name, _ in self.headers):
            self.headers.append((b"content-type", b"text/plain; charset=utf-8"))
        self.body: bytes = body.encode(errors="replace") if isinstance(body, str) else bytes(body)

    def __str__(self) -> str:
        return f"reject with HTTP {self.status}"


class PeerError(TriowsError):
    """The peer sent what it must not; the connection is closed with `code`."""

    default_code: ClassVar[int] = 1008

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code: int = check_code(self.default_code if code is None else code)


class ProtocolViolation(PeerError):
    """The peer broke the framing rules (RFC 6455 §5)."""

    default_code = 1002


class InvalidMessage(PeerError):
    """A message is not what it should be: bad UTF-8 or JSON (1007), or of the wrong kind (1003)."""

    default_code = 1007


class MessageTooBig(PeerError):
    """A message is larger than `max_message_size`."""

    default_code = 1009


class StateError(TriowsError, RuntimeError):
    """The application asked for something that is not possible now."""


class OutsideConnection(StateError):
    """`websocket` was used where no connection is."""


class AlreadyAccepted(StateError):
    """The handshake was answered before, in another way."""


class NotRunning(StateError):
    """The app's lifespan is not running, and what was asked for needs it."""

    def __str__(self) -> str:
        return (
            f"{self.args[0]}, and the app's lifespan is not running. A server runs it, and so does "
            "`triows.testing.client`; for an app mounted in another (Starlette's Mount runs no "
            "lifespan but its own) put `async with app.running():` into the outer app's lifespan"
        )


class RouteError(TriowsError, ValueError):
    """A route, a mount or one of their settings is wrong, or a URL was asked for that is none."""


class HandshakeRejected(TriowsError):
    """The test client's handshake was answered with an HTTP response.

    Attributes:
        status: The HTTP status.
        headers: Lower-case names and values, in order.
        body: The response's body.
    """

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        super().__init__(status, headers, body)
        self.status = status
        self.headers = headers
        self.body: bytes = body

    def __str__(self) -> str:
        return f"the handshake was answered with HTTP {self.status}: {self.body[:200]!r}"


class BrokerError(TriowsError):
    """Published messages may have been missed, or not have gone out."""


class BrokerUnavailable(BrokerError):
    """The broker cannot be reached. A message that was being published may have gone out."""


class SubscriptionLagged(BrokerError):
    """Messages of a subscription were missed: it was too slow, or the broker was away."""
