"""What one connection may cost its server, whatever its peer does."""

import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.client import ClientConnection

from tests.e2e.clients import LONGEST_PAUSE, Closed, connect, open_bystander, read_to_end
from tests.e2e.servers import Server, on_every_server, serving

KIB = 1024
MIB = 1024 * 1024

STALL_TIMEOUT = 1
"""Seconds, in the app."""

SLACK = 2
"""Seconds for two busy cores."""

BATCH = 10
"""Clients at a time: a bound that is not kept shows ten times as clearly."""


class Flood:
    """Clients that send without end, and what the server makes of it."""

    def __init__(self) -> None:
        self.endings: list[Closed] = []
        self.sent = 0

    async def run(self, server: Server, path: str) -> None:
        """Send 64-KiB messages until the server ends the connection."""
        async with (
            connect(server.ws(path), compression=None) as connection,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._send_for_ever, connection)
            self.endings.append(await read_to_end(connection))

    async def _send_for_ever(self, connection: ClientConnection) -> None:
        message = bytes(64 * KIB)
        try:
            while True:
                await connection.send(message)
                self.sent += len(message)
        except ConnectionClosed:
            pass


@on_every_server
async def test_a_flood_that_nobody_reads(server: str) -> None:
    """Memory stays within the inbox's bounds, and the connection ends with 1013 in time.

    A connection keeps at most an inbox (256 KiB and a message) and what the server
    queues before it (ten messages, and one read): about 1 MiB of these messages.
    """
    flood = Flood()
    async with serving("bounds:app", server=server) as running:
        async with open_bystander(running) as bystander:
            before = peak = running.memory
            with trio.fail_after(STALL_TIMEOUT + 1 + SLACK):
                async with trio.open_nursery() as nursery:
                    for _ in range(BATCH):
                        nursery.start_soon(flood.run, running, "/never_reads")
                    while len(flood.endings) < BATCH:
                        peak = max(peak, running.memory)
                        await trio.sleep(0.01)
            assert bystander.longest < LONGEST_PAUSE
        print(f"{server}: {(peak - before) / BATCH / KIB:.0f} KiB a connection")

    assert flood.endings == [Closed(1013, f"inbox unread for {STALL_TIMEOUT} s")] * BATCH
    assert running.log.count("WARNING triows.error: handler never_reads") == BATCH
    assert running.failures == []
    assert peak - before < BATCH * 3 * MIB


@on_every_server
async def test_a_flood_that_is_discarded(server: str) -> None:
    """`incoming="discard"` takes whatever comes: no memory, no end, and nobody else suffers."""
    flood = Flood()
    async with serving("bounds:app", server=server) as running:
        async with open_bystander(running) as bystander:
            before = peak = running.memory
            async with trio.open_nursery() as nursery:
                for _ in range(BATCH):
                    nursery.start_soon(flood.run, running, "/discards")
                with trio.move_on_after(STALL_TIMEOUT + 1):
                    while True:
                        peak = max(peak, running.memory)
                        await trio.sleep(0.01)
                nursery.cancel_scope.cancel()
            assert bystander.longest < LONGEST_PAUSE
        print(
            f"{server}: {flood.sent / MIB:.0f} MiB discarded, memory +{(peak - before) / MIB:.0f}"
        )

    assert flood.endings == []
    assert flood.sent > BATCH * 5 * MIB
    assert running.failures == []
    assert "WARNING" not in running.log
    assert peak - before < BATCH * 3 * MIB
