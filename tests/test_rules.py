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
    """A connection keeps the rules that it began with; its handler has a task of its own."""
    reported: list[Exception] = []
    rules = Rules(
        limits=Limits(),
        on_disconnect="drain",
        pipes=[],
        ask_hook=ask_nobody,
        report=reported.append,
        hub=Hub(MemoryBroker),
    )

    assert rules.in_own_task
    with pytest.raises(FrozenInstanceError):
        rules.in_own_task = False  # type: ignore[misc]  # what is shown
