"""Our own server: HTTP/1.1 WebSockets by ourselves, everything else by hypercorn."""

from triows.server._drain import Drain
from triows.server._lifespan import AppFailed
from triows.server._serve import serve

__all__ = ["AppFailed", "Drain", "serve"]
