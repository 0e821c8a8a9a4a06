"""What a handler's object tells the connection that it belongs to."""

import trio.testing

from triows import App, Limits, testing, websocket
from triows._channels import Memberships
from triows._life import Life


class Recorder:
    """A life that notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def accepted(self) -> None:
        """Note the accept."""
        self.heard.append("accepted")

    def closing(self, reason: str) -> None:
        """Note the close."""
        self.heard.append(reason)

    @property
    def memberships(self) -> Memberships:
        """Nobody joins anything here."""
        raise NotImplementedError

    def expire_after(self, seconds: float) -> None:
        """Note the expiry."""
        self.heard.append(seconds)


async def test_what_a_life_hears(autojump_clock: trio.testing.MockClock) -> None:
    """It hears of the accept, of an expiry, and of this side's close, in that order."""
    app = App(__name__, limits=Limits(close_timeout=1))
    life = Recorder()
    listener: Life = life

    @app.websocket()
    async def handler() -> None:
        websocket.unwrap()._begin(listener, None)
        await websocket.accept()
        websocket.expire_after(60)
        await websocket.close(4001, "bye")

    async with testing.client(app) as client, client.websocket("/handler"):
        pass

    assert ["accepted", 60, "closed 4001 'bye'"] == life.heard
