"""A connection whose handshake has come, and the answer that it is given."""

import pytest
import trio
import trio.testing

from tests.support import BareServer, serving, websocket_of
from triows import (
    AlreadyAccepted,
    CloseInfo,
    ConnectionClosed,
    HandshakeRejected,
    StateError,
    testing,
    websocket,
)
from triows._asgi import ClientDisconnected


class TestAccept:
    """Answering the handshake."""

    async def test_explicit_accept_chooses_subprotocol_and_headers(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """Both reach the peer; a second call with the same or no arguments does nothing."""

        async def handler() -> None:
            await websocket.accept("v1", headers={"X-Room": "7"})
            await websocket.accept()
            await websocket.accept("v1")
            await websocket.accept("v1", headers=[("X-Room", "7")])
            await websocket.send(str(websocket.subprotocol))

        async with (
            testing.client(serving(handler)) as client,
            client.websocket("/", subprotocols=["v2", "v1"]) as peer,
        ):
            assert "v1" == await peer.receive()
            assert "v1" == peer.subprotocol
            assert "7" == peer.headers["x-room"]

    @pytest.mark.parametrize(
        ("subprotocol", "headers"), [("v2", None), (None, {"X-Room": "8"}), ("v2", {})]
    )
    async def test_accept_again_with_other_arguments(
        self,
        autojump_clock: trio.testing.MockClock,
        subprotocol: str | None,
        headers: dict[str, str] | None,
    ) -> None:
        """What was answered cannot be answered differently."""

        async def handler() -> None:
            await websocket.accept("v1")
            with pytest.raises(AlreadyAccepted, match="accepted before"):
                await websocket.accept(subprotocol, headers)

        async with (
            testing.client(serving(handler)) as client,
            client.websocket("/", subprotocols=["v2", "v1"]),
        ):
            pass

    async def test_two_tasks_accept_at_once(self, autojump_clock: trio.testing.MockClock) -> None:
        """One answer goes out, and both calls return when it has."""
        server = BareServer("websocket.connect", seconds=1, answers=True)

        async def handler() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(websocket.unwrap().accept)
                nursery.start_soon(websocket.unwrap().send, "first")
                nursery.start_soon(websocket.unwrap().accept)

        await server.serve(serving(handler))

        assert ["websocket.accept", "websocket.send", "websocket.close"] == server.sent_types

    async def test_a_subprotocol_that_was_not_offered(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """It is the caller's error, raised before anything reaches the wire."""

        async def handler() -> None:
            with pytest.raises(ValueError, match=r"'v3' was not offered .*\(offered: v1\)"):
                await websocket.accept("v3")
            with pytest.raises(ValueError, match="subprotocol is no header"):
                await websocket.accept(headers={"Sec-WebSocket-Protocol": "v1"})
            with pytest.raises(ValueError, match="a control character"):
                await websocket.accept(headers={"X-A": "1\r\nX-B: 2"})
            await websocket.accept()

        async with (
            testing.client(serving(handler)) as client,
            client.websocket("/", subprotocols=["v1"]) as peer,
        ):
            assert peer.subprotocol is None

    async def test_accepting_after_a_rejection(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A rejected handshake has ended the connection."""
        outcomes: list[CloseInfo] = []

        async def handler() -> None:
            await websocket.reject(401, "who?")
            for call in (websocket.accept, websocket.receive, websocket.reject):
                with pytest.raises(ConnectionClosed) as closing:
                    await call()
                outcomes.append(closing.value.info)
                assert closing.value.websocket is websocket.unwrap()

        async with testing.client(serving(handler)) as client:
            with pytest.raises(HandshakeRejected) as rejection:
                async with client.websocket("/"):
                    pass

        assert 401 == rejection.value.status
        assert [CloseInfo(1006, "answered with HTTP 401", by_peer=False)] * 3 == outcomes

    async def test_rejecting_after_accept(self, autojump_clock: trio.testing.MockClock) -> None:
        """It is too late for HTTP, also while another task is accepting."""
        server = BareServer("websocket.connect", seconds=1, answers=True)

        async def handler() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(websocket.unwrap().accept)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(AlreadyAccepted, match="close with a code instead"):
                    await websocket.reject(401)

        await server.serve(serving(handler))

        assert ["websocket.accept", "websocket.close"] == server.sent_types

    async def test_accept_while_the_peer_leaves(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """An accept that the server cannot deliver any more raises, and can be tried again."""
        server = BareServer("websocket.connect", fails={"websocket.accept": BrokenPipeError})
        outcomes: list[CloseInfo] = []

        async def handler() -> None:
            for _ in range(2):
                with pytest.raises(ConnectionClosed) as closing:
                    await websocket.accept()
                outcomes.append(closing.value.info)

        await server.serve(serving(handler))

        assert [CloseInfo(1006, "", by_peer=True)] * 2 == outcomes

    @pytest.mark.parametrize(("by_peer", "status"), [(True, 499), (False, 503)])
    async def test_who_has_ended_it(
        self, autojump_clock: trio.testing.MockClock, *, by_peer: bool, status: int
    ) -> None:
        """Its status, which is in the access log, tells whether the peer left or the server did."""
        ended = ClientDisconnected(CloseInfo(1006, "", by_peer=by_peer))
        server = BareServer(
            "websocket.connect", "websocket.disconnect", fails={"websocket.accept": lambda: ended}
        )
        statuses: list[int] = []

        async def handler() -> None:
            statuses.append(websocket.unwrap().status)
            with pytest.raises(ConnectionClosed):
                await websocket.accept()
            statuses.append(websocket.unwrap().status)

        await server.serve(serving(handler))

        assert [499, status] == statuses


@pytest.mark.parametrize("is_too_late", [False, True])
async def test_headers_of_the_accept(
    autojump_clock: trio.testing.MockClock, *, is_too_late: bool
) -> None:
    """What goes out with the accept is asked for when it comes, and not after it."""
    asked: list[str] = []

    def ask() -> list[tuple[bytes, bytes]]:
        asked.append("asked")
        return [(b"x-asked", b"1")]

    async def handler() -> None:
        if is_too_late:
            await websocket.accept()
        websocket.unwrap()._before_accept(ask)
        await websocket.send("hi")

    async with testing.client(serving(handler)) as client, client.websocket("/") as peer:
        await peer.receive()
        assert (None if is_too_late else "1") == peer.headers.get("x-asked")

    assert is_too_late == (asked == [])


async def test_a_websocket_that_is_not_served() -> None:
    """What needs a running connection says that there is none."""
    with pytest.raises(StateError, match="no connection that is served"):
        websocket_of().expire_after(1)
