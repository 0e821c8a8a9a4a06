"""The head of a request: what is parsed, and what is refused, with h11 as the measure."""

import re
from contextlib import suppress
from typing import TypeAlias

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from triows._headers import RawHeaders
from triows.server._request_head import (
    PREFACE,
    BadRequest,
    RequestHead,
    end_of_head,
    parse_head,
    wants_websocket,
)

Parsed: TypeAlias = tuple[str, bytes, RawHeaders]

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


def refusal_of(data: bytes) -> BadRequest:
    """Return how a head is refused."""
    with pytest.raises(BadRequest) as info:
        parse_head(data)
    return info.value


class TestEnd:
    """Where a head ends."""

    @pytest.mark.parametrize("blank", [b"\r\n\r\n", b"\n\n", b"\n\r\n", b"\r\n\n"])
    def test_behind_the_first_blank_line(self, blank: bytes) -> None:
        """What follows the blank line is no part of the head, even if it has one too."""
        head = b"GET / HTTP/1.1\r\nHost: x" + blank

        assert len(head) == end_of_head(head + b"body\r\n\r\n")

    @pytest.mark.parametrize("data", [b"", b"\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r", b"\r\r"])
    def test_not_there_yet(self, data: bytes) -> None:
        """A head that has not come whole has no end."""
        assert -1 == end_of_head(data)

    def test_byte_by_byte(self) -> None:
        """What was searched needs no second look, wherever a read ends."""
        buffer = bytearray()
        ends = []
        for byte in GET + b"\r\n":
            start = len(buffer)
            buffer.append(byte)
            ends.append(end_of_head(buffer, start))

        assert [-1] * (len(GET) + 1) + [len(GET) + 2] == ends


class TestGoodHeads:
    """What is parsed."""

    def test_all_of_it(self) -> None:
        """Method and target are as they were sent, names in lower case, values without margins."""
        head = parse_head(
            b"GET /chat?room=1 HTTP/1.1\r\nHost: example.org\r\nX-Name: \t a  b \t\r\n"
            b"x-name:\r\nCookie: n\xe4me=1\r\n\r\n"
        )

        expected = RequestHead(
            "GET",
            b"/chat?room=1",
            "1.1",
            [
                (b"host", b"example.org"),
                (b"x-name", b"a  b"),
                (b"x-name", b""),
                (b"cookie", b"n\xe4me=1"),
            ],
        )
        assert expected == head

    def test_bare_line_feeds(self) -> None:
        """Lines may end as h11 lets them end (RFC 9112 §2.2)."""
        head = parse_head(b"GET / HTTP/1.1\nHost: x\nA: b\r\n\n")

        assert [(b"host", b"x"), (b"a", b"b")] == head.headers

    @pytest.mark.parametrize(
        ("sent", "version"), [(b"1.0", "1.0"), (b"1.1", "1.1"), (b"1.2", "1.1"), (b"1.9", "1.1")]
    )
    def test_versions(self, sent: bytes, version: str) -> None:
        """A later minor version is read as the latest that is known (RFC 9110 §2.5)."""
        head = parse_head(b"GET / HTTP/" + sent + b"\r\nHost: x\r\n\r\n")

        assert version == head.version

    def test_http_1_0_needs_no_host(self) -> None:
        """Only HTTP/1.1 demands one (RFC 9112 §3.2)."""
        assert [] == parse_head(b"GET / HTTP/1.0\r\n\r\n").headers

    def test_preface_of_http_2(self) -> None:
        """Who knows that HTTP/2 is spoken here begins with something like a head."""
        assert RequestHead("PRI", b"*", "2.0", []) == parse_head(PREFACE)

    def test_one_length_said_twice(self) -> None:
        """One Content-Length remains of several that agree, where the first one was."""
        head = parse_head(GET + b"Content-Length: 5, 5\r\nA: b\r\ncontent-length: 5\r\n\r\n")

        assert [(b"host", b"x"), (b"content-length", b"5"), (b"a", b"b")] == head.headers

    def test_chunked(self) -> None:
        """The one transfer coding that is known is in lower case afterwards."""
        head = parse_head(GET + b"Transfer-Encoding: Chunked\r\n\r\n")

        assert [b"chunked"] == head.values(b"transfer-encoding")

    def test_lists(self) -> None:
        """The elements of a list are the same in one header or in two."""
        head = parse_head(GET + b"Connection: Upgrade , keep-alive\r\nConnection: ,TE\r\n\r\n")

        assert [b"upgrade", b"keep-alive", b"", b"te"] == head.options(b"connection")


