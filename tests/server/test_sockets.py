"""Listening sockets: made, named, closed, and no trace of them left."""

import socket
from pathlib import Path
from typing import Any

import pytest
from hypercorn.config import Config, Sockets

from triows.server._sockets import name_of, open_sockets


def binding(*binds: str, **settings: Any) -> Config:
    """Return a config that binds these."""
    return Config.from_mapping(bind=list(binds), **settings)


def test_those_of_a_config() -> None:
    """They are bound inside of the block, and closed behind it."""
    with open_sockets(binding("127.0.0.1:0", "127.0.0.1:0"), None) as sockets:
        first, second = sockets.insecure_sockets
        assert 0 < first.getsockname()[1] != second.getsockname()[1]

    assert [-1, -1] == [first.fileno(), second.fileno()]


def test_those_that_were_made_before() -> None:
    """They are closed too, but a path that they are bound to stays."""
    made = Sockets([], binding("127.0.0.1:0").create_sockets().insecure_sockets, [])

    with open_sockets(binding("127.0.0.1:1"), made) as sockets:
        assert made is sockets

    assert -1 == made.insecure_sockets[0].fileno()


class TestUnixSockets:
    """The path of a Unix socket."""

    def test_it_goes_with_the_socket(self, tmp_path: Path) -> None:
        """Left behind, it would look like a server that has crashed."""
        path = tmp_path / "socket"

        with open_sockets(binding(f"unix:{path}"), None):
            assert path.is_socket()

        assert not path.exists()

    def test_one_that_is_another_s_by_then(self, tmp_path: Path) -> None:
        """The next server takes the path over before this one ends: it stays."""
        path = tmp_path / "socket"

        with open_sockets(binding(f"unix:{path}"), None):
            later = binding(f"unix:{path}").create_sockets()

        assert path.is_socket()
        later.insecure_sockets[0].close()

    def test_one_that_is_gone(self, tmp_path: Path) -> None:
        """Somebody has cleaned up; that is no error."""
        path = tmp_path / "socket"

        with open_sockets(binding(f"unix:{path}"), None):
            path.unlink()

    def test_one_that_was_bound_before(self, tmp_path: Path) -> None:
        """A socket that is inherited by its number is somebody else's, with its path."""
        path = tmp_path / "socket"
        inherited = socket.socket(socket.AF_UNIX)
        inherited.bind(str(path))

        with open_sockets(binding(f"fd://{inherited.detach()}"), None):
            assert path.is_socket()

        assert path.is_socket()

    def test_relative_to_where_the_server_has_started(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An app that changes the directory does not make it stay."""
        monkeypatch.chdir(tmp_path)

        with open_sockets(binding("unix:socket"), None):
            monkeypatch.chdir("/")

        assert not (tmp_path / "socket").exists()


class TestHTTP3:
    """`quic_bind`, which is hypercorn's alone."""

    def test_it_is_not_served(self, caplog: pytest.LogCaptureFixture) -> None:
        """The log says so, and no response announces it."""
        config = binding(
            "127.0.0.1:0", quic_bind=["127.0.0.1:0"], certfile="cert.pem", keyfile="key.pem"
        )

        with open_sockets(config, None) as sockets:
            announced = dict(config.response_headers("h11"))

        assert "HTTP/3 is not served" in caplog.text
        assert b"alt-svc" not in announced
        assert -1 == sockets.quic_sockets[0].fileno()


class TestNames:
    """Where a socket listens, as its server tells it."""

    def test_addresses(self) -> None:
        """Scheme, host and port; a host of IPv6 in brackets (RFC 3986 §3.2.2)."""
        with open_sockets(binding("127.0.0.1:0", "[::1]:0"), None) as sockets:
            four, six = sockets.insecure_sockets

            assert f"http://127.0.0.1:{four.getsockname()[1]}" == name_of("http", four)
            assert f"https://[::1]:{six.getsockname()[1]}" == name_of("https", six)

    def test_paths(self, tmp_path: Path) -> None:
        """A Unix socket is named as it is bound."""
        with open_sockets(binding(f"unix:{tmp_path}/socket"), None) as sockets:
            assert f"unix:{tmp_path}/socket" == name_of("http", sockets.insecure_sockets[0])
