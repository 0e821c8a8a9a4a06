"""What the reading and the writing side of one connection both know: how it ended."""

import pytest
import trio

from triows._asgi._link import GONE, ClientDisconnected, Link, departure
from triows._close import CloseInfo
from triows._errors import MessageTooBig
from triows._types import Event


def disconnect(**details: object) -> Event:
    """Return the event by which a server says that the peer has left."""
    return {"type": "websocket.disconnect", **details}


def test_begins_open() -> None:
    """Before anything has happened the connection is open, and nobody is at fault."""
    link = Link()

    assert link.closed is None
    assert link.fault is None
    assert not link.is_departed


@pytest.mark.parametrize(
    ("event", "code", "reason"),
    [
        (disconnect(code=4001, reason="bye"), 4001, "bye"),
        (disconnect(code=1000), 1000, ""),
        (disconnect(code=1001, reason=None), 1001, ""),
        (disconnect(), 1005, ""),
        (disconnect(code=None, reason="hm"), 1005, "hm"),
        (GONE, 1006, ""),
    ],
)
def test_departure_of_the_peer(event: Event, code: int, reason: str) -> None:
    """The server's code is kept; without one it is 1005, without a word from the server 1006."""
    link = Link()

    link.depart(event)

    assert link.is_departed
    # Servers do not tell whether the closing handshake was completed.
    assert CloseInfo(code, reason, by_peer=True, clean=None) == link.closed


def test_an_end_by_the_server() -> None:
    """Our own server says so when it was not the peer who ended the connection."""
    link = Link()

    link.depart({**disconnect(code=1001, reason="draining"), "triows.by_peer": False})

    assert CloseInfo(1001, "draining", by_peer=False) == link.closed


def test_departure_is_announced_once() -> None:
    """Only the first departure is told, and by then the state is what it will be."""
    link = Link()
    told: list[tuple[CloseInfo, bool]] = []
    link.on_peer_gone = lambda info: told.append((info, link.is_departed))

    link.depart(disconnect(code=1001))
    link.depart(disconnect(code=1002))

    assert [(CloseInfo(1001, "", by_peer=True), True)] == told
    assert CloseInfo(1001, "", by_peer=True) == link.closed


def test_departure_after_our_own_close() -> None:
    """Our own close keeps its code when the server reports the peer's answer, and is not news."""
    link = Link()
    told: list[CloseInfo] = []
    link.on_peer_gone = told.append
    ours = CloseInfo(4000, "enough", by_peer=False)
    link.closed = ours

    link.depart(disconnect(code=1000))

    assert ours == link.closed
    assert link.is_departed
    assert [] == told


def test_an_end_that_is_heard_of_by_writing() -> None:
    """It is announced at once; what came before is still to be read, up to the disconnect."""
    link = Link()
    told: list[CloseInfo] = []
    link.on_peer_gone = told.append
    ending = CloseInfo(4001, "bye", by_peer=True, clean=True)

    link.hear_of(ending)
    assert (ending, True, False) == (link.closed, link.has_more, link.is_departed)

    link.depart(disconnect(code=4001, reason="bye"))
    assert (ending, False, True) == (link.closed, link.has_more, link.is_departed)
    assert [ending] == told


def test_what_a_server_raises_that_knows_the_end() -> None:
    """It says how the connection has ended, also in words, for apps that log it."""
    ending = CloseInfo(4001, "bye", by_peer=True)
    disconnected = ClientDisconnected(ending)

    assert ending == disconnected.info
    assert "the connection has ended: peer closed 4001 'bye'" == str(disconnected)


def test_an_end_that_is_heard_of_after_another() -> None:
    """The first wins, and after our own close nothing is to be read."""
    link = Link()
    link.closed = CloseInfo(1000, "", by_peer=False)

    link.hear_of(CloseInfo(4001, "bye", by_peer=True))

    assert CloseInfo(1000, "", by_peer=False) == link.closed
    assert not link.has_more


def test_a_fault_among_what_is_left() -> None:
    """Nothing is read behind it."""
    link = Link()
    link.hear_of(CloseInfo(4001, "bye", by_peer=True))

    link.fail(MessageTooBig("a message is larger than 10 bytes"))

    assert not link.has_more


def test_what_the_peer_did_wrong() -> None:
    """A fault ends the connection from this side, which has yet to tell the peer."""
    link = Link()
    told: list[CloseInfo] = []
    link.on_peer_gone = told.append
    fault = MessageTooBig("a message is larger than 10 bytes")

    link.fail(fault)
    link.depart(disconnect(code=1006))

    ending = CloseInfo(1009, "a message is larger than 10 bytes", by_peer=False)
    assert fault is link.fault
    assert ending == link.closed
    assert [ending] == told


def test_every_departure_lets_waiting_tasks_look_again() -> None:
    """Whoever waits is woken before the connection is told, and also when nothing is told."""
    link = Link()
    order: list[str] = []
    link.on_change = lambda: order.append("change")
    link.on_peer_gone = lambda _: order.append("gone")

    link.depart()
    link.depart(disconnect(code=1000))

    assert ["change", "gone", "change"] == order


def test_the_exception_of_an_ended_connection() -> None:
    """Whoever wants to go on after the end is told how it ended, and of which connection."""
    link = Link()
    link.owner = "the websocket"
    link.depart(disconnect(code=4001, reason="bye"))

    for _ in range(2):
        ended = link.ended()
        assert CloseInfo(4001, "bye", by_peer=True) == ended.info
        assert "the websocket" == ended.websocket


def test_a_server_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """What its network raises is a departure; anything else is also worth a warning."""
    assert GONE == departure(trio.BrokenResourceError())
    assert "" == caplog.text

    assert GONE == departure(ValueError("a bug"))
    assert "the server failed, and its connection is lost: ValueError('a bug')" in caplog.text


def test_before_anybody_listens() -> None:
    """What happens before the connection has set its callbacks disturbs nobody."""
    link = Link()

    link.on_overrun(1013, "inbox unread for 60 s")
    link.on_delivery()
    link.depart()

    assert CloseInfo(1006, "", by_peer=True) == link.closed
