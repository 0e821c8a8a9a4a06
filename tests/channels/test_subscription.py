"""A topic for code."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from triows import SubscriptionLagged
from triows._broker import Message, Position, Replay
from triows._channels._subscription import MessageSubscription
from triows._outbox import Lane, Overflow, Tally


def message(offset: int, epoch: str = "e") -> Message:
    """Return a message of a topic with history."""
    return Message("t", str(offset), position=Position(epoch, offset))


def subscription(overflow: Overflow = "close", capacity: int = 100) -> MessageSubscription:
    """Return a subscription that has not begun."""
    return MessageSubscription("t", Lane(overflow, capacity, Tally()))


async def taken(subscription: MessageSubscription, count: int) -> list[str | bytes]:
    """Receive so many."""
    return [(await subscription.receive()).data for _ in range(count)]


async def test_messages(autojump_clock: MockClock) -> None:
    """They are received in order, by calls or by iteration, also by one who waits."""
    there = subscription()
    there.begin(None)
    assert there.offer(message(1))
    assert "<Subscription 't', 1 waiting>" == repr(there)
    there.offer(message(2))
    assert ["1", "2"] == await taken(there, 2)

    async def send_later() -> None:
        await trio.sleep(1)
        there.offer(message(3))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_later)
        async for received in there:
            assert "3" == received.data
            break


async def test_the_history_comes_first(autojump_clock: MockClock) -> None:
    """What comes before the beginning waits for the older ones, and none comes twice."""
    there = subscription()
    there.offer(message(2))
    there.begin(
        Position("e", 3), Replay([message(2), message(3)], Position("e", 3), is_complete=True)
    )
    assert not there.offer(message(3))
    there.offer(message(4))
    there.offer(message(5))
    there.offer(message(1, "new"))

    assert ["2", "3", "4", "5", "1"] == await taken(there, 5)


async def test_a_long_history(autojump_clock: MockClock) -> None:
    """It may be longer than what may wait, for nobody could be quick enough."""
    there = subscription(capacity=2)
    older = [message(i) for i in range(1, 11)]
    there.begin(Position("e", 10), Replay(older, Position("e", 10), is_complete=True))
    assert [True, True, False] == [there.offer(message(i)) for i in (11, 12, 13)]
    assert "<Subscription 't', 12 waiting>" == repr(there)

    assert [str(i) for i in range(1, 13)] == await taken(there, 12)
    with pytest.raises(SubscriptionLagged, match="too slow"):
        await there.receive()


async def test_too_much_before_the_history(autojump_clock: MockClock) -> None:
    """While the older ones are awaited the newer are bounded; where some are missing is said."""
    tally = Tally()
    there = MessageSubscription("t", Lane("close", 100, tally))
    big = Message("t", bytes(600 * 1024), position=Position("e", 3))
    assert there.offer(message(2))
    assert there.offer(big)
    assert not there.offer(big)
    assert not there.offer(message(4))
    there.begin(Position("e", 1), Replay([message(1)], Position("e", 1), is_complete=True))
    assert there.offer(message(5))

    assert ["1", "2", big.data] == await taken(there, 3)
    with pytest.raises(SubscriptionLagged, match="may have been lost here"):
        await there.receive()
    assert ["5"] == await taken(there, 1)
    assert 2 == tally.dropped


async def test_gaps_before_the_history(autojump_clock: MockClock) -> None:
    """Those that come while the older ones are awaited stay where they were, too."""
    there = subscription()
    there.offer(message(2))
    there.lapse()
    there.lapse()
    there.offer(message(4))
    there.lapse()
    there.begin(Position("e", 1), Replay([message(1)], Position("e", 1), is_complete=True))
    there.offer(message(6))

    for before in (["1", "2"], ["4"]):
        assert before == await taken(there, len(before))
        with pytest.raises(SubscriptionLagged, match="may have been lost here"):
            await there.receive()
    assert ["6"] == await taken(there, 1)


async def test_a_history_that_is_not_complete(autojump_clock: MockClock) -> None:
    """The first call says that something is missing, the next ones go on."""
    there = subscription()
    there.begin(Position("e", 9), Replay([message(9)], Position("e", 9), is_complete=False))

    with pytest.raises(SubscriptionLagged, match="may have been lost here"):
        await there.receive()
    assert ["9"] == await taken(there, 1)


async def test_gaps(autojump_clock: MockClock) -> None:
    """Each gap is told at its place, once."""
    there = subscription()
    there.begin(None)
    there.lapse()
    there.lapse()
    there.offer(message(1))
    there.lapse()
    there.offer(message(2))

    seen: list[object] = []
    for _ in range(4):
        try:
            seen.append((await there.receive()).data)
        except SubscriptionLagged:
            seen.append(None)
    assert [None, "1", None, "2"] == seen


async def test_too_slow(autojump_clock: MockClock) -> None:
    """With the policy "close" it ends, behind what it still has; what it misses is counted."""
    there = subscription(capacity=2)
    there.begin(None)
    assert [True, True, False, False] == [there.offer(message(i)) for i in range(1, 5)]

    assert ["1", "2"] == await taken(there, 2)
    for _ in range(2):
        with pytest.raises(SubscriptionLagged, match="too slow for topic 't'"):
            await there.receive()
    assert not there.offer(message(5))
    assert 3 == there._lane.tally.dropped


async def test_too_slow_and_dropping(autojump_clock: MockClock) -> None:
    """With another policy it goes on."""
    there = subscription("drop_newest", capacity=1)
    there.begin(None)
    assert [True, False] == [there.offer(message(i)) for i in (1, 2)]
    assert ["1"] == await taken(there, 1)
    assert there.offer(message(3))


async def test_one_receiver(autojump_clock: MockClock) -> None:
    """Two tasks cannot receive at once."""
    there = subscription()
    there.begin(None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(there.receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await there.receive()
        nursery.cancel_scope.cancel()


async def test_cancelling_loses_nothing(autojump_clock: MockClock) -> None:
    """A receive that was cancelled leaves the message to the next one."""
    there = subscription()
    there.begin(None)
    with trio.move_on_after(1):
        await there.receive()
    there.offer(message(1))
    with trio.CancelScope() as scope:
        scope.cancel()
        await there.receive()
    assert scope.cancelled_caught

    assert ["1"] == await taken(there, 1)


async def test_closed(autojump_clock: MockClock) -> None:
    """One who waits is told when the block is left, and what waits is dropped."""
    there = subscription()
    there.begin(None)

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await there.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        there.close()
    await receive()
