"""What the answer to one handshake needs to know."""

import pytest

from triows.server._deflate import Deflate
from triows.server._opening import Compression, Opening
from triows.server._request_head import BadRequest
from triows.server._server_headers import ServerHeaders

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455 §1.3, where its accept is

SERVER = ServerHeaders(lambda: [(b"server", b"triows")])


def opening(*extensions: str, compression: Compression | None = "deflate") -> Opening:
    """Return the opening of a client that offers these extensions."""
    return Opening(KEY, extensions, compression, SERVER)


def test_accept() -> None:
    """The response has what the client asked for, the server's headers, and the app's."""
    response, deflate = opening().accept("v2", [(b"x-app", b"chat")])

    head, _, rest = response.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    assert b"HTTP/1.1 101 Switching Protocols" == status
    assert {
        b"upgrade: websocket",
        b"connection: Upgrade",
        b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        b"sec-websocket-protocol: v2",
        b"server: triows",
        b"x-app: chat",
    } == set(headers)
    assert b"" == rest
    assert deflate is None


def test_compression() -> None:
    """permessage-deflate is agreed on, if the client offers it and the server is willing."""
    offer = "permessage-deflate; client_max_window_bits"
    response, deflate = opening(offer).accept(None, [])
    assert b"sec-websocket-extensions: permessage-deflate" in response
    assert isinstance(deflate, Deflate)

    for other in (opening(offer, compression=None), opening("x-unknown"), opening()):
        response, deflate = other.accept(None, [])
        assert b"sec-websocket-extensions" not in response
        assert deflate is None


@pytest.mark.parametrize("offer", ["permessage-deflate; =", "permessage-deflate, ;", '"'])
def test_malformed_extensions(offer: str) -> None:
    """A client that offers nonsense is refused (RFC 6455 §9.1); that is no fault of the handler."""
    with pytest.raises(BadRequest, match="is malformed") as caught:
        opening(offer)
    assert 400 == caught.value.status


def test_what_nobody_reads() -> None:
    """A server that agrees to no extension does not look at what is offered."""
    response, _ = opening("permessage-deflate; =", compression=None).accept(None, [])
    assert response.startswith(b"HTTP/1.1 101")


@pytest.mark.parametrize(
    "header", [(b"x-bad", b"a\r\nb"), (b"x bad", b""), (b"sec-websocket-accept", b"mine")]
)
def test_headers_that_cannot_be_written(header: tuple[bytes, bytes]) -> None:
    """They raise, and the handshake can still be answered otherwise."""
    waiting = opening("permessage-deflate")
    with pytest.raises(ValueError, match="header"):
        waiting.accept(None, [header])

    response, deflate = waiting.accept(None, [])
    assert response.startswith(b"HTTP/1.1 101")
    assert deflate is not None
