"""The opening handshake: what is refused and how, the scope of the rest, and the answers."""

from typing import Any

import h11
import pytest
from hypercorn.config import Config
from hypercorn.protocol.events import Request as HypercornRequest
from hypercorn.protocol.ws_stream import WSStream
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.uri import parse_uri

from triows._headers import RawHeaders
from triows._types import Scope
from triows.server._handshake import (
    accept_response,
    check_handshake,
    http_response,
    websocket_scope,
)
from triows.server._request_head import BadRequest, RequestHead, parse_head

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""Of the example in RFC 6455 §1.3."""

GOOD: RawHeaders = [
    (b"host", b"example.org"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", KEY.encode()),
    (b"sec-websocket-version", b"13"),
]


def handshake(
    *more: tuple[bytes, bytes], without: bytes = b"", method: str = "GET", target: bytes = b"/"
) -> RequestHead:
    """Return a good handshake but for what is said."""
    headers = [pair for pair in GOOD if pair[0] != without]
    return RequestHead(method, target, "1.1", [*headers, *more])


def scope_of(head: RequestHead, **others: Any) -> Scope:
    """Return the scope of a handshake on a plain socket."""
    facts: dict[str, Any] = {"scheme": "ws", "client": None, "server": None, "root_path": ""}
    return websocket_scope(head, **{**facts, "state": {}, "extensions": {}, **others})


class TestCheck:
    """Who may open a WebSocket."""

    @pytest.mark.parametrize(
        "more",
        [
            [],
            [(b"connection", b"keep-alive")],
            [(b"content-length", b"0")],
            [(b"content-length", b"00")],
            [(b"sec-websocket-protocol", b"chat")],
            [(b"sec-websocket-protocol", b"chat, ,v1"), (b"sec-websocket-protocol", b"v2")],
            [(b"sec-websocket-extensions", b"permessage-deflate")],
        ],
    )
    def test_good(self, more: RawHeaders) -> None:
        """A handshake by the rules gives its key."""
        assert KEY == check_handshake(handshake(*more))

    def test_of_a_client_that_others_wrote(self) -> None:
        """What a client of `websockets` sends is good."""
        client = ClientProtocol(parse_uri("ws://example.org/chat"))
        client.send_request(client.connect())
        head = parse_head(b"".join(client.data_to_send()))

        assert client.key == check_handshake(head)

    @pytest.mark.parametrize(
        ("head", "message"),
        [
            (handshake(without=b"connection"), "The Connection header does not name upgrade."),
            (
                handshake((b"connection", b"keep-alive, upgrades"), without=b"connection"),
                "The Connection header does not name upgrade.",
            ),
            (
                handshake(without=b"sec-websocket-key"),
                "There is not one Sec-WebSocket-Key that is base64 of 16 bytes.",
            ),
            (
                handshake((b"sec-websocket-key", KEY.encode())),
                "There is not one Sec-WebSocket-Key that is base64 of 16 bytes.",
            ),
            (handshake((b"content-length", b"1")), "A WebSocket handshake has no body."),
            (handshake((b"content-length", b"10")), "A WebSocket handshake has no body."),
            (handshake((b"transfer-encoding", b"chunked")), "A WebSocket handshake has no body."),
            (
                handshake((b"sec-websocket-protocol", b"")),
                "The Sec-WebSocket-Protocol header is empty.",
            ),
            (
                handshake((b"sec-websocket-protocol", b" , ")),
                "The Sec-WebSocket-Protocol header is empty.",
            ),
            (
                handshake((b"sec-websocket-protocol", b"a b")),
                "A name in Sec-WebSocket-Protocol is not a token.",
            ),
            (
                handshake((b"sec-websocket-protocol", b"chat, \xe4")),
                "A name in Sec-WebSocket-Protocol is not a token.",
            ),
            (
                handshake((b"sec-websocket-protocol", b"a, b, a")),
                "A name in Sec-WebSocket-Protocol is there twice.",
            ),
            (
                handshake((b"sec-websocket-protocol", b"a"), (b"sec-websocket-protocol", b"a")),
                "A name in Sec-WebSocket-Protocol is there twice.",
            ),
        ],
    )
    def test_bad(self, head: RequestHead, message: str) -> None:
        """What breaks a rule of RFC 6455 §4.2.1 is 400, with the reason."""
        with pytest.raises(BadRequest) as info:
            check_handshake(head)

        assert (400, message, []) == (info.value.status, info.value.message, info.value.headers)

    @pytest.mark.parametrize(
        "key",
        [
            b"",
            b"dGhlIHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25jZQ===",
            b"dGhlIHNhbXBsZSBub25jZQA=",
            b"dGhlIHNhbXBsZSBub25jZ_==",
            b"dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
            b"c2hvcnQ=",
        ],
    )
    def test_bad_key(self, key: bytes) -> None:
        """A key is base64 of 16 bytes (RFC 6455 §11.3.1)."""
        with pytest.raises(BadRequest, match="base64 of 16 bytes"):
            check_handshake(handshake((b"sec-websocket-key", key), without=b"sec-websocket-key"))

    @pytest.mark.parametrize("method", ["POST", "HEAD", "get", "CONNECT"])
    def test_other_methods(self, method: str) -> None:
        """They are 405, which says what is allowed (RFC 9110 §15.5.6)."""
        with pytest.raises(BadRequest, match="opened with GET") as info:
            check_handshake(handshake(method=method))

        assert (405, [(b"allow", b"GET")]) == (info.value.status, info.value.headers)

    @pytest.mark.parametrize(
        "more",
        [
            [],
            [(b"sec-websocket-version", b"8")],
            [(b"sec-websocket-version", b"")],
            [(b"sec-websocket-version", b"013")],
            [(b"sec-websocket-version", b"13, 8")],
            [(b"sec-websocket-version", b"13"), (b"sec-websocket-version", b"13")],
        ],
    )
    def test_other_versions(self, more: RawHeaders) -> None:
        """They are 426, which says what is spoken here (RFC 6455 §4.4)."""
        with pytest.raises(BadRequest, match="is 13") as info:
            check_handshake(handshake(*more, without=b"sec-websocket-version"))

        headers = [(b"upgrade", b"websocket"), (b"sec-websocket-version", b"13")]
        assert (426, headers) == (info.value.status, info.value.headers)


class TestScope:
    """What an app is told."""

    def test_all_of_it(self) -> None:
        """Every key of ASGI 3, of a TLS socket with two subprotocols offered."""
        head = handshake(
            (b"sec-websocket-protocol", b"v2, v1"), target=b"/chat/%C3%A4%2F%FF?room=%20"
        )

        assert {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "1.1",
            "scheme": "wss",
            "path": "/chat/ä/\ufffd",
            "raw_path": b"/chat/%C3%A4%2F%FF",
            "query_string": b"room=%20",
            "root_path": "/chat",
            "headers": head.headers,
            "client": ("10.0.0.1", 4711),
            "server": ("10.0.0.2", 443),
            "subprotocols": ["v2", "v1"],
            "state": {"database": 1},
            "extensions": {"websocket.http.response": {}, "triows.transport": {"a": "b"}},
        } == websocket_scope(
            head,
            scheme="wss",
            client=("10.0.0.1", 4711),
            server=("10.0.0.2", 443),
            root_path="/chat",
            state={"database": 1},
            extensions={"triows.transport": {"a": "b"}},
        )

    def test_state_is_a_copy(self) -> None:
        """What one connection puts into its state is not seen by the others."""
        state: dict[str, Any] = {}

        scope_of(handshake(), state=state)["state"]["user"] = 1

        assert {} == state

    @pytest.mark.parametrize(
        ("target", "raw_path", "query"),
        [
            (b"/", b"/", b""),
            (b"//x", b"//x", b""),
            (b"/?", b"/", b""),
            (b"/a?b?c", b"/a", b"b?c"),
            (b"http://other:8000/a/b?c=http://d/", b"/a/b", b"c=http://d/"),
            (b"HTTPS://other:8000", b"/", b""),
            (b"http://other:8000?a/b", b"/", b"a/b"),
            (b"http://other:8000/@", b"/@", b""),
        ],
    )
    def test_targets(self, target: bytes, raw_path: bytes, query: bytes) -> None:
        """A path with a query, or an absolute URI: that one's path (RFC 9112 §3.2)."""
        scope = scope_of(handshake(target=target))

        assert (raw_path, query) == (scope["raw_path"], scope["query_string"])

    def test_the_host_of_an_absolute_target(self) -> None:
        """It counts in place of the Host header (RFC 9112 §3.2.2): an origin is compared to it."""
        head = handshake(target=b"http://other:8000/")

        headers = scope_of(head)["headers"]

        assert [(b"host", b"other:8000"), *GOOD[1:]] == headers
        assert GOOD == head.headers

    @pytest.mark.parametrize(
        "target",
        [
            b"*",
            b"example.org:443",
            b"chat",
            b"?a=b",
            b"ftp://example.org/",
            b"http:///path",
            b"http:path",
            b"http://user@example.org/",
            b"http://user:word@example.org",
            b"http://example.org#fragment",
        ],
    )
    def test_other_targets(self, target: bytes) -> None:
        """Anything else names no resource."""
        with pytest.raises(BadRequest, match="neither a path nor an absolute URI") as info:
            scope_of(handshake(target=target))

        assert 400 == info.value.status

    @pytest.mark.parametrize(
        "target", [b"/a/b?c=d", b"/%41%2f%ff%zz%", b"//", b"/a;b=c?%3f#", b"/root/x", b"/?"]
    )
    async def test_as_hypercorn_tells_it(self, target: bytes) -> None:
        """An app cannot tell the lanes apart: paths, queries and the rest are the same."""
        config = Config()
        config.root_path = "/root/"
        head = handshake((b"sec-websocket-protocol", b"a, b"), target=target)

        ours = scope_of(head, root_path=config.root_path, state={"a": 1}, client=("h", 1))

        # Newer words of the specification.
        ours["asgi"]["spec_version"] = "2.3"
        assert await scope_by_hypercorn(head, config, {"a": 1}, ("h", 1)) == ours


