"""A WebSocket client with nothing in it: a blocking handshake, and frames made by hand.

It offers no extension, so no frame is compressed.
"""

import base64
import hashlib
import socket
from collections.abc import Collection
from contextlib import suppress

HOST = "127.0.0.1"
TEXT, CLOSE = 0x1, 0x8

HANDSHAKE_TIMEOUT = 10.0
"""Seconds to wait for each part of the answer."""

CLOSE_TIMEOUT = 2.0
"""Seconds to wait for each answer to a close."""

END_OF_HEAD = b"\r\n\r\n"

BATCH = 50
"""Connections to open at a time: not more than any server's backlog holds."""

_KEY = base64.b64encode(b"triows benchmark")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ACCEPT = base64.b64encode(hashlib.sha1(_KEY + _GUID, usedforsecurity=False).digest())
_MASK = b"\x37\xfa\x21\x3d"
_MASKED = 0x80
_FINAL = 0x80
_MAX_SHORT, _MAX_MEDIUM = 125, 0xFFFF


class HandshakeFailed(Exception):
    """The answer was not the 101 that was asked for."""


def open_websocket(port: int, path: str) -> socket.socket:
    """Return a blocking socket on which the handshake is done.

    Raises:
        HandshakeFailed: The server answered, but not as RFC 6455 §4.2.2 has it.
        OSError: It did not answer.
    """
    return open_websockets(port, path, 1)[0]


def open_websockets(port: int, path: str, count: int) -> list[socket.socket]:
    """Like `open_websocket`, for many, some of them at a time; `{}` in the path is the number."""
    socks: list[socket.socket] = []
    try:
        while missing := count - len(socks):
            begun = len(socks)
            for _ in range(min(missing, BATCH)):
                sock = socket.create_connection((HOST, port), HANDSHAKE_TIMEOUT)
                set_no_delay(sock)
                sock.sendall(request(port, path.format(len(socks))))
                socks.append(sock)
            for sock in socks[begun:]:
                check_answer(_read_head(sock))
                sock.settimeout(None)
    except BaseException as exc:
        exc.add_note(f"this was about connection {len(socks)} to port {port}")
        for sock in socks:
            sock.close()
        raise
    return socks


def set_no_delay(sock: socket.socket) -> None:
    """Have what is sent leave at once."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def request(port: int, path: str) -> bytes:
    """Return what asks for a WebSocket (RFC 6455 §4.1)."""
    return (
        b"GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ) % (path.encode(), HOST.encode(), port, _KEY)


def _read_head(sock: socket.socket) -> bytes:
    head = b""
    # What follows the head stays where it is: some servers speak first.
    while not head.endswith(END_OF_HEAD) and (data := sock.recv(4096, socket.MSG_PEEK)):
        end = (head + data).find(END_OF_HEAD)
        size = len(data) if end < 0 else end + len(END_OF_HEAD) - len(head)
        head += sock.recv(size)
    return head


def read_text(sock: socket.socket) -> bytes:
    """Return the next message from a blocking socket, which has to be a text in one frame.

    Raises:
        HandshakeFailed: It is something else, or the end.
    """
    first, length = _read(sock, 2)
    if first != _FINAL | TEXT:
        raise HandshakeFailed(f"expected a text, received a frame that begins with {first:#x}")
    if length > _MAX_SHORT:
        length = int.from_bytes(_read(sock, 2 if length == 126 else 8), "big")
    return _read(sock, length)


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while missing := size - len(data):
        if not (more := sock.recv(missing)):
            raise HandshakeFailed(f"the connection ended after {data!r}")
        data += more
    return data


def check_answer(head: bytes) -> None:
    """Refuse a head that is not the answer to `request`.

    Raises:
        HandshakeFailed: It is another one.
        ConnectionResetError: It is empty.
    """
    if not head:
        raise ConnectionResetError("the server closed the connection without an answer")
    status, *lines = head.split(b"\r\n")
    fields = (line.partition(b":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    if not status.startswith(b"HTTP/1.1 101"):
        raise HandshakeFailed(f"the server answered {status!r}")
    if headers.get(b"sec-websocket-accept") != _ACCEPT:
        raise HandshakeFailed("the server's Sec-WebSocket-Accept is wrong")
    if b"sec-websocket-extensions" in headers:
        raise HandshakeFailed("the server chose an extension, and none was offered")


def close_websockets(socks: Collection[socket.socket]) -> None:
    """Say goodbye on all, then wait for each server to say it too, but not for long."""
    for sock in socks:
        sock.settimeout(CLOSE_TIMEOUT)
        with suppress(OSError):
            sock.sendall(GOODBYE)
    for sock in socks:
        with sock, suppress(OSError):
            # Not until the connection ends: not every server does that (granian with Emmett).
            while (data := sock.recv(4096)) and not data.endswith(FAREWELL):
                pass


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return a whole masked message."""
    return _header(len(payload), opcode, _MASKED) + _MASK + _masked(payload)


def server_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return the same message as a server sends it: not masked."""
    return _header(len(payload), opcode, 0) + payload


def _header(length: int, opcode: int, masked: int) -> bytes:
    first = _FINAL | opcode
    if length <= _MAX_SHORT:
        return bytes([first, masked | length])
    if length <= _MAX_MEDIUM:
        return bytes([first, masked | 126]) + length.to_bytes(2, "big")
    return bytes([first, masked | 127]) + length.to_bytes(8, "big")


def _masked(payload: bytes) -> bytes:
    length = len(payload)
    mask = (_MASK * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(length, "big")


_NORMAL = (1000).to_bytes(2, "big")

GOODBYE = client_frame(_NORMAL, CLOSE)
"""The close of a client that has nothing to complain about."""

FAREWELL = server_frame(_NORMAL, CLOSE)
"""How a server answers that (RFC 6455 §5.5.1)."""