class TestBadHeads:
    """What is refused."""

    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b" GET / HTTP/1.1",
            b"GET  / HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b"GET /a b HTTP/1.1",
            b"GET /\xff HTTP/1.1",
            b"GET / http/1.1",
            b"GET / HTTP/11",
            b"GET / HTTP/1.10",
            b"GET /",
            b"G@T / HTTP/1.1",
            b"GET\t/ HTTP/1.1",
            b"\x16\x03\x01\x02",
        ],
    )
    def test_request_line(self, line: bytes) -> None:
        """A request line is three words with one space between them."""
        refusal = refusal_of(line + b"\r\nHost: x\r\n\r\n")

        assert (400, "The request line is malformed.") == (refusal.status, refusal.message)

    @pytest.mark.parametrize(
        "line",
        [
            b"name",
            b": value",
            b"na me: value",
            b"name : value",
            b"n\xe4me: value",
            b"name: a\0b",
            b"name: a\rb",
            b"name: a\x0bb",
            b"name: a\x1bb",
            b"name: a\x7fb",
            b"name: value\r",
        ],
    )
    def test_header_line(self, line: bytes) -> None:
        """A header is a token, a colon, and a value without control characters."""
        refusal = refusal_of(GET + line + b"\r\n\r\n")

        assert (400, "Header line 2 is malformed.") == (refusal.status, refusal.message)

    @pytest.mark.parametrize("margin", [b" ", b"\t"])
    def test_folded_line(self, margin: bytes) -> None:
        """A value has one line."""
        refusal = refusal_of(GET + margin + b"more\r\n\r\n")

        message = "Header line 2 is folded, which is obsolete (RFC 9112 §5.2)."
        assert (400, message) == (refusal.status, refusal.message)

    @pytest.mark.parametrize("data", [GET, GET + b"\r\nbody", GET + b"\r\n\r\n"])
    def test_more_or_less_than_a_head(self, data: bytes) -> None:
        """What `end_of_head` has not cut off is not guessed at."""
        refusal = refusal_of(data)

        assert 400 == refusal.status

    @pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: a\r\n"])
    def test_hosts(self, hosts: bytes) -> None:
        """There is one Host, not none and not two (RFC 9112 §3.2)."""
        count = hosts.count(b"Host")
        refusal = refusal_of(b"GET / HTTP/1.1\r\n" + hosts + b"\r\n")

        message = f"The request has {count} Host headers instead of one."
        assert (400, message) == (refusal.status, refusal.message)

    @pytest.mark.parametrize(
        "lines",
        [
            b"Content-Length: 1\r\nContent-Length: 2",
            b"Content-Length: 1, 2",
            b"Content-Length: 1,",
            b"Content-Length: -1",
            b"Content-Length: +1",
            b"Content-Length: 1_0",
            b"Content-Length: 0x1",
            b"Content-Length:",
            b"Content-Length: 111111111111111111111",
            b"Content-Length: \xb2",
        ],
    )
    def test_length(self, lines: bytes) -> None:
        """The length of a body is one number, or two readers end it in two places."""
        refusal = refusal_of(GET + lines + b"\r\n\r\n")

        assert (400, "The Content-Length is not one number.") == (refusal.status, refusal.message)

    @pytest.mark.parametrize(
        "lines",
        [
            b"Transfer-Encoding: gzip, chunked",
            b"Transfer-Encoding: identity",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding:",
            b"Transfer-Encoding: \xff",
        ],
    )
    def test_transfer_coding(self, lines: bytes) -> None:
        """A coding that is not known is 501 (RFC 9112 §6.1)."""
        refusal = refusal_of(GET + lines + b"\r\n\r\n")

        message = "The only Transfer-Encoding understood here is chunked, once."
        assert (501, message) == (refusal.status, refusal.message)

    @pytest.mark.parametrize(
        "data",
        [
            b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
            b"GET / HTTP/0.9\r\nHost: x\r\n\r\n",
            b"PRI * HTTP/2.0\r\nHost: x\r\n\r\n",
            b"PRI / HTTP/2.0\r\n\r\n",
        ],
    )
    def test_other_versions(self, data: bytes) -> None:
        """HTTP/2 begins with its preface, whole, and other versions are not spoken."""
        refusal = refusal_of(data)

        message = "Only HTTP/1.1 is spoken here, and HTTP/2 after its own preface."
        assert (505, message) == (refusal.status, refusal.message)
        assert [] == refusal.headers

    @pytest.mark.timeout(5)
    @pytest.mark.parametrize(
        "piece", [b"a", b"a:", b":", b" ", b"\t", b"\r", b"a: b\r\n", b"a:\n", b"\xff", b"a, "]
    )
    @pytest.mark.parametrize("start", [b"", GET, GET + b"a: "])
    def test_no_head_is_expensive(self, start: bytes, piece: bytes) -> None:
        """A megabyte of anything takes no more than a moment to refuse, or to parse."""
        data = start + piece * (1_000_000 // len(piece))
        end_of_head(data)

        with pytest.raises(BadRequest):
            parse_head(data + b"!")


class TestWantsWebSocket:
    """Who is served by the fast lane."""

    @pytest.mark.parametrize(
        "upgrade", [b"websocket", b"WebSocket", b"h2c, websocket", b"h2c\r\nUpgrade: websocket"]
    )
    @pytest.mark.parametrize("method", [b"GET", b"POST"])
    def test_an_upgrade_to_websocket(self, method: bytes, upgrade: bytes) -> None:
        """Whoever names websocket, with any method: a wrong one gets its answer there."""
        head = parse_head(method + b" / HTTP/1.1\r\nHost: x\r\nUpgrade: " + upgrade + b"\r\n\r\n")

        assert wants_websocket(head)

    @pytest.mark.parametrize(
        "data",
        [
            GET + b"\r\n",
            GET + b"Upgrade: h2c\r\n\r\n",
            GET + b"Upgrade: websockets\r\n\r\n",
            b"GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n",
            PREFACE,
        ],
    )
    def test_everything_else(self, data: bytes) -> None:
        """Other requests are hypercorn's."""
        assert not wants_websocket(parse_head(data))


def read_by_h11(data: bytes) -> tuple[Parsed, bytes] | None:
    """Return what h11 makes of a request, and what it leaves; None if it refuses it."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    try:
        request = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    assert isinstance(request, h11.Request)
    parsed = (request.method.decode(), request.target, list(request.headers))
    return parsed, connection.trailing_data[0]


STRICTER = re.compile(
    rb"\n[ \t]|[\x01-\x08\x0e-\x1f\x7f]|^[^\n]* HTTP/(?!1\.[01])[0-9]\.[0-9]\r?\n"
)
"""Where h11 has more patience: folded lines, control characters in values, other versions.

Those after 1.1 are told from it by the Host that h11 does not miss."""

REQUEST_LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"GET /a?b=%20c HTTP/1.1",
        b"post http://x/ HTTP/1.1",
        b"OPTIONS * HTTP/1.0",
        b"CONNECT x:1 HTTP/1.1",
        b"GET / HTTP/1.7",
        b"GET / HTTP/3.0",
        b"GET / HTTP/1.1 ",
        b"GET /",
        b"",
    ]
)
HEADER_LINES = st.sampled_from(
    [
        b"Host: x",
        b"Host: x",
        b"host:",
        b"Upgrade: websocket",
        b"Content-Length: 5",
        b"Content-Length: 5, 5",
        b"content-length: 6",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: CHUNKED",
        b"Transfer-Encoding: gzip",
        b"Name : x",
        b"a",
        b":",
        b" folded",
        b"\tfolded: no",
        b"x: \t a \t b\t ",
        b"x:\xff\x80",
        b"x: a\x0cb",
        b"",
    ]
)
LINE_ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n"])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Return something like a request head, with some bytes changed, and more behind it."""
    lines = [draw(REQUEST_LINES), *draw(st.lists(HEADER_LINES, max_size=6))]
    data = bytearray().join(line + draw(LINE_ENDS) for line in lines)
    for value in draw(st.binary(max_size=2)):
        data.insert(draw(st.integers(0, len(data))), value)
    return bytes(data) + b"\r\n\r\n" + draw(st.sampled_from([b"", b"body", b"\r\n\r\n"]))


@given(heads())
@example(GET + b"x: a\n b\r\n\r\n")
@example(b"\r\n" + GET + b"\r\n")
@example(b"\n" + GET + b"\r\n")
@example(GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
def test_as_h11_reads_it(data: bytes) -> None:
    """What h11 refuses is refused, and what both accept is the same to both, to the last byte."""
    end = end_of_head(data)
    theirs = read_by_h11(data)
    try:
        head = parse_head(data[:end])
    except BadRequest:
        assert theirs is None or STRICTER.search(data[:end])
    else:
        assert ((head.method, head.target, head.headers), data[end:]) == theirs


@given(st.binary(max_size=200))
@example(b"! ! HTTP/1.0\n\n")
def test_garbage(data: bytes) -> None:
    """Nothing but `BadRequest` is raised, whatever came in."""
    end_of_head(data)

    with suppress(BadRequest):
        parse_head(data)
