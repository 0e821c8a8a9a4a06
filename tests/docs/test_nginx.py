"""The documented settings of nginx, in a real one, before `triows run`."""

import re
import shutil
import ssl
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.trio.client import ClientConnection, connect
from websockets.typing import Origin

from tests.e2e.servers import POLL, START_TIMEOUT, TriowsServer, running

DOCS = Path(__file__).parents[2] / "docs"

PAGES = ("how-to/deployment", "tutorial/deploy")

NGINX = re.compile(r"^```nginx\n(map.*?)^```", re.MULTILINE | re.DOTALL)

AROUND = """
daemon off;
pid nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {settings}
}}
"""
"""What nginx has beside a site, all of it in one folder."""

APP = """
from triows import App, websocket

app = App(__name__)

@app.websocket("/echo")
async def echo():
    async for message in websocket:
        if message == "bye":
            await websocket.close(4001, "as you say")
        await websocket.send(message)
"""


pytestmark = pytest.mark.parametrize("page", PAGES)


@pytest.fixture
def folder() -> Generator[Path]:
    """Return one with a short name, as sockets want it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


class Site:
    """What a user has: a name with TLS, nginx behind it, and the app behind that."""

    def __init__(self, folder: Path, name: str, authority: trustme.CA, app: TriowsServer) -> None:
        self.name = name
        self.app = app
        self._socket = folder / "socket"
        self._context = ssl.create_default_context()
        authority.configure_trust(self._context)

    @asynccontextmanager
    async def open(self, origin: str) -> AsyncGenerator[ClientConnection]:
        """Connect as a page of that origin does, around a block."""
        stream = await trio.open_unix_socket(self._socket)
        url = f"wss://{self.name}/echo"
        async with connect(url, stream=stream, ssl=self._context, origin=Origin(origin)) as peer:
            yield peer


@asynccontextmanager
async def site(page: str, folder: Path) -> AsyncGenerator[Site]:
    """Serve an app behind nginx, with the settings of a page."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    assert program, "these tests need an nginx (Debian: apt install nginx-light)"
    (settings,) = NGINX.findall((DOCS / f"{page}.md").read_text())
    (name,) = re.findall(r"server_name (\S+);", settings)
    authority = trustme.CA()
    certificate = authority.issue_cert(name)
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    (folder / "app.py").write_text(APP)
    async with running("app.py", folder=folder) as app:
        for written, here in (
            (r"listen 443 ssl", f"listen unix:{folder}/socket ssl"),
            (r"/etc/ssl/\w+\.(pem|key)", f"{folder}/both.pem"),
            (r"127\.0\.0\.1:8000", f"127.0.0.1:{app.port}"),
        ):
            settings, count = re.subn(written, here, settings)
            assert count, f"{page} has no {written}"
        (folder / "nginx.conf").write_text(AROUND.format(settings=settings))
        command = [program, "-p", f"{folder}/", "-e", "stderr", "-c", "nginx.conf"]
        async with trio.open_nursery() as nursery:
            nginx = await nursery.start(trio.run_process, command)
            try:
                with trio.fail_after(START_TIMEOUT):
                    while not (folder / "socket").exists():
                        await trio.sleep(POLL)
                yield Site(folder, name, authority, app)
            finally:
                nginx.terminate()


async def test_a_page_of_ones_own(page: str, folder: Path) -> None:
    """Messages pass both ways, and the close code and reason of the app."""
    async with site(page, folder) as served, served.open(f"https://{served.name}") as peer:
        await peer.send("hello")
        assert "hello" == await peer.recv()
        await peer.send("bye")
        with pytest.raises(ConnectionClosed):
            await peer.recv()

    assert (4001, "as you say") == (peer.close_code, peer.close_reason)


async def test_a_page_of_somebody_else(page: str, folder: Path) -> None:
    """The app knows its own name by the `Host` that nginx hands on, and refuses others."""
    async with site(page, folder) as served:
        with pytest.raises(InvalidStatus) as refused:
            async with served.open("https://evil.example.com"):
                pass

    assert 403 == refused.value.response.status_code


async def test_a_restart(page: str, folder: Path) -> None:
    """A drain of the app reaches the clients through nginx: 1001, and no 1006."""
    async with site(page, folder) as served, served.open(f"https://{served.name}") as peer:
        await peer.send("hello")
        assert "hello" == await peer.recv()
        await served.app.stop()
        with pytest.raises(ConnectionClosed):
            await peer.recv()

    assert (1001, "server draining") == (peer.close_code, peer.close_reason)
