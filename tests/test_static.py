"""The script for browsers, over HTTP."""

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import triows
from tests.support import BareServer
from triows import App, HandshakeRejected, StateError, static, testing
from triows.testing import Response

SCRIPT = (Path(triows.__file__).parent / "static" / "triows.js").read_bytes()


def mounted() -> App:
    """Return an app that has the script below /triows."""
    app = App(__name__)
    app.mount("/triows", static)
    return app


async def ask(method: str, path: str, **headers: str) -> Response:
    """Return the answer to a request."""
    async with testing.client(mounted()) as client:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.request(method, path, headers=fields)


async def test_script() -> None:
    """It is the file of the package, as JavaScript, and asked for again each time."""
    answer = await ask("GET", "/triows/triows.js")

    assert (200, SCRIPT) == (answer.status, answer.body)
    assert "text/javascript; charset=utf-8" == answer.headers["content-type"]
    assert "nosniff" == answer.headers["x-content-type-options"]
    assert "no-cache" == answer.headers["cache-control"]
    assert str(len(SCRIPT)) == answer.headers["content-length"]


async def test_head() -> None:
    """HEAD is answered as GET, without the file."""
    whole = await ask("GET", "/triows/triows.js")
    head = await ask("HEAD", "/triows/triows.js")

    assert (200, b"") == (head.status, head.body)
    assert list(whole.headers.items()) == list(head.headers.items())


@pytest.mark.parametrize("known", ["{}", "W/{}", '"other", {}', "*"])
async def test_known(known: str) -> None:
    """A browser that has this version is told so, and sent nothing."""
    etag = (await ask("GET", "/triows/triows.js")).headers["etag"]

    answer = await ask("GET", "/triows/triows.js", if_none_match=known.format(etag))

    assert (304, b"", etag) == (answer.status, answer.body, answer.headers["etag"])
    assert "content-length" not in answer.headers


async def test_of_another_version() -> None:
    """A browser that has another version gets this one."""
    answer = await ask("GET", "/triows/triows.js", if_none_match='"other"')

    assert 200 == answer.status


@pytest.mark.parametrize(
    "path",
    [
        "/triows",
        "/triows/",
        "/triows/triows.js/",
        "/triows/nothing.js",
        "/triows/../_app.py",
        "/triows/%2e%2e/_app.py",
        "/triows//triows.js",
        "/triows/static/triows.js",
    ],
)
async def test_nothing_else(path: str) -> None:
    """No other file can be had, whatever the path looks like."""
    assert 404 == (await ask("GET", path)).status


async def test_other_methods() -> None:
    """A script is read and nothing else."""
    answer = await ask("POST", "/triows/triows.js")

    assert (405, "GET, HEAD") == (answer.status, answer.headers["allow"])


async def test_connection() -> None:
    """A connection is refused: there is no socket."""
    async with testing.client(mounted()) as client:
        with pytest.raises(HandshakeRejected) as rejection:
            async with client.websocket("/triows/triows.js"):
                pass

    assert 404 == rejection.value.status


async def test_lifespan() -> None:
    """It is no app of its own: other scopes are refused, as ASGI has it."""
    with pytest.raises(StateError, match="'lifespan'"):
        await BareServer().serve(static, type="lifespan")


async def test_in_starlette() -> None:
    """It may be mounted in another app as well."""
    app = Starlette(routes=[Mount("/triows", static)])
    async with testing.client(app) as client:
        answers = [await client.request("GET", f"/triows/{name}.js") for name in ("triows", "x")]

    assert [200, 404] == [answer.status for answer in answers]
