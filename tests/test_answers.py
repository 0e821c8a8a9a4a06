"""What may be said in the answer to a handshake."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from triows import AlreadyAccepted
from triows._answers import Unanswered, check_answer, check_same_answer, choose_subprotocol
from triows._headers import RawHeaders


@pytest.mark.parametrize(
    ("preferred", "offered", "chosen"),
    [
        (["v2", "v1"], ["v1", "v2"], "v2"),
        (["v2", "v1"], ["v0", "v1"], "v1"),
        (["v2"], ["v1"], None),
        (["v2"], ["V2"], None),
        (["v2"], [], None),
        ([], ["v1"], None),
    ],
    ids=["our order", "second best", "none of ours", "case counts", "none offered", "we have none"],
)
def test_choice(preferred: list[str], offered: list[str], chosen: str | None) -> None:
    """The first of ours that was offered is chosen; the peer's order does not count."""
    assert chosen == choose_subprotocol(preferred, offered)


@pytest.mark.parametrize(
    ("subprotocol", "headers"),
    [(None, None), ("v1", None), (None, []), ("v1", [(b"x-room", b"7")])],
)
def test_answers_that_can_be_given(subprotocol: str | None, headers: RawHeaders | None) -> None:
    """No subprotocol, or one that was offered, and any header but the subprotocol's."""
    check_answer(subprotocol, headers, ["v2", "v1"])


@pytest.mark.parametrize(("offered", "listed"), [(["v1", "v0"], "v1, v0"), ([], "none")])
def test_subprotocol_that_was_not_offered(offered: list[str], listed: str) -> None:
    """Clients fail a connection with a subprotocol that they did not ask for."""
    with pytest.raises(ValueError, match=rf"^subprotocol 'v2' was not .* \(offered: {listed}\)$"):
        check_answer("v2", None, offered)


def test_subprotocol_as_a_header() -> None:
    """The subprotocol goes into the answer once, and not by the back door."""
    with pytest.raises(ValueError, match=r"no header here: use accept\(subprotocol=...\)$"):
        check_answer(None, [(b"x", b"y"), (b"sec-websocket-protocol", b"v1")], ["v1"])


GIVEN: tuple[str | None, RawHeaders] = ("v1", [(b"x-room", b"7")])


@pytest.mark.parametrize("asked", [(None, None), ("v1", None), (None, [(b"x-room", b"7")]), GIVEN])
def test_the_same_answer(asked: tuple[str | None, RawHeaders | None]) -> None:
    """What was answered may be asked for again, in part or as a whole."""
    check_same_answer(asked, GIVEN)


@pytest.mark.parametrize("asked", [("v2", None), (None, []), ("v1", [(b"x-room", b"8")])])
def test_another_answer(asked: tuple[str | None, RawHeaders | None]) -> None:
    """An answer cannot be taken back; the error says what it was."""
    with pytest.raises(AlreadyAccepted, match="accepted before, with subprotocol 'v1'"):
        check_same_answer(asked, GIVEN)


async def test_who_waits_for_the_answer() -> None:
    """Everybody is woken who waits; with nobody it does no harm."""
    unanswered = Unanswered(["v1"])
    unanswered.wake()
    woken: list[int] = []

    async def wait(number: int) -> None:
        await unanswered.wait_answered()
        woken.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(2):
            nursery.start_soon(wait, number)
        await wait_all_tasks_blocked()
        assert [] == woken
        unanswered.wake()

    assert [0, 1] == sorted(woken)


async def test_the_line_of_first_messages() -> None:
    """There is one line, made for the first in it."""
    unanswered = Unanswered([])
    seen = [unanswered.has_line]
    async with unanswered.line:
        seen.append(unanswered.has_line)
        await trio.lowlevel.checkpoint()
    seen.append(unanswered.has_line)

    assert [False, True, False] == seen
    assert unanswered.line is unanswered.line
