"""Lines in a log for what a connection does."""

import logging

import trio

from triows._context import the_websocket
from triows._logs import client_of
from triows._pipes import Pipe
from triows._websocket import WebSocket


class LogPipe(Pipe):
    """Logs each connection and each message that passes, but never what is in it.

    One line when a connection opens, one for each message in either direction, with its
    kind and size, and one when it ends: whether that was a success, as pipes have it, and
    after how many seconds. Outside of a `JSONPipe` it sees messages, text in characters
    and binary in bytes; inside of one it sees values, and names their type.

    What is outside of the pipe it does not see. It writes an opening and an end for
    connections that are rejected inside of it, too.

    Args:
        logger: `triows.pipes` by default.
        level: Of every line.
    """

    def __init__(self, logger: logging.Logger | None = None, level: int = logging.DEBUG) -> None:
        self._logger = logging.getLogger("triows.pipes") if logger is None else logger
        self._level = level
        self._opened_at: dict[WebSocket, float] = {}

    def open(self) -> None:
        """Log the connection, and take the time."""
        websocket = the_websocket()
        self._opened_at[websocket] = trio.current_time()
        self._log(f"opens {websocket.path!r}")

    def on_receive(self, data: object) -> object:
        """Log a message from the peer, and pass it on."""
        self._log(f"receives {_describe(data)}")
        return data

    def on_send(self, data: object) -> object:
        """Log a message to the peer, and pass it on."""
        self._log(f"sends {_describe(data)}")
        return data

    def on_pipe_success(self) -> None:
        """Log the end of a connection that went well."""
        self._log_end("success")

    def on_pipe_failure(self) -> None:
        """Log the end of a connection that did not."""
        self._log_end("failure")

    def close(self) -> None:
        """Log the end of a connection that a pipe inside did not let through."""
        self._log_end("failure")

    def _log_end(self, outcome: str) -> None:
        opened_at = self._opened_at.pop(the_websocket(), None)
        if opened_at is not None:
            self._log(f"ends after {trio.current_time() - opened_at:.3f} s: {outcome}")

    def _log(self, event: str) -> None:
        if self._logger.isEnabledFor(self._level):
            websocket = the_websocket()
            client = client_of(websocket._scope)
            self._logger.log(self._level, "handler %s %s (peer %s)", websocket.name, event, client)


def _describe(data: object) -> str:
    if isinstance(data, str):
        return f"text, {len(data)} characters"
    if isinstance(data, bytes | bytearray | memoryview):
        return f"binary, {memoryview(data).nbytes} bytes"
    return f"a {type(data).__name__}"
