"""The head of an HTTP/1.1 request: request line and header fields (RFC 9112 §2.1, §3, §5).

What is refused here cannot smuggle: everything that h11 refuses, which reads the same bytes
again where a request goes to hypercorn, and, unlike h11, line folding (RFC 9112 §5.2), control
characters in values (RFC 9110 §5.5) and versions other than HTTP/1. A line may end with a bare
LF (RFC 9112 §2.2), because for h11 it does.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from triows._headers import RawHeaders

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_REQUEST_LINE = rb"(" + _TOKEN + rb") ([\x21-\x7e]++) HTTP/([0-9]\.[0-9])\r?\n"
_FIELD_LINE = _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+\r?\n"

_REQUEST_LINE_ALONE = re.compile(_REQUEST_LINE)
_FIELD_LINE_ALONE = re.compile(_FIELD_LINE)
# Nothing in it matches in two ways: a hostile head costs no more than a good one.
_HEAD = re.compile(_REQUEST_LINE + rb"((?:" + _FIELD_LINE + rb")*+)\r?\n")
_END = re.compile(rb"\n\r?\n")

_LENGTH = re.compile(rb"[0-9]{1,20}")

_COMMON = {
    word: word
    for word in (
        *(b"host", b"upgrade", b"connection", b"origin", b"cookie", b"user-agent", b"pragma"),
        *(b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions"),
        *(b"sec-websocket-protocol", b"accept-encoding", b"accept-language", b"cache-control"),
        *(b"websocket", b"Upgrade", b"13", b"no-cache"),
        b"permessage-deflate; client_max_window_bits",
    )
}
"""Words of nearly every handshake: ten thousand connections that are open share them."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\n"
"""How a client begins that knows the server to speak HTTP/2 (RFC 9113 §3.4), as far as a head."""


class BadRequest(Exception):
    """A request that gets no further than its head.

    Attributes:
        status: Of the answer it deserves.
        message: What was wrong, one sentence, for the body of that answer.
        headers: What the answer must carry besides.
    """

    def __init__(self, status: int, message: str, headers: RawHeaders | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers: RawHeaders = [] if headers is None else headers


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What a client asks for.

    Attributes:
        method: As it was sent; methods are case-sensitive.
        target: As it was sent, in any of the four forms of RFC 9112 §3.2.
        version: "1.1", which stands for later minor versions too (RFC 9110 §2.5), or "1.0";
            "2.0" is the preface of HTTP/2, and of nothing else.
        headers: Lower-case names, in order, repeats kept; but one Content-Length.
    """

    method: str
    target: bytes
    version: str
    headers: RawHeaders
    _values: dict[bytes, list[bytes]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        values: dict[bytes, list[bytes]] = {}
        for name, value in self.headers:
            values.setdefault(name, []).append(value)
        object.__setattr__(self, "_values", values)

    def values(self, name: bytes) -> Sequence[bytes]:
        """Return the values of a header, in the order they came."""
        return self._values.get(name, ())

    def options(self, name: bytes) -> list[bytes]:
        """Return the elements of a header that is a list, in lower case; some may be empty."""
        return [
            option.strip(b" \t").lower()
            for value in self.values(name)
            for option in value.split(b",")
        ]


def end_of_head(data: bytes | bytearray, start: int = 0) -> int:
    """Return the index behind the blank line that ends the head, or -1 if it is not there yet.

    Args:
        data: All that was read of the request.
        start: Bytes at the beginning in which an earlier call has found no end.
    """
    found = _END.search(data, max(0, start - 3))
    return -1 if found is None else found.end()


def parse_head(data: bytes) -> RequestHead:
    """Parse a head, from the request line to the blank line, both included.

    Raises:
        BadRequest: 400 for what is malformed, ambiguous about the body's length, or lacks the
            one Host that HTTP/1.1 demands (RFC 9112 §3.2); 501 for a transfer coding other
            than chunked (§6.1); 505 for another major version.
    """
    found = _HEAD.fullmatch(data)
    if found is None:
        raise BadRequest(400, _fault_of(data))
    method, target, version, fields = found.groups()
    if not version.startswith(b"1."):
        return _check_preface(data)
    headers = []
    for line in fields.split(b"\n")[:-1]:
        name, _, value = line.partition(b":")
        # A CR can only be the one that ends the line.
        name, value = name.lower(), value.strip(b" \t\r")
        headers.append((_COMMON.get(name, name), _COMMON.get(value, value)))
    head = RequestHead(
        method.decode(),
        target,
        "1.0" if version == b"1.0" else "1.1",
        _check_fields(headers),
    )
    hosts = len(head.values(b"host"))
    if hosts > 1 or (hosts == 0 and head.version == "1.1"):
        raise BadRequest(400, f"The request has {hosts} Host headers instead of one.")
    return head


def wants_websocket(head: RequestHead) -> bool:
    """Return whether the fast lane is asked for: HTTP/1.1 and an upgrade to websocket."""
    return head.version == "1.1" and b"websocket" in head.options(b"upgrade")


def _check_preface(data: bytes) -> RequestHead:
    if data != PREFACE:
        raise BadRequest(505, "Only HTTP/1.1 is spoken here, and HTTP/2 after its own preface.")
    return RequestHead("PRI", b"*", "2.0", [])


def _check_fields(headers: RawHeaders) -> RawHeaders:
    """Return the headers with no doubt left about the length of the body (RFC 9112 §6.3)."""
    names = {name for name, _ in headers}
    if b"transfer-encoding" in names:
        headers = _check_codings(headers)
    if b"content-length" in names:
        headers = _check_lengths(headers)
    return headers


def _check_codings(headers: RawHeaders) -> RawHeaders:
    codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if codings != [b"chunked"]:
        raise BadRequest(501, "The only Transfer-Encoding understood here is chunked, once.")
    return [
        (name, b"chunked" if name == b"transfer-encoding" else value) for name, value in headers
    ]


def _check_lengths(headers: RawHeaders) -> RawHeaders:
    fields = [value for name, value in headers if name == b"content-length"]
    lengths = {length.strip(b" \t") for field in fields for length in field.split(b",")}
    length = lengths.pop()
    if lengths or not _LENGTH.fullmatch(length):
        raise BadRequest(400, "The Content-Length is not one number.")
    first = next(i for i, (name, _) in enumerate(headers) if name == b"content-length")
    others = [pair for pair in headers if pair[0] != b"content-length"]
    return [*others[:first], (b"content-length", length), *others[first:]]


def _fault_of(data: bytes) -> str:
    """Say what is wrong with a head; not what it is, which the client knows and others need not."""
    first, *lines = data.splitlines(keepends=True) or [data]
    if not _REQUEST_LINE_ALONE.fullmatch(first):
        return "The request line is malformed."
    for number, line in enumerate(lines, 1):
        if line[:1] in (b" ", b"\t"):
            return f"Header line {number} is folded, which is obsolete (RFC 9112 §5.2)."
        if not _FIELD_LINE_ALONE.fullmatch(line) and line.strip(b"\r\n"):
            return f"Header line {number} is malformed."
    return "The request head does not end where it should."
