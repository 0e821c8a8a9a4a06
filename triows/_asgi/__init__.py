"""A transport over any ASGI server on Trio."""

from triows._asgi._denial import denial
from triows._asgi._link import ClientDisconnected
from triows._asgi._transport import ASGITransport, open_asgi_transport

__all__ = ["ASGITransport", "ClientDisconnected", "denial", "open_asgi_transport"]
