"""The peer of an app under test: a WebSocket client whose every wait ends."""

from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from typing import Any

import trio
import trio.testing

from triows._close import ABNORMAL, NORMAL, CloseInfo, check_code
from triows._codecs import decode_json, encode_json
from triows._datastructures import Headers
from triows._errors import ConnectionClosed
from triows._types import Data
from triows.testing._wire import Wire


class Peer:
    """The test's end of a connection. Made by `Client.websocket`.

    Every method that waits gives up after the client's `timeout` with a
    `trio.TooSlowError` that says where the app's tasks are waiting.
    """

    def __init__(self, wire: Wire, timeout: float, whereabouts: Callable[[], str]) -> None:
        self._wire = wire
        self._timeout = timeout
        self._whereabouts = whereabouts

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the app chose, or None."""
        return self._wire.subprotocol

    @property
    def headers(self) -> Headers:
        """The headers of the app's answer, without those that servers add."""
        return Headers(self._wire.accept_headers)

    @property
    def closed(self) -> CloseInfo | None:
        """How the connection ended as this peer saw it, or None; `by_peer` means by the app."""
        return self._wire.closed

    async def wait_answer(self) -> None:
        """Wait for the answer to the handshake. The client has done it already.

        Raises:
            HandshakeRejected: It was an HTTP response.
        """
        with self._patience("the handshake was not answered"):
            await trio.lowlevel.checkpoint()
            while self._wire.phase in ("handshake", "rejecting"):
                await self._wire.wait_change()
        if self._wire.rejection is not None:
            raise self._wire.rejection

    async def send(self, message: Data) -> None:
        """Send a message; raises `ConnectionClosed` if the connection has ended."""
        with self._patience("the app took none of 1000 messages"):
            await trio.lowlevel.checkpoint()
            await self._wire.put(message)

    async def send_json(self, value: Any) -> None:
        """Like `send`, but encodes the value as JSON text."""
        await self.send(encode_json(value))

    async def receive(self) -> Data:
        """Return the next message from the app.

        Raises:
            ConnectionClosed: The connection has ended, and everything was received.
            trio.TooSlowError: Nothing came within the client's `timeout`.
        """
        with self._patience("no message came"):
            await trio.lowlevel.checkpoint()
            while not self._wire.to_peer:
                self._check_open()
                await self._wire.wait_change()
        return self._wire.take()

    async def receive_json(self) -> Any:
        """Like `receive`, but decodes JSON."""
        return decode_json(await self.receive())

    def __aiter__(self) -> AsyncIterator[Data]:
        """Iterate over the messages; the loop ends when the connection does."""
        return self

    async def __anext__(self) -> Data:
        try:
            return await self.receive()
        except ConnectionClosed:
            raise StopAsyncIteration from None

    async def receive_nothing(self) -> None:
        """Check that every task is blocked and that nothing was sent; no time passes.

        It cannot see threads or sockets: an app that waits for those looks blocked, and
        may send a moment later.

        Raises:
            AssertionError: Something was sent, or the connection has ended.
        """
        with self._patience("the app's tasks did not come to rest"):
            await trio.testing.wait_all_tasks_blocked()
        if self._wire.to_peer:
            raise AssertionError(f"nothing was expected, but {self._wire.to_peer[0]!r} came")
        if self.closed is not None:
            raise AssertionError(f"nothing was expected, but the connection ended: {self.closed}")

    async def wait_closed(self) -> CloseInfo:
        """Wait until the connection has ended and return how; messages may be left unread."""
        with self._patience("the connection did not end"):
            await trio.lowlevel.checkpoint()
            while self._wire.closed is None:
                await self._wire.wait_change()
        return self._wire.closed

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Send a close frame, after the messages sent before; does nothing after the end."""
        await trio.lowlevel.checkpoint()
        self._wire.leave(CloseInfo(check_code(code), reason, by_peer=False, clean=True))

    def drop(self) -> None:
        """Vanish without a close frame, after the messages sent before: the app sees 1006."""
        self._wire.leave(CloseInfo(ABNORMAL, "", by_peer=False, clean=False))

    def stall(self) -> None:
        """Stop reading, so that the app's sends wait; `resume` goes on."""
        self._wire.stall(stalled=True)

    def resume(self) -> None:
        """Read again after `stall`."""
        self._wire.stall(stalled=False)

    def _check_open(self) -> None:
        if self._wire.closed is not None:
            raise ConnectionClosed(self._wire.closed)

    @contextmanager
    def _patience(self, complaint: str) -> Generator[None]:
        with trio.move_on_after(self._timeout) as scope:
            yield
        if scope.cancelled_caught:
            raise trio.TooSlowError(
                f"{complaint} within {self._timeout:g} s; {self._whereabouts()}"
            )
