"""JSON on the wire, values in the handler."""

from collections.abc import Awaitable, Callable
from typing import Any

from triows._codecs import decode_json, encode_json
from triows._context import the_websocket
from triows._errors import ConnectionClosed, InvalidMessage
from triows._pipes import Pipe, apply
from triows._types import Data


class JSONPipe(Pipe):
    """Decodes the JSON messages of the peer, and encodes what is sent, as JSON text.

    Text and binary messages are decoded. Whatever is sent is encoded: a str becomes a
    JSON string, and bytes become one of Base64; TypeError if a value has no JSON form.
    So the handler uses `receive` and `send`: `receive_json` and `send_json` would do it
    again.

    A message that is no JSON is the peer's fault: `InvalidMessage` comes out of
    `receive`, and out of the handler it closes the connection with 1007.

    Args:
        answer: Keeps the connection open instead. A function, sync or async, that is
            given the `InvalidMessage`; what it returns is sent as if the handler had
            sent it, the message is dropped, and the handler goes on waiting. What it
            raises comes out of `receive`. Cancelled before its answer is sent, it is
            called again by the next `receive`.
    """

    def __init__(
        self, answer: Callable[[InvalidMessage], Any | Awaitable[Any]] | None = None
    ) -> None:
        self._answer = answer

    def on_receive(self, data: Data) -> Any:
        """Return the value of a message, or answer one that is no JSON."""
        try:
            return decode_json(data)
        except InvalidMessage as exc:
            if self._answer is None:
                raise
            return self._send_answer(self._answer, exc)

    async def _send_answer(
        self, answer: Callable[[InvalidMessage], Any], exc: InvalidMessage
    ) -> Any:
        websocket = the_websocket()
        value = await apply([answer], exc)
        try:
            await websocket.send(value)
        except ConnectionClosed as closed:
            if closed.websocket is not websocket:
                raise
            # A peer that has left needs no answer, but may have sent more before: the
            # `receive` after the last of it tells the handler.
        return self.DROPPED

    def on_send(self, data: Any) -> str:
        """Return a value as JSON text."""
        return encode_json(data)
