"""What the answer to one handshake needs to know."""

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from typing import Literal, TypeAlias

from triows._headers import RawHeaders
from triows.server._deflate import Deflate, negotiate
from triows.server._handshake import accept_response
from triows.server._request_head import BadRequest
from triows.server._server_headers import ServerHeaders

Compression: TypeAlias = Literal["deflate"]


@dataclass(frozen=True, slots=True)
class Opening:
    """A handshake that waits for its answer.

    Args:
        key: The Sec-WebSocket-Key.
        extensions: The values of its Sec-WebSocket-Extensions headers.
        compression: What the server is willing to do.
        headers: Those that the server adds to every answer.

    Raises:
        BadRequest: 400 for extensions that are malformed (RFC 6455 §9.1). Found here: later
            it would look like a mistake of the handler, which accepts.
    """

    key: str
    extensions: InitVar[Sequence[str]]
    compression: InitVar[Compression | None]
    headers: ServerHeaders
    _agreed: tuple[str, Deflate] | None = field(init=False)

    def __post_init__(self, extensions: Sequence[str], compression: Compression | None) -> None:
        try:
            agreed = negotiate(extensions) if compression and extensions else None
        except ValueError as exc:
            raise BadRequest(400, "The Sec-WebSocket-Extensions header is malformed.") from exc
        object.__setattr__(self, "_agreed", agreed)

    def accept(self, subprotocol: str | None, headers: RawHeaders) -> tuple[bytes, Deflate | None]:
        """Return the response that accepts it, and what was agreed on.

        Raises:
            ValueError: A header cannot be written.
        """
        extension, deflate = self._agreed or (None, None)
        lines = self.headers.lines
        response = accept_response(self.key, subprotocol, extension, headers, lines)
        return response, deflate
