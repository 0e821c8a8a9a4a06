"""Both apps on Trio's TCP streams and nothing else: what Trio itself costs.

The handshake is checked, frames are taken apart by hand, whatever the bytes were cut into, and
sent back as they are: in the fragments that they came in. What is missing for a server is any
limit, deadline, UTF-8 check and back-pressure.
"""

import base64
import hashlib
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import trio

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CLOSE, PING, PONG = 0x8, 0x9, 0xA

members: set[trio.SocketStream] = set()


class Refused(Exception):
    """What came is not RFC 6455."""


async def handle(stream: trio.SocketStream) -> None:
    """Serve one connection."""
    async with stream:
        with suppress(Refused, trio.BrokenResourceError):
            await serve(stream)


async def serve(stream: trio.SocketStream) -> None:
    """Like `handle`, but may raise."""
    buffer = bytearray()
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        buffer += await receive(stream)
    path, answer = shake(bytes(buffer[:end]))
    del buffer[: end + 4]
    await stream.send_all(answer)
    await (fanout if path == b"/fanout" else echo)(stream, buffer)


def shake(head: bytes) -> tuple[bytes, bytes]:
    """Return the path and the answer to a handshake (RFC 6455 §4.2)."""
    first, *lines = head.split(b"\r\n")
    fields = (line.partition(b":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    method, path, version = first.split(b" ")
    key = headers.get(b"sec-websocket-key", b"")
    if (
        (method, version) != (b"GET", b"HTTP/1.1")
        or b"host" not in headers
        or b"upgrade" not in headers.get(b"connection", b"").lower()
        or headers.get(b"upgrade", b"").lower() != b"websocket"
        or headers.get(b"sec-websocket-version") != b"13"
        or len(base64.b64decode(key)) != 16
    ):
        raise Refused
    accept = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
    return path, (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n"
    ) % accept


async def echo(stream: trio.SocketStream, buffer: bytearray) -> None:
    """Send back every frame until the peer leaves."""
    while True:
        is_open, answer = answer_to(buffer)
        await stream.send_all(answer)
        if not is_open:
            return
        buffer += await receive(stream)


async def fanout(stream: trio.SocketStream, buffer: bytearray) -> None:
    """Send every frame to all members until the peer leaves."""
    members.add(stream)
    try:
        while True:
            is_open, answer = answer_to(buffer)
            if not is_open:
                await stream.send_all(answer)
                return
            for member in members if answer else ():
                await member.send_all(answer)
            buffer += await receive(stream)
    finally:
        members.discard(stream)


async def receive(stream: trio.SocketStream) -> bytes:
    """Return what came; if the peer left, raise."""
    if data := await stream.receive_some():
        return bytes(data)
    raise Refused


def answer_to(buffer: bytearray) -> tuple[bool, bytes]:
    """Take the whole frames; return whether it goes on, and what to send for them."""
    answers = []
    for first, payload in frames(buffer):
        opcode = first & 0xF
        answers.append(frame(first ^ PING ^ PONG if opcode == PING else first, payload))
        if opcode == CLOSE:
            return False, b"".join(answers)
    return True, b"".join(answers)


def frames(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take the whole frames from a buffer: the first byte and the payload of each."""
    start = 0
    while (header := read_header(buffer, start)) and len(buffer) >= header[1]:
        begin, end = header
        yield buffer[start], unmasked(buffer[begin:end], buffer[begin - 4 : begin])
        start = end
    del buffer[:start]


def read_header(buffer: bytearray, start: int) -> tuple[int, int] | None:
    """Return where the payload of the frame at `start` begins and ends; None: not yet known."""
    size = len(buffer) - start
    if size < 2:
        return None
    if not buffer[start + 1] & 0x80:
        raise Refused
    length, begin = buffer[start + 1] & 0x7F, start + 2
    if length > 125:
        more = 2 if length == 126 else 8
        if size < 2 + more:
            return None
        length, begin = int.from_bytes(buffer[begin : begin + more], "big"), begin + more
    return begin + 4, begin + 4 + length


def unmasked(payload: bytearray, mask: bytearray) -> bytes:
    """Return a payload without its mask."""
    length = len(payload)
    key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(length, "big")


def frame(first: int, payload: bytes) -> bytes:
    """Return a frame as a server sends it."""
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 1 << 16:
        return bytes((first, 126)) + length.to_bytes(2, "big") + payload
    return bytes((first, 127)) + length.to_bytes(8, "big") + payload


if __name__ == "__main__":
    trio.run(partial(trio.serve_tcp, handle, int(sys.argv[2]), host=sys.argv[1]))
