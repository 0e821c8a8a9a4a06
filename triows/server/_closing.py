"""How a connection ends: who says what to whom, and when the socket is closed (RFC 6455 §7).

- The peer sends a close frame: it is answered, and the socket closed behind the answer.
- This side closes: the rest is read for the peer's close frame, at most `close_timeout`,
  or as long as it reads what was sent before.
- The peer breaks the protocol, or the handshake is refused: the answer says so, and nothing
  more is understood. The socket stays until the peer is gone: closed at once, it would be
  reset by what the peer still sends, and the answer be lost with it.
- The socket breaks, or the peer leaves without a word: 1006.
"""

from dataclasses import replace
from functools import partial

import trio

from triows._close import ABNORMAL, CloseInfo, cut_reason
from triows._errors import PeerError
from triows._limits import Limits
from triows._timer import Timer
from triows.server._frames import CloseFrame, encode_close
from triows.server._inbox import Inbox, Source
from triows.server._line import Line
from triows.server._outgoing import Outgoing
from triows.server._wire import Wire

_CLOSE = "close_timeout"

_ON_ITS_WAY = 0.25
"""The part of `close_timeout` after which what the peer reads shows in what its kernel takes.

Until then it may be what was on its way that arrives.
"""


class Closing:
    """Ends one connection, once, by whoever comes first.

    Args:
        line: What everybody knows.
        wire: The socket.
        inbox: What has been received.
        outgoing: What is sent.
        timer: Keeps `close_timeout`.
        limits: Those of the server.
        source: Reads the rest, for the peer's close frame.
    """

    __slots__ = ("_gone", "_inbox", "_line", "_outgoing", "_seconds", "_source", "_timer", "_wire")

    def __init__(
        self,
        line: Line,
        wire: Wire,
        inbox: Inbox,
        outgoing: Outgoing,
        *,
        timer: Timer,
        limits: Limits,
        source: Source,
    ) -> None:
        self._line = line
        self._wire = wire
        self._inbox = inbox
        self._outgoing = outgoing
        self._timer = timer
        self._source = source
        self._seconds = limits.close_timeout
        self._gone: trio.lowlevel.ParkingLot | None = None

    def set_limits(self, limits: Limits) -> None:
        """Take other limits."""
        self._seconds = limits.close_timeout

    # By this side

    def close(self, code: int, reason: str) -> None:
        """Send a close frame behind everything that was sent; what was not received is dropped."""
        self._line.closed = CloseInfo(code, reason, by_peer=False)
        self._outgoing.finish(encode_close(code, reason))
        self._inbox.clear()
        self.wake()
        self._give_it_time()
        if self._line.is_dead:
            self.leave()
        else:
            self._source.read_on()  # It may have closed too, behind what nobody had room for.

    def refuse(self, status: int, response: bytes) -> None:
        """Send the response that refuses the handshake."""
        self._line.closed = CloseInfo(ABNORMAL, f"answered with HTTP {status}", by_peer=False)
        self._outgoing.write(response)
        self.wake()
        self._linger()

    def fail(self, fault: PeerError) -> None:
        """Fail the connection for what the peer did (RFC 6455 §7.1.7)."""
        if self._line.closed is None:
            self._line.fault = fault
            reason = cut_reason(str(fault))
            self._line.closed = CloseInfo(fault.code, reason, by_peer=False)
            self._outgoing.write(encode_close(fault.code, reason))
            self.tell()
        self._linger()

    def abort(self) -> None:
        """Close the socket without another word."""
        if self._line.closed is None:
            self._line.closed = CloseInfo(ABNORMAL, "", by_peer=False)
        self._wire.abort()
        self.wake()

    def leave(self) -> None:
        """Close the socket behind what is written, or at once if the peer does not read that."""
        self._wire.finish()
        # Asked afterwards: what was kept is only now found to be too much for the peer.
        if self._wire.is_blocked:
            self._wire.abort()

    # By the peer

    def hear_close(self, frame: CloseFrame) -> None:
        """Answer the peer's close frame, or take it as the answer to ours."""
        self._line.is_deaf = True
        if self._line.is_gone:
            return
        if self._line.closed is not None:
            self._line.closed = replace(self._line.closed, clean=True)
        else:
            self._line.closed = CloseInfo(frame.code, frame.reason, by_peer=True, clean=True)
            self._outgoing.write(encode_close(frame.code, ""))
            self.tell()
        self._wire.finish()
        self._give_it_time()

    def end_of_stream(self) -> None:
        """Hear that the peer sends no more."""
        self._line.is_deaf = True
        if self._line.lose():
            self.tell()
        self.leave()
        self._give_it_time()

    def lost(self) -> None:
        """Hear that the socket is closed."""
        self._line.is_gone = True
        if self._line.lose():
            self.tell()
        self._timer.clear(_CLOSE)
        self.wake()

    # What follows

    def tell(self) -> None:
        """Tell the connection that it has ended."""
        assert self._line.closed is not None, "what is told is how it ended"
        self.wake()
        self._line.on_peer_gone(self._line.closed)

    def _linger(self) -> None:
        """Say no more and understand nothing, until the peer has read what was said."""
        self._line.is_deaf = True
        self._give_it_time()
        self._wire.end_writing()
        self._source.read_on()

    def _give_it_time(self) -> None:
        """Bound the next step: ours to be read a little further, or theirs to come."""
        if not self._line.is_gone:
            now = trio.current_time()
            look = partial(self._look_until, now + self._seconds)
            self._timer.set(_CLOSE, now + self._seconds * _ON_ITS_WAY, look)

    def _look_until(self, deadline: float) -> None:
        self._timer.set(_CLOSE, deadline, partial(self._end_unless_read, self._wire.delivered()))

    def _end_unless_read(self, delivered_before: int) -> None:
        if self._wire.delivered() == delivered_before:
            self.abort()
        else:
            # It still reads what was said before the end, and has not come to that.
            self._look_until(trio.current_time() + self._seconds)

    def unblocked(self) -> None:
        """Hear that the peer has read what was said."""
        if self._line.closed is not None:
            self._give_it_time()

    async def wait_gone(self) -> None:
        """Wait until the socket is closed, at most `close_timeout` from the last step."""
        while not self._line.is_gone:
            if self._gone is None:
                self._gone = trio.lowlevel.ParkingLot()
            await self._gone.park()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self._inbox.wake()
        self._outgoing.wake()
        if self._gone is not None:
            self._gone.unpark_all()
