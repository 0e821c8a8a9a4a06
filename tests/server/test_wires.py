"""Every wire behaves alike, whatever it is made of: the suite, on each kind."""

from tests.server.wire_suite import WireSuite


class TestPump(WireSuite):
    """A socket in the pump."""

    kind = "pump"


class TestStream(WireSuite):
    """A Trio stream over a socket."""

    kind = "stream"


class TestTLS(WireSuite):
    """A Trio stream with TLS."""

    kind = "tls"
