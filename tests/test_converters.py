"""The types of path parameters."""

import re
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triows._converters import CONVERTERS, Converter, check_converter
from triows._errors import RouteError

ID = "12345678-1234-5678-1234-56789abcdef0"


def value_of(kind: str, text: str) -> Any:
    """Return what a type makes of a text; None if it is no value of it."""
    converter = CONVERTERS[kind]
    if re.fullmatch(converter.regex, text, re.DOTALL) is None:
        return None
    try:
        return converter.parse(text)
    except ValueError:
        return None


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "7", 7),
        ("int", "-7", -7),
        ("int", "007", 7),
        ("int", "-0", 0),
        ("int", str(2**64), 2**64),
        ("int", "9" * 4000, int("9" * 4000)),
        ("float", "7", 7.0),
        ("float", "-1.5", -1.5),
        ("float", "0.1", 0.1),
        ("float", "1e3", 1000.0),
        ("float", "1.5e-3", 0.0015),
        ("float", "5e-324", 5e-324),
        ("float", "1.7976931348623157e+308", 1.7976931348623157e308),
        ("str", "a b", "a b"),
        ("str", "a\nb", "a\nb"),
        ("str", "漢字", "漢字"),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("date", "0001-01-01", date.min),
        ("alpha", "abc", "abc"),
        ("alpha", "Grüße", "Grüße"),
        ("any", "", ""),
        ("any", "a/b//c", "a/b//c"),
        ("any", "a\nb", "a\nb"),
        ("uuid", ID, UUID(ID)),
        ("uuid", ID.upper(), UUID(ID)),
    ],
)
def test_value(kind: str, text: str, value: object) -> None:
    """A parameter's text becomes a value of its type, exactly."""
    assert value == value_of(kind, text)


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("int", ["", "-", "+7", "1.0", "1_000", " 7", "7\n", "٣", "7a", "9" * 5000]),
        ("float", ["", ".5", "1.", "inf", "nan", "0x1", "1e", "1e999", "-1e999", "1.5\n", "٣"]),
        ("str", ["", "/", "a/b"]),
        ("date", ["2023-02-29", "2024-2-9", "20240229", "0000-01-01", "2024-02-29\n", "x"]),
        ("alpha", ["", "a1", "a_b", "a-b", "a b", "a\n"]),
        ("uuid", ["", ID[:-1], f"{{{ID}}}", ID.replace("-", ""), f"{ID}\n"]),
    ],
)
def test_no_value(kind: str, texts: list[str]) -> None:
    """What only resembles a value of the type is none, whatever Python would make of it."""
    assert [None] * len(texts) == [value_of(kind, text) for text in texts]


@given(st.sampled_from(sorted(CONVERTERS)), st.text())
def test_any_text_can_be_tried(kind: str, text: str) -> None:
    """No text makes a type fail: it is a value or it is not."""
    value_of(kind, text)


@given(
    st.one_of(
        st.tuples(st.just("int"), st.integers()),
        st.tuples(st.just("float"), st.floats(allow_nan=False, allow_infinity=False)),
        st.tuples(st.just("date"), st.dates()),
        st.tuples(st.just("uuid"), st.uuids()),
        st.tuples(st.just("any"), st.text()),
    )
)
def test_value_survives(pair: tuple[str, Any]) -> None:
    """What a value is formatted as is that value again; a float to its last bit."""
    kind, value = pair
    back = value_of(kind, CONVERTERS[kind].format(value))

    assert (value, repr(value)) == (back, repr(back))


# An app's own


@pytest.mark.parametrize("regex", ["[a-z]+", "a|b", "(?:x|y){2}", "(?i:abc)", ".+", "[^/]+", ""])
def test_own_converter(regex: str) -> None:
    """Any expression will do that has neither capturing groups nor slashes."""
    check_converter("mine", Converter(regex, str), CONVERTERS)


@pytest.mark.parametrize(
    ("name", "regex", "message"),
    [
        ("", "a", "'' cannot be the name of a converter"),
        ("a-b", "a", "'a-b' cannot be the name of a converter"),
        ("int", "a", "there is a converter 'int' already"),
        ("mine", "[a", "the regex of converter 'mine' is malformed: unterminated character set"),
        ("mine", "a)(b", "the regex of converter 'mine' is malformed: unbalanced parenthesis"),
        ("mine", "(?i)a", "the regex of converter 'mine' is malformed: global flags not at the"),
        ("mine", "(a|b)", "the regex of converter 'mine' captures; write (?:...) for its groups"),
        ("mine", "(?P<a>b)", "the regex of converter 'mine' captures; write (?:...)"),
        ("mine", "a/b", "the regex of converter 'mine' has a slash: a value lies within one"),
        ("mine", "[/a]+", "there is <any:...> for more"),
    ],
)
def test_refused_converter(name: str, regex: str, message: str) -> None:
    """A converter that could not work is refused, with what is wrong with it."""
    with pytest.raises(RouteError, match=re.escape(message)):
        check_converter(name, Converter(regex, str), CONVERTERS)
