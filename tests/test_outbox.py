"""What waits for a peer that reads slowly."""

from collections import deque
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triows._outbox import OVERFLOWS, OVERHEAD, Lane, Outbox, Overflow, Prepared, Tally, size_of
from triows._types import Data

PLENTY = 1 << 30


def everything_in(outbox: Outbox[Prepared]) -> list[Data]:
    """Take all messages."""
    return [outbox.take().message for _ in range(outbox.count) if outbox.holds(outbox.number)]


class TestPrepared:
    """A message for many."""

    @pytest.mark.parametrize(
        ("message", "size"), [("", 0), (b"", 0), ("abc", 3), (b"\xff\0", 2), ("ü€𝄞", 9)]
    )
    def test_size(self, message: Data, size: int) -> None:
        """The size of a message is what it takes on the wire: bytes, not characters."""
        assert size == size_of(message)

    @given(st.text())
    def test_size_of_any_text(self, text: str) -> None:
        """The size of a text is that of its UTF-8."""
        assert len(text.encode()) == size_of(text)

    def test_size_of_what_cannot_be_sent(self) -> None:
        """A lone surrogate has no form on the wire: our caller hears of it before it is sent."""
        with pytest.raises(UnicodeEncodeError):
            size_of("\ud800")

    def test_is_frozen(self) -> None:
        """It is measured once, and cannot change afterwards."""
        prepared = Prepared("ü")

        assert ("ü", 2) == (prepared.message, prepared.size)
        with pytest.raises(FrozenInstanceError):
            prepared.message = "other"  # type: ignore[misc]

    def test_a_frame_is_kept(self) -> None:
        """What one transport made of it is there for the others; it is no difference."""
        prepared = Prepared("hi")

        assert b"frame" == prepared.keep_frame(b"frame")
        assert b"frame" == prepared.frame
        assert Prepared("hi") == prepared


class TestWithoutLane:
    """Messages that belong to no subscription."""

    def test_order(self) -> None:
        """They leave in the order in which they came."""
        outbox: Outbox[Prepared] = Outbox(PLENTY)
        assert all(outbox.put(Prepared(message)) for message in ("a", b"b", ""))

        assert ["a", b"b", ""] == everything_in(outbox)
        assert (0, 3) == (outbox.count, outbox.number)

    def test_bound(self) -> None:
        """A message for which there is no room is not taken; there is room again later."""
        outbox: Outbox[Prepared] = Outbox(2 * OVERHEAD + 5)

        assert [True, False, True, False] == [outbox.put(Prepared("x" * n)) for n in (3, 3, 2, 0)]
        assert "xxx" == outbox.take().message
        assert outbox.put(Prepared("xxx"))

    def test_a_message_alone(self) -> None:
        """One that is larger than the bound gets through where nothing else waits."""
        outbox: Outbox[Prepared] = Outbox(10)

        assert outbox.put(Prepared("x" * 1000))
        assert not outbox.put(Prepared(""))

    def test_holds(self) -> None:
        """It tells whether one of those put before a moment still waits."""
        outbox: Outbox[Prepared] = Outbox(PLENTY)
        outbox.put(Prepared("before"))
        moment = outbox.number
        outbox.put(Prepared("after"))

        assert outbox.holds(moment)
        outbox.take()
        assert not outbox.holds(moment)
        assert outbox.holds(moment + 1)

    def test_clear(self) -> None:
        """It is emptied when nobody is left to read."""
        outbox: Outbox[Prepared] = Outbox(PLENTY)
        for lane in (None, Lane("latest", 10, Tally())):
            outbox.put(Prepared("x"), lane)
        outbox.clear()

        assert 0 == outbox.count
        assert not outbox.holds(outbox.number)


