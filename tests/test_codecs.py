"""JSON in messages, and messages that are not what was asked for."""

import json
import math
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triows._codecs import check_json, decode_json, encode_json, wrong_kind
from triows._errors import InvalidMessage
from triows._types import Data

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
)


@given(JSON)
def test_round_trip(value: Any) -> None:
    """What was encoded is decoded to the same value, by any JSON library."""
    text = encode_json(value)

    assert value == decode_json(text) == decode_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, None]}, '{"a":[1,null]}'),
        ("ü", '"ü"'),
        (0.1, "0.1"),
        (math.nan, "null"),
        (datetime(2024, 1, 2, tzinfo=UTC), '"2024-01-02T00:00:00Z"'),
    ],
)
def test_encoded(value: Any, text: str) -> None:
    """JSON goes out compact, as text; dates have a form, and what is no number is null."""
    assert text == encode_json(value)


def endless() -> list[Any]:
    """Return a list that contains itself."""
    values: list[Any] = []
    values.append(values)
    return values


@pytest.mark.parametrize(
    "value",
    [object(), {(1, 2): 3}, "\ud800", endless()],
    ids=["object", "key", "surrogate", "endless"],
)
def test_value_without_a_json_form(value: Any) -> None:
    """Whatever cannot be encoded is the caller's `TypeError`, before anything is sent."""
    with pytest.raises(TypeError):
        encode_json(value)


@pytest.mark.parametrize(
    "message",
    [
        "",
        b"",
        "hello",
        "{",
        "1 2",
        "NaN",
        b"\xff",
        b'"\xff"',
        "\ud800",
        "\ufeff1",
        "1e999",
        "9" * 5000,
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
    ids=lambda message: repr(message[:9]),
)
def test_not_json(message: str | bytes) -> None:
    """Whatever is no JSON, or cannot be held, is the peer's fault: the close code is 1007."""
    with pytest.raises(InvalidMessage, match="the message is not JSON: ") as info:
        decode_json(message)

    assert 1007 == info.value.code


@pytest.mark.parametrize("text", ["", "{", "nul", "1 2", '"\x01"', "\ud800", "[" * 100_000])
def test_text_that_is_not_json(text: str) -> None:
    """It is found out also without making a value of it."""
    with pytest.raises(InvalidMessage, match="the message is not JSON: "):
        check_json(text)


@given(st.binary() | st.text())
def test_garbage(message: str | bytes) -> None:
    """No message makes decoding fail in any other way."""
    with suppress(InvalidMessage):
        decode_json(message)
    with suppress(InvalidMessage):
        check_json(str(message))


@given(st.recursive(st.none() | st.booleans() | st.text(), st.lists))
def test_checked(value: Any) -> None:
    """What has a JSON form passes."""
    check_json(encode_json(value))


@pytest.mark.parametrize("message", ["text", b"bytes"])
def test_a_message_of_the_wrong_kind(message: Data) -> None:
    """The peer that sent it is told so, with 1003."""
    exc = wrong_kind(message, "not what was expected")

    assert isinstance(exc, InvalidMessage)
    assert (1003, "not what was expected") == (exc.code, str(exc))


def test_a_message_that_is_none_any_more() -> None:
    """The peer is not to blame for what a pipe has made of its message."""
    assert isinstance(wrong_kind({"a": 1}, "not what was expected"), TypeError)
