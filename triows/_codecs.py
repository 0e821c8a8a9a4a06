"""JSON in messages, and messages that are not what was asked for."""

from typing import Any

import msgspec

from triows._close import UNSUPPORTED_DATA
from triows._errors import InvalidMessage
from triows._types import Data

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()
_checker = msgspec.json.Decoder(msgspec.Raw)  # makes nothing of it


def encode_json(value: Any) -> str:
    """Return the value as JSON text.

    Raises:
        TypeError: The value has no JSON form.
    """
    try:
        return _encoder.encode(value).decode()
    except (ValueError, OverflowError, RecursionError) as exc:
        # A lone surrogate, a list that contains itself; in older msgspec, an integer
        # beyond 64 bits.
        raise TypeError(f"the value has no JSON form: {exc}") from exc


def decode_json(message: Data) -> Any:
    """Return the value of a JSON message, text or binary.

    Raises:
        InvalidMessage: It is no JSON, or nested too deeply.
    """
    return _decode(_decoder, message)


def check_json(text: str) -> None:
    """Raise what `decode_json` would, unless it is JSON; a number may be larger than any."""
    _decode(_checker, text)


def _decode(decoder: msgspec.json.Decoder[Any], message: Data) -> Any:
    try:
        return decoder.decode(message)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
        raise InvalidMessage(f"the message is not JSON: {exc}") from exc


def wrong_kind(message: object, complaint: str) -> Exception:
    """Return the exception for a message of another kind than its receiver wants.

    It is the peer's fault (1003), unless a pipe of ours has made something else of it.
    """
    if isinstance(message, str | bytes):
        return InvalidMessage(complaint, UNSUPPORTED_DATA)
    return TypeError(f"a pipe made a {type(message).__name__} of the message: use receive()")
