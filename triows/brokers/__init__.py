"""Brokers: what carries published messages between processes."""

from triows._broker import (
    Broker,
    BrokerSession,
    Listener,
    Message,
    Position,
    PresenceEvent,
    Receipt,
    Replay,
    Retention,
)
from triows.brokers._memory import MemoryBroker
from triows.brokers._redis import RedisBroker

__all__ = [
    "Broker",
    "BrokerSession",
    "Listener",
    "MemoryBroker",
    "Message",
    "Position",
    "PresenceEvent",
    "Receipt",
    "RedisBroker",
    "Replay",
    "Retention",
]