class TestPolicies:
    """Who has to go when a subscription's messages have no room."""

    @pytest.mark.parametrize(
        ("overflow", "taken", "left"),
        [
            ("close", [True, True, False, False], ["a", "b"]),
            ("drop_newest", [True, True, False, False], ["a", "b"]),
            ("drop_oldest", [True, True, True, True], ["c", "d"]),
            ("latest", [True, True, True, True], ["c", "d"]),
        ],
    )
    @pytest.mark.parametrize("bound", ["messages", "bytes"])
    def test_policy(
        self, overflow: Overflow, taken: list[bool], left: list[str], bound: str
    ) -> None:
        """Both bounds are kept as the policy says, and all that does not get through is counted."""
        tally = Tally()
        lane = Lane(overflow, 2 if bound == "messages" else 100, tally)
        outbox: Outbox[Prepared] = Outbox(PLENTY if bound == "messages" else 2 * (OVERHEAD + 1))

        assert taken == [outbox.put(Prepared(text, key=text), lane) for text in "abcd"]
        assert left == everything_in(outbox)
        assert 2 == tally.dropped

    def test_policies_are_known(self) -> None:
        """There are four."""
        assert ("close", "drop_oldest", "drop_newest", "latest") == OVERFLOWS

    @pytest.mark.parametrize("overflow", OVERFLOWS)
    def test_what_others_wait_for(self, overflow: Overflow) -> None:
        """Nothing of another subscription is dropped, and nothing that belongs to none."""
        tally = Tally()
        outbox: Outbox[Prepared] = Outbox(2 * (OVERHEAD + 1))
        outbox.put(Prepared("a"))
        outbox.put(Prepared("b"), Lane("drop_oldest", 10, tally))

        assert not outbox.put(Prepared("c"), Lane(overflow, 10, tally))
        assert ["a", "b"] == everything_in(outbox)
        assert 1 == tally.dropped

    @pytest.mark.parametrize("overflow", OVERFLOWS)
    def test_what_is_never_dropped(self, overflow: Overflow) -> None:
        """Messages of another lane make room, as their policy says; there is a bound, too."""
        lane = Lane(overflow, 2, Tally())
        before = Lane("close", 2, Tally(), lane)
        outbox: Outbox[Prepared] = Outbox(2 * (OVERHEAD + 1))
        for text in "ab":
            outbox.put(Prepared(text, key=text), lane)
        taken = [outbox.put(Prepared(text), before) for text in "XYZ"]

        assert [overflow != "close"] * 2 + [False] == taken
        assert (["a", "b"] if overflow == "close" else ["X", "Y"]) == everything_in(outbox)

    @pytest.mark.parametrize(("overflow", "left"), [("drop_newest", "aX"), ("drop_oldest", "bX")])
    def test_which_makes_room(self, overflow: Overflow, left: str) -> None:
        """It is the newest, or the oldest."""
        lane = Lane(overflow, 2, Tally())
        outbox: Outbox[Prepared] = Outbox(2 * (OVERHEAD + 1))
        for text in "ab":
            outbox.put(Prepared(text), lane)
        outbox.put(Prepared("X"), Lane("close", 2, Tally(), lane))

        assert list(left) == everything_in(outbox)

    def test_a_large_message(self) -> None:
        """As many smaller and older ones go as it needs room."""
        tally = Tally()
        lane = Lane("drop_oldest", 100, tally)
        outbox: Outbox[Prepared] = Outbox(4 * (OVERHEAD + 10))
        for text in "abcd":
            outbox.put(Prepared(text * 10), lane)
        outbox.put(Prepared("x" * (OVERHEAD + 15)), lane)

        assert 2 == tally.dropped
        assert ["c" * 10, "d" * 10, "x" * (OVERHEAD + 15)] == everything_in(outbox)

    def test_latest_of_each_key(self) -> None:
        """A newer message takes the place in line of the older one with its key."""
        tally = Tally()
        lane = Lane("latest", 100, tally)
        outbox: Outbox[Prepared] = Outbox(PLENTY)
        for text in ("a1", "b1", "a2", "c1", "a3", "b2"):
            outbox.put(Prepared(text, key=text[0]), lane)

        assert ["a3", "b2", "c1"] == everything_in(outbox)
        assert 3 == tally.dropped
        assert outbox.put(Prepared("a4", key="a"), lane)
        assert ["a4"] == everything_in(outbox)

    def test_latest_in_order(self) -> None:
        """What tells its position passes nobody: it drops the older one, and waits behind all."""
        outbox: Outbox[Prepared] = Outbox(PLENTY)
        tally = Tally()
        lane = Lane("latest", 100, tally)
        for message, key in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("c1", "c"), ("b2", "b")]:
            assert outbox.put(Prepared(message, key, is_ordered=True), lane)

        assert ["a2", "c1", "b2"] == everything_in(outbox)
        assert 2 == tally.dropped

    def test_latest_without_a_key(self) -> None:
        """Then there is only one that is the latest."""
        lane = Lane("latest", 100, Tally())
        outbox: Outbox[Prepared] = Outbox(PLENTY)
        for text in "abc":
            outbox.put(Prepared(text), lane)

        assert ["c"] == everything_in(outbox)

    def test_latest_that_has_grown(self) -> None:
        """If a newer one is larger, others of its subscription make room; it stays itself."""
        tally = Tally()
        lane = Lane("latest", 100, tally)
        outbox: Outbox[Prepared] = Outbox(3 * (OVERHEAD + 10))
        for key in "abc":
            outbox.put(Prepared(key * 10, key=key), lane)
        outbox.put(Prepared("A" * 15, key="a"), lane)

        assert ["A" * 15, "c" * 10] == everything_in(outbox)
        assert 2 == tally.dropped

    def test_latest_that_is_too_large(self) -> None:
        """Where nothing else of its subscription waits it goes itself; others' messages stay."""
        tally = Tally()
        lane = Lane("latest", 100, tally)
        outbox: Outbox[Prepared] = Outbox(2 * (OVERHEAD + 10))
        outbox.put(Prepared("x" * 10))
        outbox.put(Prepared("a" * 10, key="a"), lane)

        assert not outbox.put(Prepared("A" * 11, key="a"), lane)
        assert 2 == tally.dropped
        assert outbox.put(Prepared("a" * 10, key="a"), lane)
        assert ["x" * 10, "a" * 10] == everything_in(outbox)

    def test_latest_alone(self) -> None:
        """Where nothing else waits at all it may be of any size, like any message."""
        lane = Lane("latest", 100, Tally())
        outbox: Outbox[Prepared] = Outbox(1)
        outbox.put(Prepared("a", key="a"), lane)

        assert outbox.put(Prepared("A" * 100, key="a"), lane)
        assert ["A" * 100] == everything_in(outbox)

    def test_dropped_ones_leave_no_trace(self) -> None:
        """However many are dropped behind one that is stuck, memory stays bounded."""
        lane = Lane("drop_oldest", 10, Tally())
        outbox: Outbox[Prepared] = Outbox(PLENTY)
        outbox.put(Prepared("stuck"))
        for i in range(10_000):
            outbox.put(Prepared(str(i)), lane)

        assert 2 * 11 + 33 >= len(outbox._entries)
        assert ["stuck", *map(str, range(9990, 10_000))] == everything_in(outbox)


