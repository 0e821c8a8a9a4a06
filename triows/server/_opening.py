"""What the answer to one handshake needs to know."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from triows._headers import RawHeaders
from triows.server._deflate import Deflate, negotiate
from triows.server._handshake import accept_response

Compression: TypeAlias = Literal["deflate"]


@dataclass(frozen=True, slots=True)
class Opening:
    """A handshake that waits for its answer.

    Attributes:
        key: The Sec-WebSocket-Key.
        extensions: The values of its Sec-WebSocket-Extensions headers.
        compression: What the server is willing to do.
        headers: Returns the headers that the server adds to every answer.
    """

    key: str
    extensions: Sequence[str]
    compression: Compression | None
    headers: Callable[[], RawHeaders]

    def accept(self, subprotocol: str | None, headers: RawHeaders) -> tuple[bytes, Deflate | None]:
        """Return the response that accepts it, and what was agreed on.

        Raises:
            ValueError: A header cannot be written.
        """
        agreed = negotiate(self.extensions) if self.compression and self.extensions else None
        value, deflate = (None, None) if agreed is None else agreed
        response = accept_response(self.key, subprotocol, value, self.headers() + headers)
        return response, deflate
