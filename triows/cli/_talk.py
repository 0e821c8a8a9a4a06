"""A conversation over an open connection: what is typed is sent, what comes is printed."""

from math import inf

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection
from wsproto.connection import ConnectionState

from triows._close import NORMAL, CloseInfo, check_code, cut_reason
from triows.cli._terminal import BadLine, Terminal

CLOSE_TIMEOUT = 5.0
"""Seconds that the peer has to answer our close frame."""

PATIENCE = 10.0
"""Seconds that `/ping` waits for the pong."""

USAGE = "/ping, /close [CODE [REASON]], /binary HEX; //... sends a line that begins with /"


class Talk:
    """A conversation, until the peer or the user ends it.

    Attributes:
        connection: Open at first, closed at the end.
        is_complete: All that was read was sent, and all that came was printed.

    Args:
        wait: Seconds of the peer's silence that end it after the input has ended.
        ping_interval: Seconds between two pings; None for none.
    """

    def __init__(
        self,
        connection: WebSocketConnection,
        terminal: Terminal,
        *,
        wait: float,
        ping_interval: float | None = None,
    ) -> None:
        self.connection = connection
        self.is_complete = True
        self._terminal = terminal
        self._wait = wait
        self._ping_interval = ping_interval
        self._whole = trio.CancelScope()
        self._silence = trio.CancelScope()
        self._input_ended = False
        self._farewell = (NORMAL, "")
        self._by_us = False

    async def run(self) -> None:
        """Talk to the end, the closing handshake included.

        Cancelling drops the connection.
        """
        with self._whole:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._speak, nursery)
                if self._ping_interval is not None:
                    nursery.start_soon(self._ping_often, self._ping_interval)
                await self._listen()
                nursery.cancel_scope.cancel()
        if self.connection.closed is None:
            self._by_us = True
            with trio.move_on_after(CLOSE_TIMEOUT):
                await self.connection.aclose(*self._farewell)

    def leave(self, code: int = NORMAL, reason: str = "") -> None:
        """End it: let `run` close the connection and return."""
        self._farewell = (code, reason)
        self._whole.cancel()

    def ending(self) -> CloseInfo:
        """Return how it ended, once it has.

        What is not clean is by the peer if the connection was lost (1006) or ended for a
        fault of the peer's; and by us if the peer did not answer our close frame.
        """
        # After our own close trio-websocket shows 1000 whether or not the peer has answered;
        # only wsproto's state tells.
        clean = self.connection._wsproto.state is ConnectionState.CLOSED
        if self._by_us and not clean:
            return CloseInfo(*self._farewell, by_peer=False, clean=False)
        closed = self.connection.closed
        assert closed is not None, "the connection had ended, or run has closed it"
        return CloseInfo(closed.code, closed.reason or "", by_peer=not self._by_us, clean=clean)

    # What comes

    async def _listen(self) -> None:
        try:
            with self._silence:
                while True:
                    self._show(await self.connection.get_message())
                    self._await_silence()
        except ConnectionClosed:
            return

    def _show(self, message: str | bytes) -> None:
        try:
            self._terminal.show(message)
        except BrokenPipeError:
            # As of `| head`: who reads has enough.
            self._whole.cancel()
        except OSError as exc:
            self._fail(f"cannot print: {exc.strerror}")
            self._whole.cancel()

    def _await_silence(self) -> None:
        self._silence.deadline = trio.current_time() + self._wait if self._input_ended else inf

    # What is typed

    async def _speak(self, nursery: trio.Nursery) -> None:
        try:
            while True:
                await self._say(await self._terminal.lines.receive(), nursery)
        except ConnectionClosed:
            # There may be messages still to be printed.
            return
        except trio.EndOfChannel:
            pass
        except BadLine as exc:
            self._fail(f"{exc}: neither it nor what follows is sent")
        if self._terminal.is_typed:
            self.leave()
        self._input_ended = True
        self._await_silence()

    async def _say(self, line: str, nursery: trio.Nursery) -> None:
        if not self._terminal.is_typed or not line.startswith("/"):
            await self.connection.send_message(line)
        elif line.startswith("//"):
            await self.connection.send_message(line[1:])
        else:
            await self._obey(line, nursery)

    async def _obey(self, line: str, nursery: trio.Nursery) -> None:
        command, _, rest = line.partition(" ")
        try:
            match command:
                case "/ping":
                    nursery.start_soon(self._ping, PATIENCE)
                case "/close":
                    self.leave(*_parse_close(rest))
                case "/binary":
                    await self.connection.send_message(bytes.fromhex(rest))
                case _:
                    self._terminal.tell(f"there is no command {command}: {USAGE}")
        except ValueError as exc:
            self._terminal.tell(f"{command}: {exc}")

    def _fail(self, text: str) -> None:
        self.is_complete = False
        self._terminal.tell(text)

    # Pings

    async def _ping_often(self, interval: float) -> None:
        while True:
            await self._ping(interval)
            await trio.sleep(interval)

    async def _ping(self, patience: float) -> None:
        sent_at = trio.current_time()
        try:
            with trio.fail_after(patience):
                await self.connection.ping()
            self._terminal.tell(f"pong after {1000 * (trio.current_time() - sent_at):.1f} ms")
        except trio.TooSlowError:
            self._terminal.tell(f"no pong within {patience:g} s")
        except ConnectionClosed:
            return


def _parse_close(text: str) -> tuple[int, str]:
    """Return the close code and reason of `/close [CODE [REASON]]`.

    Raises:
        ValueError: The code is no number, or may not be sent.
    """
    code, _, reason = text.strip().partition(" ")
    return check_code(int(code)) if code else NORMAL, cut_reason(reason)
