"""A transport over any ASGI server on Trio."""

from triows._asgi._denial import denial
from triows._asgi._transport import ASGITransport, open_asgi_transport

__all__ = ["ASGITransport", "denial", "open_asgi_transport"]
