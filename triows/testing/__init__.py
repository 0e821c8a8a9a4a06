"""Tests of WebSocket applications: in memory, in virtual time, and never hanging.

The client drives any ASGI app on Trio. No sockets and no threads are involved, so with a
`trio.testing.MockClock(autojump_threshold=0)` (pytest-trio's `autojump_clock`) a test of an
hour's timeout takes milliseconds.
"""

from triows.testing._client import Client, Response, client
from triows.testing._peer import Peer

__all__ = ["Client", "Peer", "Response", "client"]
