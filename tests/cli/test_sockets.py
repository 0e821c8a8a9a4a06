"""The sockets that a server listens on, and what remains of them."""

import gc
import os
import socket
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from hypercorn import Config

from triows.cli._sockets import addresses_of, all_of, close, open_sockets
from triows.cli._statuses import CommandError

LOOPBACK = "127.0.0.1:0"


def config_of(*binds: str, **settings: Any) -> Config:
    """Return a configuration for addresses."""
    return Config.from_mapping(bind=list(binds), **settings)


def refusal_of(*binds: str) -> str:
    """Return what is said of addresses that cannot be listened on."""
    with pytest.raises(CommandError) as refusal, open_sockets(config_of(*binds)):
        pass
    assert 3 == refusal.value.status
    return str(refusal.value)


@pytest.fixture
def _collect() -> Generator[None]:
    """Let no other test find what this one has left behind."""
    yield
    gc.collect()


def loses_sockets(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test where hypercorn cannot bind a socket, and then does not close it."""
    pytest.mark.filterwarnings("ignore::ResourceWarning")(test)
    pytest.mark.usefixtures("_collect")(test)
    return test


def is_listening(sock: socket.socket) -> bool:
    """Return what the system says."""
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def test_open_and_close(tmp_path: Path) -> None:
    """Clients can connect within the block, and the addresses are those they connect to."""
    path = tmp_path / "shop.sock"
    with open_sockets(config_of(LOOPBACK, "[::1]:0", f"unix:{path}")) as sockets:
        opened = all_of(sockets)
        ports = [sock.getsockname()[1] for sock in opened[:2]]

        assert [True, True, True] == [is_listening(sock) for sock in opened]
        assert [
            f"http://127.0.0.1:{ports[0]}",
            f"http://[::1]:{ports[1]}",
            f"unix:{path}",
        ] == addresses_of(sockets)

    assert [-1, -1, -1] == [sock.fileno() for sock in opened]
    assert not path.exists()


def test_secure_sockets() -> None:
    """With a certificate there may be others without."""
    config = config_of(LOOPBACK, insecure_bind=[LOOPBACK], certfile="a", keyfile="b")
    with open_sockets(config) as sockets:
        addresses = addresses_of(sockets)

    assert ["https", "http"] == [address.partition(":")[0] for address in addresses]


@loses_sockets
def test_address_in_use() -> None:
    """It is named as it was given, and the ones before it are closed again."""
    with open_sockets(config_of(LOOPBACK)) as sockets:
        bind = addresses_of(sockets)[0].removeprefix("http://")

        assert f"cannot listen on {bind}: address already in use" == refusal_of(LOOPBACK, bind)


def test_path_that_is_served(tmp_path: Path) -> None:
    """A Unix socket where somebody listens is not taken away from them."""
    bind = f"unix:{tmp_path}/shop.sock"
    with open_sockets(config_of(bind)):
        assert f"cannot listen on {bind}: address already in use" == refusal_of(bind)
        assert (tmp_path / "shop.sock").exists()


def test_path_that_was_left_behind(tmp_path: Path) -> None:
    """A server that was killed leaves the file, which is in nobody's way."""
    path = tmp_path / "shop.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    with open_sockets(config_of(f"unix:{path}")) as sockets:
        assert is_listening(all_of(sockets)[0])


def test_path_that_another_has_taken(tmp_path: Path) -> None:
    """A file that another server has put there is not removed at the end."""
    path = tmp_path / "shop.sock"
    with open_sockets(config_of(f"unix:{path}")):
        (tmp_path / "other").write_text("")
        (tmp_path / "other").replace(path)

    assert path.exists()


def test_path_that_is_gone(tmp_path: Path) -> None:
    """Whoever has removed the file did our work."""
    path = tmp_path / "shop.sock"
    with open_sockets(config_of(f"unix:{path}")):
        path.unlink()

    assert not path.exists()


def test_descriptor() -> None:
    """A socket that was handed in is listened on, whether it was before or not."""
    with socket.create_server(("127.0.0.1", 0)) as given:
        port = given.getsockname()[1]
        with open_sockets(config_of(f"fd://{os.dup(given.fileno())}")) as sockets:
            assert [f"http://127.0.0.1:{port}"] == addresses_of(sockets)


@loses_sockets
def test_descriptors_that_cannot_be_listened_on() -> None:
    """What is not open, no socket, or none of the kind is refused."""
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        number = os.dup(datagrams.fileno())

        assert f"cannot listen on fd://{number}: it is no stream" == refusal_of(f"fd://{number}")
    assert "cannot listen on fd://999999: bad file descriptor" == refusal_of("fd://999999")


def test_close_early() -> None:
    """A server that has stopped listening before the end of the block has done no harm."""
    with open_sockets(config_of(LOOPBACK)) as sockets:
        close(sockets)

        assert -1 == all_of(sockets)[0].fileno()
