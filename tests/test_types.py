"""The shapes of ASGI 3."""

from triows import App, _types, testing
from triows._types import ASGIApp, Data, Event, Receive, Scope, Send


def test_only_what_an_asgi_app_needs() -> None:
    """The module has aliases for the parts of an ASGI call and for messages, and nothing else."""
    aliases = {name for name in vars(_types) if name[0].isupper()}
    tools = {"Any", "Awaitable", "Callable", "MutableMapping", "TypeAlias"}

    assert {"ASGIApp", "Address", "Data", "Event", "Receive", "Scope", "Send"} == aliases - tools


async def test_app_is_an_asgi_app() -> None:
    """An `App` can be given wherever an ASGI app is asked for: the type checker reads this."""
    app: ASGIApp = App(__name__)

    async with testing.client(app):
        pass


async def test_function_is_an_asgi_app() -> None:
    """So can a plain function of scope, receive and send; the test client drives any."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert "websocket" == scope["type"]  # to fail at others is ASGI's way to say no
        event: Event = await receive()
        assert "websocket.connect" == event["type"]
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["path"]})

    served: ASGIApp = app
    async with testing.client(served) as client, client.websocket("/a") as peer:
        message: Data = await peer.receive()

        assert "/a" == message
