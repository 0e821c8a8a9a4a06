"""The clients of a fan-out that speak Socket.IO: the few words that it has more than WebSocket.

The server speaks first, of Engine.IO's session; then the client joins the default namespace, and
the server says so. A message is the name of its event and its data in JSON, after `42`. Pings are
not answered.
"""

from benchmarks.client import HANDSHAKE_TIMEOUT, HandshakeFailed, client_frame, read_text
from benchmarks.crowd import Audience, make_payload

CONNECT = client_frame(b"40")
OPENED, CONNECTED = b"0{", b"40{"


class SocketIOAudience(Audience):
    """Like `Audience`, of the event `message`."""

    PATH = "/socket.io/?EIO=4&transport=websocket"

    def __init__(self, port: int, *, clients: int, size: int, depth: int) -> None:
        super().__init__(port, clients=clients, size=size, depth=depth)
        for sock in self._socks:
            sock.settimeout(HANDSHAKE_TIMEOUT)
            sock.sendall(CONNECT)
        for sock in self._socks:
            for beginning in (OPENED, CONNECTED):
                said = read_text(sock)
                if not said.startswith(beginning):
                    raise HandshakeFailed(f"expected {beginning!r}, received {said!r:.200}")
            sock.settimeout(0)

    def _payload_of(self, _number: int, size: int) -> bytes:
        return b'42["message","%s"]' % make_payload(0, size)
