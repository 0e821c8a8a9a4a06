"""permessage-deflate (RFC 7692): agreed on in the handshake, then a codec a connection.

`websockets` reads the offers, chooses the parameters and compresses. Inflating is done here, on
its decompressor, for two reasons: a message is inflated as it arrives, not frame by frame; and
the decompressor keeps whatever follows the end of a DEFLATE stream, so that a hostile client
could make it keep everything it sends.
"""

import zlib
from collections.abc import Sequence

from websockets.exceptions import InvalidHeaderFormat, NegotiationError
from websockets.extensions.permessage_deflate import (
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.frames import Frame, Opcode
from websockets.headers import build_extension, parse_extension

from triows._errors import InvalidMessage

# A window of 4 KiB and a small hash table: about 30 KiB a connection instead of 300, at a few
# per cent of the compression. A peer that does not offer `client_max_window_bits` uses 32 KiB.
_FACTORY = ServerPerMessageDeflateFactory(
    server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5}
)

# What the sender leaves off the end of every message (RFC 7692 §7.2.1).
_TAIL = b"\x00\x00\xff\xff"


class Deflate:
    """Compresses the messages to one peer and inflates those from it.

    Both directions keep their context from one message to the next, unless the
    handshake said otherwise: every message must go through it, in the order of the wire.

    Args:
        agreed: The extension as the handshake settled it. Belongs to this object.
    """

    __slots__ = ("_agreed", "_has_ended")

    def __init__(self, agreed: PerMessageDeflate) -> None:
        self._agreed = agreed
        self._has_ended = False  # a DEFLATE stream, within this message
        if agreed.remote_no_context_takeover:
            self._forget()

    def encode_message(self, message: str | bytes) -> bytes:
        """Return the message as one compressed frame. Not re-entrant.

        Raises:
            UnicodeEncodeError: The text has a lone surrogate; the context is as before.
        """
        if isinstance(message, str):
            frame = Frame(Opcode.TEXT, message.encode())
        else:
            frame = Frame(Opcode.BINARY, message)
        return frame.serialize(mask=False, extensions=[self._agreed])

    def decompress(self, piece: bytes, max_length: int, *, is_last: bool) -> bytes:
        """Return what a piece of a compressed message inflates to.

        Args:
            piece: The next bytes of the message, cut anywhere; may be empty.
            max_length: Bytes, at least 1. A result of this length may be incomplete:
                then the rest is lost, and nothing more may be inflated.
            is_last: The message ends with this piece.

        Raises:
            InvalidMessage: The bytes are not DEFLATE; nothing more may be inflated.
        """
        assert max_length > 0, "zlib takes 0 for no limit at all"
        try:
            inflated = self._inflate(piece + _TAIL if is_last else piece, max_length)
        except zlib.error as exc:
            raise InvalidMessage("a compressed message cannot be inflated") from exc
        if is_last:
            self._has_ended = False
            if self._agreed.remote_no_context_takeover:
                self._forget()
        return inflated

    def _inflate(self, data: bytes, max_length: int) -> bytes:
        inflater = self._agreed.decoder
        inflated = inflater.decompress(data, max_length)
        if not inflater.eof or len(inflated) == max_length:
            return inflated
        # Some peers can flush only by ending the stream (RFC 7692 §7.2.3.4): what follows is a
        # new one. Once a message is enough for them; for every two bytes would be an attack.
        if self._has_ended:
            raise zlib.error("a second block with BFINAL in one message")
        self._has_ended = True
        self._forget()
        return inflated + self._inflate(inflater.unused_data, max_length - len(inflated))

    def _forget(self) -> None:
        self._agreed.decoder = zlib.decompressobj(wbits=-self._agreed.remote_max_window_bits)


def negotiate(offers: Sequence[str]) -> tuple[str, Deflate] | None:
    """Return the answer to a client's offers and the codec, or None to go on uncompressed.

    The first acceptable offer is taken (RFC 7692 §5); unknown extensions are skipped.

    Args:
        offers: The values of the request's `Sec-WebSocket-Extensions` headers.

    Raises:
        ValueError: A header is malformed (RFC 6455 §9.1).
    """
    try:
        wanted = [extension for offer in offers for extension in parse_extension(offer)]
    except InvalidHeaderFormat as exc:
        raise ValueError(f"a malformed Sec-WebSocket-Extensions header: {exc}") from exc
    for name, parameters in wanted:
        if name == _FACTORY.name:
            try:
                answer, agreed = _FACTORY.process_request_params(parameters, [])
            except NegotiationError:
                continue
            return build_extension([(name, answer)]), Deflate(agreed)
    return None
