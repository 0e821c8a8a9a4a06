"""A thousand members, of whom one does not read."""

import pytest
import trio
from trio.testing import MockClock

from tests.channels.machine import Peer
from triows._channels import Hub
from triows._channels._settings import TopicSettings
from triows._outbox import OVERFLOWS, Overflow
from triows.brokers import MemoryBroker

MEMBERS = 1000
MESSAGES = 60
SIZE = 1 << 16


@pytest.mark.parametrize("overflow", OVERFLOWS)
async def test_one_of_a_thousand(autojump_clock: MockClock, overflow: Overflow) -> None:
    """The others have each message at once; it is closed, or misses some, in bounded memory."""
    hub = Hub(MemoryBroker)
    hub.settings.add("t", TopicSettings(overflow=overflow))
    async with hub.running():
        peers = [Peer(hub, f"{i}") for i in range(MEMBERS)]
        for peer in peers:
            await peer.memberships.join(
                "t", envelope=False, since=None, presence=None, overflow=None
            )
        slow, *others = peers
        slow.is_blocked = True
        began = trio.current_time()
        dropped = 0
        for i in range(MESSAGES):
            message = bytes([i]) * SIZE
            published = await hub.publish("t", message, is_json=False, exclude=None, key=str(i))
            dropped += published.dropped
            assert published.queued >= MEMBERS - 1
            assert all([message] == peer.got for peer in others)
            for peer in others:
                peer.got.clear()
            assert slow._outbox._size <= slow._outbox._bound
        assert dropped == hub.statistics().dropped
        # Nobody has waited for anything.
        assert began == trio.current_time()
        kept = (1 << 20) // SIZE - 1
        assert MESSAGES - kept == dropped
        assert [1013] * (overflow == "close") == [code for code, _ in slow.closings]
        slow.read_on()
        first = MESSAGES - kept if overflow in {"drop_oldest", "latest"} else 0
        assert list(range(first, first + kept)) == [bytes(data)[0] for data in slow.got]  # type: ignore[arg-type]