class Spawned(Exception):
    """Carries the scope out of a fake task group."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self.scope = scope


class Spawner:
    """A task group of hypercorn's that starts no app."""

    async def spawn_app(self, app: object, config: object, scope: Scope, send: object) -> None:
        """Tell the scope."""
        raise Spawned(scope)


async def scope_by_hypercorn(
    head: RequestHead, config: Config, state: dict[str, Any], client: tuple[str, int]
) -> Scope:
    """Return the scope that hypercorn makes of a handshake."""
    nothing: Any = None
    spawner: Any = Spawner()
    stream = WSStream(
        nothing,
        config,
        nothing,
        spawner,
        ssl=False,
        client=client,
        server=None,
        send=nothing,
        stream_id=1,
    )
    known: Any = state
    request = HypercornRequest(1, head.headers, head.version, head.method, head.target, known)
    with pytest.raises(Spawned) as info:
        await stream.handle(request)
    return info.value.scope


def read_response(data: bytes, method: str = "GET") -> tuple[int, RawHeaders, bytes]:
    """Return status, headers and body of a response, as h11 reads it, with nothing behind it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=GOOD))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    body = b""
    response = client.next_event()
    assert isinstance(response, h11.Response | h11.InformationalResponse)
    if isinstance(response, h11.Response):
        while isinstance(event := client.next_event(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage)
    assert (b"", False) == client.trailing_data
    return response.status_code, list(response.headers), body


class TestAccept:
    """The answer that opens the WebSocket."""

    def test_all_of_it(self) -> None:
        """The example of RFC 6455 §1.3, with an extension and a cookie."""
        response = accept_response(
            KEY, "chat", "permessage-deflate", [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
        )

        assert (
            b"HTTP/1.1 101 Switching Protocols\r\n"
            b"upgrade: websocket\r\n"
            b"connection: Upgrade\r\n"
            b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            b"sec-websocket-protocol: chat\r\n"
            b"sec-websocket-extensions: permessage-deflate\r\n"
            b"set-cookie: a=1\r\n"
            b"set-cookie: b=2\r\n"
            b"\r\n"
        ) == response

    def test_no_more_than_asked(self) -> None:
        """Without subprotocol, extensions and headers, the four lines that must be there."""
        assert 3 == len(read_response(accept_response(KEY, None, None, []))[1])

    def test_clients_take_it(self) -> None:
        """A client that others wrote sees the WebSocket open, with its subprotocol."""
        client = ClientProtocol(
            parse_uri("ws://example.org/"),
            subprotocols=["chat"],  # type: ignore[list-item]
        )
        client.send_request(client.connect())
        client.receive_data(accept_response(client.key, "chat", None, [(b"x-a", b"b")]))

        assert (None, "chat") == (client.handshake_exc, client.subprotocol)

    def test_framing_is_left_out(self) -> None:
        """A middleware's idea of a body does not get into a 101 (RFC 9110 §8.6)."""
        theirs = [(b"Content-Length", b"5"), (b"connection", b"keep-alive"), (b"x-a", b"b")]

        _, headers, _ = read_response(accept_response(KEY, None, None, theirs))

        assert [(b"connection", b"Upgrade"), (b"x-a", b"b")] == [
            (name, value)
            for name, value in headers
            if name in (b"content-length", b"connection", b"x-a")
        ]

    @pytest.mark.parametrize(
        "name", [b"Sec-WebSocket-Protocol", b"sec-websocket-extensions", b"upgrade"]
    )
    def test_headers_that_are_set_here(self, name: bytes) -> None:
        """An app that sets them itself is told: a second one would fail at the client."""
        with pytest.raises(ValueError, match="is set by the handshake itself"):
            accept_response(KEY, None, None, [(name, b"x")])

    @pytest.mark.parametrize("hostile", [b"\r", b"\n", b"\0", b"\r\nset-cookie: admin=1"])
    def test_nothing_splits_it(self, hostile: bytes) -> None:
        """Names and values of an app that checks nothing are checked here."""
        with pytest.raises(ValueError, match="is not a token"):
            accept_response(KEY, None, None, [(b"x" + hostile, b"a")])
        with pytest.raises(ValueError, match="has a control character"):
            accept_response(KEY, None, None, [(b"x", b"a" + hostile)])
        with pytest.raises(ValueError, match="has a control character"):
            accept_response(KEY, "a" + hostile.decode(), None, [])