def test_news_of_a_tally() -> None:
    """It tells how many were dropped since it was asked before."""
    tally = Tally()
    tally.dropped += 3
    assert tally.has_news
    assert [3, 0] == [tally.take_news(), tally.take_news()]
    assert not tally.has_news


PUTS = st.tuples(
    st.integers(0, 2), st.sampled_from("abc"), st.text(st.sampled_from("xyz"), max_size=40)
)


@given(st.lists(PUTS | st.none(), max_size=100), st.sampled_from(OVERFLOWS))
def test_any_sequence(steps: list[tuple[int, str, str] | None], overflow: Overflow) -> None:
    """What was put is taken, dropped and counted, or still waits; never two of these."""
    tally = Tally()
    lanes = [None, Lane(overflow, 3, tally), Lane("drop_oldest", 4, tally)]
    outbox: Outbox[Prepared] = Outbox(6 * (OVERHEAD + 20))
    put = taken = refused = 0
    line: deque[Data] = deque()
    for step in steps:
        if step is None:
            if outbox.holds(outbox.number):
                outbox.take()
                taken += 1
        else:
            lane, key, text = step
            is_taken = outbox.put(Prepared(text, key=key), lanes[lane])
            put += 1
            refused += not is_taken and lanes[lane] is None
            line.append(text)
        assert put == taken + tally.dropped + refused + outbox.count
        assert outbox._size <= outbox._bound or outbox.count == 1
        assert all(lane is None or len(lane.entries) <= lane.capacity for lane in lanes)
    assert bool(outbox.count) == outbox.holds(outbox.number)
    assert set(everything_in(outbox)) <= set(line)
