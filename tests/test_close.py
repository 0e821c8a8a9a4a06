"""Close codes and reasons."""

from dataclasses import FrozenInstanceError
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from triows._close import MAX_REASON, CloseInfo, check_code, cut_reason

ANY_CHARACTER = st.integers(0, 0x10FFFF).map(chr)  # lone surrogates too


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014, 3000, 4401, 4999]
)
def test_sendable_code(code: int) -> None:
    """Codes for endpoints, of libraries (3000-3999) and of applications (4000-4999) may be sent."""
    assert code == check_code(code)


@pytest.mark.parametrize(
    "code",
    [
        -1,
        0,
        42,
        999,
        1004,
        1005,
        1006,
        1010,
        1015,
        1016,
        2999,
        5000,
        65536,
        1000.0,
        float("nan"),
        "1000",
    ],
)
def test_unsendable_code(code: Any) -> None:
    """Codes that are reserved, the client's or out of range are refused, with those to use."""
    with pytest.raises(ValueError, match=f"close code {code!r} cannot be sent.* 3000-4999"):
        check_code(code)


def test_code_of_an_enumeration() -> None:
    """A member of an application's enumeration becomes a plain int, which every server takes."""

    class Ended(IntEnum):
        GAME_OVER = 4001

    code = check_code(Ended.GAME_OVER)

    assert (4001, int) == (code, type(code))


@pytest.mark.parametrize("reason", ["", "bye", "x" * 123, "ü" * 61])
def test_reason_that_fits(reason: str) -> None:
    """A reason of up to 123 bytes stays as it is."""
    assert reason == cut_reason(reason)


@pytest.mark.parametrize(
    ("reason", "cut"),
    [
        ("x" * 124, "x" * 123),
        ("ü" * 62, "ü" * 61),
        ("x" + "ü" * 62, "x" + "ü" * 61),
        ("€" * 42, "€" * 41),
        ("x" * 122 + "𝄞", "x" * 122),
    ],
)
def test_long_reason(reason: str, cut: str) -> None:
    """A longer reason is cut before the first character that does not fit as a whole."""
    assert cut == cut_reason(reason)


@given(st.text())
def test_reason_is_cut_on_a_character(reason: str) -> None:
    """What is left is the longest beginning of the reason that a close frame can carry."""
    cut = cut_reason(reason)

    assert reason.startswith(cut)
    assert len(cut.encode()) <= MAX_REASON
    assert cut == reason or len(reason[: len(cut) + 1].encode()) > MAX_REASON


@given(st.lists(ANY_CHARACTER).map("".join))
@example("\ud800" * 124)
def test_every_reason_can_be_sent(reason: str) -> None:
    """A reason is often somebody else's text; lone surrogates in it do not make a close fail."""
    assert len(cut_reason(reason).encode()) <= MAX_REASON


def test_surrogates_become_question_marks() -> None:
    """What UTF-8 cannot say is replaced and the rest is kept."""
    assert "no room ?!" == cut_reason("no room \ud800!")


@pytest.mark.parametrize(
    ("info", "text"),
    [
        (CloseInfo(4001, "bye", by_peer=True), "peer closed 4001 'bye'"),
        (CloseInfo(1000, "", by_peer=False), "closed 1000 ''"),
        (CloseInfo(1006, "a\nb", by_peer=True), r"peer closed 1006 'a\nb'"),
    ],
)
def test_ending_in_words(info: CloseInfo, text: str) -> None:
    """An ending reads as a line for the log; the peer's text cannot break out of it."""
    assert text == str(info)


def test_ending_is_a_fact() -> None:
    """How a connection ended cannot be changed, and whether it was clean is unknown unless said."""
    info = CloseInfo(1000, "", by_peer=True)

    assert info.clean is None
    with pytest.raises(FrozenInstanceError):
        info.code = 1001  # type: ignore[misc]