class TestResponse:
    """The answer that does not."""

    def test_all_of_it(self) -> None:
        """Status, the app's headers, how the body is delimited, and the body."""
        response = http_response(401, [(b"www-authenticate", b"Bearer")], b"who?")

        assert (
            b"HTTP/1.1 401 Unauthorized\r\n"
            b"www-authenticate: Bearer\r\n"
            b"connection: close\r\n"
            b"content-length: 4\r\n"
            b"\r\n"
            b"who?"
        ) == response

    def test_framing_is_ours(self) -> None:
        """What the app says of the framing is replaced."""
        theirs = [(b"Transfer-Encoding", b"chunked"), (b"content-length", b"99")]

        status, headers, body = read_response(http_response(403, theirs, b"no"))

        assert (403, b"no") == (status, body)
        assert [(b"connection", b"close"), (b"content-length", b"2")] == headers

    def test_of_a_refusal(self) -> None:
        """426 lists its Upgrade header, as senders of one must (RFC 9110 §7.8)."""
        with pytest.raises(BadRequest) as info:
            check_handshake(handshake(without=b"sec-websocket-version"))
        refusal = info.value

        status, headers, body = read_response(
            http_response(refusal.status, refusal.headers, refusal.message.encode())
        )

        assert (426, b"The WebSocket version spoken here is 13.") == (status, body)
        assert [
            (b"upgrade", b"websocket"),
            (b"sec-websocket-version", b"13"),
            (b"connection", b"close, upgrade"),
            (b"content-length", b"40"),
        ] == headers

    @pytest.mark.parametrize("status", [204, 304])
    def test_without_a_body(self, status: int) -> None:
        """Where a body is not allowed there is none, nor a length (RFC 9110 §8.6)."""
        response = read_response(http_response(status, [], b"body"))

        assert (status, [(b"connection", b"close")], b"") == response

    def test_status_without_a_name(self) -> None:
        """A status that has no phrase is sent without (RFC 9112 §4)."""
        assert http_response(499, [], b"").startswith(b"HTTP/1.1 499 \r\n")
        assert 499 == read_response(http_response(499, [], b""))[0]

    @pytest.mark.parametrize("status", [0, 101, 199, 600, -200])
    def test_status_that_answers_nothing(self, status: int) -> None:
        """Only a final status ends the handshake."""
        with pytest.raises(ValueError, match="is not the status of a final response"):
            http_response(status, [], b"")

    def test_headers_may_be_lists(self) -> None:
        """ASGI has pairs be any two things in order, and some apps send lists."""
        pairs: Any = [[b"x-a", b"b"]]

        assert (b"x-a", b"b") in read_response(http_response(404, pairs, b""))[1]

    @given(
        st.integers(200, 599).filter(lambda status: status not in (204, 304)),
        st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9)), max_size=3),
        st.binary(),
    )
    def test_whatever_an_app_sends(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """It is refused, or a client reads one response with that status and that body."""
        try:
            response = http_response(status, headers, body)
        except ValueError:
            return

        assert (status, body) == read_response(response)[::2]
