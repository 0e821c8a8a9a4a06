"""A WebSocket client with nothing in it: a blocking handshake, and frames made by hand.

It offers no extension, so no frame is compressed.
"""

import base64
import hashlib
import socket
from collections.abc import Collection, Iterator
from contextlib import suppress

HOST = "127.0.0.1"
TEXT, CLOSE = 0x1, 0x8

HANDSHAKE_TIMEOUT = 10.0
"""Seconds to wait for each part of the answer."""

CLOSE_TIMEOUT = 2.0
"""Seconds to wait for each server's close."""

_KEY = base64.b64encode(b"triows benchmark")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ACCEPT = base64.b64encode(hashlib.sha1(_KEY + _GUID, usedforsecurity=False).digest())
_MASK = b"\x37\xfa\x21\x3d"
_MASKED = 0x80
_FINAL = 0x80
_MAX_SHORT, _MAX_MEDIUM = 125, 0xFFFF

_NORMAL = (1000).to_bytes(2, "big")


class HandshakeFailed(Exception):
    """The answer was not the 101 that was asked for."""


def open_websocket(port: int, path: str) -> socket.socket:
    """Return a blocking socket on which the handshake is done.

    Raises:
        HandshakeFailed: The server answered, but not as RFC 6455 §4.2.2 has it.
        OSError: It did not answer.
    """
    sock = socket.create_connection((HOST, port), HANDSHAKE_TIMEOUT)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(_request(port, path))
        _check_answer(list(_head_lines(sock)))
        sock.settimeout(None)
    except BaseException:
        sock.close()
        raise
    return sock


def _request(port: int, path: str) -> bytes:
    return (
        b"GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ) % (path.encode(), HOST.encode(), port, _KEY)


def _head_lines(sock: socket.socket) -> Iterator[bytes]:
    # Unbuffered, so that no byte of a first frame is taken along.
    with sock.makefile("rb", buffering=0) as stream:
        while line := stream.readline().rstrip(b"\r\n"):
            yield line


def _check_answer(lines: list[bytes]) -> None:
    if not lines:
        raise ConnectionResetError("the server closed the connection without an answer")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(b":") for x in lines)}
    if not lines[0].startswith(b"HTTP/1.1 101"):
        raise HandshakeFailed(f"the server answered {lines[0]!r}")
    if headers.get(b"sec-websocket-accept") != _ACCEPT:
        raise HandshakeFailed("the server's Sec-WebSocket-Accept is wrong")
    if b"sec-websocket-extensions" in headers:
        raise HandshakeFailed("the server chose an extension, and none was offered")


def close_websockets(socks: Collection[socket.socket]) -> None:
    """Say goodbye on all, then wait for the server to close each, but not for long."""
    for sock in socks:
        sock.settimeout(CLOSE_TIMEOUT)
        with suppress(OSError):
            sock.sendall(client_frame(_NORMAL, CLOSE))
    for sock in socks:
        with sock, suppress(OSError):
            while sock.recv(4096):
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
