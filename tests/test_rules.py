"""What a connection is told about the route that it belongs to."""

from dataclasses import FrozenInstanceError

import pytest

from triows import Close, Limits
from triows._channels import Hub
from triows._rules import Rules
from triows.brokers import MemoryBroker


async def ask_nobody(_: Exception) -> Close | None:
    """Be an app without error hooks."""


def test_rules_do_not_change() -> None:
    """A connection keeps the rules that it began with."""
    rules = Rules(
        handler=ask_nobody,
        limits=Limits(),
        on_disconnect="drain",
        pipes=[],
        ask_hook=ask_nobody,
        hub=Hub(MemoryBroker),
    )

    with pytest.raises(FrozenInstanceError):
        rules.on_disconnect = "raise"  # type: ignore[misc]  # what is shown
