"""What an app says of its topics."""

from typing import Any

import pytest

from triows import StateError
from triows._broker import Position, Retention
from triows._channels._settings import (
    SettingsTable,
    TopicSettings,
    check_overflow,
    check_topic,
    parse_since,
)


@pytest.mark.parametrize(
    ("pattern", "topic", "matches"),
    [
        ("room:7", "room:7", True),
        ("room:7", "room:77", False),
        ("room:*", "room:7", True),
        ("room:*", "room:", True),
        ("room:*", "a room:7", False),
        ("*", "anything", True),
        ("*:log:*", "a:log:b", True),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
    ],
)
def test_patterns(pattern: str, topic: str, *, matches: bool) -> None:
    """A `*` stands for anything, also nothing; all else is itself."""
    table = SettingsTable()
    assert not table
    settings = TopicSettings(history=7)
    table.add(pattern, settings)
    assert table

    assert (settings if matches else TopicSettings()) == table.find(topic)


def test_the_first_pattern_counts() -> None:
    """Of several that match, the one that was declared first counts."""
    table = SettingsTable()
    table.add("room:7", TopicSettings(history=1))
    table.add("room:*", TopicSettings(history=2))

    assert [1, 2] == [table.find(topic).history for topic in ("room:7", "room:8")]


def test_a_pattern_twice() -> None:
    """A pattern is configured once."""
    table = SettingsTable()
    table.add("room:*", TopicSettings())

    with pytest.raises(StateError, match="'room:\\*' were configured before"):
        table.add("room:*", TopicSettings())


def test_retention() -> None:
    """Brokers are told of a history only if there is one."""
    assert TopicSettings().retention is None
    assert Retention(100, 60) == TopicSettings(history=100, ttl=60).retention


@pytest.mark.parametrize(
    "settings",
    [
        {"history": -1},
        {"history": 1.5},
        {"history": 10**9 + 1},
        {"capacity": 0},
        {"capacity": None},
        {"ttl": 0},
        {"ttl": float("nan")},
        {"ttl": "60"},
        {"ttl": float("inf")},
        {"ttl": 1e300},
        {"overflow": "explode"},
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    """The error names the setting, and what it may be."""
    (name,) = settings
    with pytest.raises(ValueError, match=f"^{name} is "):
        TopicSettings(**settings)


@pytest.mark.parametrize("name", ["", "x" * 256, "ä" * 128, "a\nb", "\ud800", 7, None])
def test_names_that_cannot_be(name: Any) -> None:
    """A topic has a name, of at most 255 bytes and without control characters."""
    with pytest.raises(ValueError, match="topic"):
        check_topic(name)


@pytest.mark.parametrize("name", ["a", "x" * 255, "room:7/ä €", "{a}*"])
def test_names(name: str) -> None:
    """Everything else is a name."""
    assert name == check_topic(name)


def test_overflow() -> None:
    """There are four policies."""
    assert "latest" == check_overflow("latest")


@pytest.mark.parametrize(
    ("since", "parsed"),
    [
        (None, None),
        (0, 0),
        (("epoch", 7), Position("epoch", 7)),
        (Position("epoch", 0), Position("epoch", 0)),
        (("no epoch\n\N{SNOWMAN}", 7), Position("no epoch\n\N{SNOWMAN}", 7)),
    ],
)
def test_since(since: Any, parsed: Any) -> None:
    """It is a position, a tuple like one, 0, or None."""
    assert parsed == parse_since(since)


@pytest.mark.parametrize(
    "since",
    [
        1,
        False,
        "epoch",
        ("epoch",),
        ("epoch", -1),
        ("epoch", "7"),
        ("epoch \ud800", 7),
        (7, 7),
        ("e", 1 << 63),
        ["e", 1],
    ],
)
def test_since_that_cannot_be(since: Any) -> None:
    """Anything else is our caller's mistake."""
    with pytest.raises(ValueError, match="since is"):
        parse_since(since)
