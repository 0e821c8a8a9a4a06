"""What becomes of a handler whose client leaves."""

from contextlib import AsyncExitStack

import pytest
import trio
from websockets.frames import Opcode

from tests.e2e.clients import (
    LONGEST_PAUSE,
    connect,
    count_tasks,
    encode,
    encode_close,
    open_bystander,
    open_upgraded,
    reset_on_close,
    wait_for_tasks,
)
from tests.e2e.servers import POLL, on_every_server, serving

NOTICE = 0.25
"""Seconds after which a departure is seen that no `receive` is waiting for."""

GRACE = 0.5
"""Seconds of `disconnect_grace`, in the app."""

SLACK = 1.5
"""Seconds for two busy cores."""


@on_every_server
@pytest.mark.parametrize("farewell", [encode_close(1000), b""], ids=["close", "drop"])
async def test_what_was_sent_before_is_read(server: str, farewell: bytes) -> None:
    """A handler that takes 20 ms a message reads all 50 of a client that then leaves.

    That takes longer than `disconnect_grace`, which begins anew at each message.
    """
    async with serving("leaving:app", server=server) as running:
        async with open_upgraded(running, "/drains") as stream:
            for number in range(50):
                await stream.send_all(encode(Opcode.TEXT, b"%d" % number))
            await stream.send_all(farewell)
        await running.wait_for("triows.access")

    assert "read 50 messages" in running.log
    assert '"WS /drains" 101' in running.log
    assert running.failures == []


@on_every_server
async def test_cancel(server: str) -> None:
    """`on_disconnect="cancel"` cancels the handler as soon as the departure is seen."""
    async with serving("leaving:app", server=server) as running:
        async with connect(running.ws("/cancels")):
            pass
        with trio.fail_after(NOTICE + SLACK):
            await running.wait_for("triows.access")

    assert "cancelled: " in running.log
    assert "peer closed" in running.log
    assert running.failures == []


@on_every_server
async def test_raise(server: str) -> None:
    """`on_disconnect="raise"` never cancels the handler; it is told when it receives."""
    async with serving("leaving:app", server=server) as running:
        async with connect(running.ws("/raises")):
            pass
        await running.wait_for("triows.access")

    assert "was not cancelled" in running.log
    assert "was told: the connection has ended: peer closed" in running.log
    assert running.failures == []


@on_every_server
async def test_no_task_is_left(server: str) -> None:
    """Handlers that push, wait or have waiting children are gone within `disconnect_grace`."""
    paths = ["/pushes", "/pushes_and_discards", "/waits", "/has_a_child", "/has_a_child_and_waits"]
    async with serving("leaving:app", server=server) as running:
        before = await count_tasks(running)
        async with AsyncExitStack() as stack:
            for path in paths:
                await stack.enter_async_context(open_upgraded(running, path))
            assert await count_tasks(running) > before + len(paths)
        with trio.fail_after(NOTICE + GRACE + SLACK):
            await wait_for_tasks(running, before)

    for path in paths:
        assert running.log.count(f'"WS {path}" 101') == 1
    assert running.failures == []


@on_every_server
async def test_sending_to_nobody_starves_nobody(server: str) -> None:
    """Handlers that only send, to clients that have gone, end; others do not notice them."""
    paths = ["/floods", "/floods_until_told", "/floods_whatever_happens"]
    async with (
        serving("leaving:app", server=server) as running,
        open_bystander(running) as bystander,
    ):
        for path in paths:
            async with open_upgraded(running, path) as stream:
                await stream.receive_some()
            async with open_upgraded(running, path) as stream:
                await stream.receive_some()
                reset_on_close(stream)
            async with open_upgraded(running, path) as stream:
                await stream.send_all(encode_close(1000))
                await stream.receive_some()
        with trio.fail_after(NOTICE + GRACE + SLACK):
            while any(running.log.count(f'"WS {path}" 101') < 3 for path in paths):
                await trio.sleep(POLL)
        assert bystander.longest < LONGEST_PAUSE

    assert running.failures == []
