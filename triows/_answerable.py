"""A connection whose handshake has come: its facts, and the answer that it is given."""

from abc import abstractmethod
from collections.abc import Callable, Sequence

import trio

from triows._answers import (
    Handshake,
    Unanswered,
    check_answer,
    check_same_answer,
    choose_subprotocol,
)
from triows._close import CloseInfo
from triows._errors import AlreadyAccepted, ConnectionClosed, Reject, StateError
from triows._headers import HeadersInput, RawHeaders, encode_headers
from triows._life import Life
from triows._request import Request
from triows._transport import Transport
from triows._types import Scope


class Answerable(Request):
    """A handshake, until it is accepted or refused; what comes then is a `WebSocket`'s.

    Attributes:
        subprotocol: The chosen subprotocol, or None.
    """

    def __init__(self, scope: Scope, transport: Transport, subprotocols: Sequence[str]) -> None:
        super().__init__(scope)
        self.subprotocol: str | None = None
        self._transport = transport
        self._handshake = Handshake.PENDING
        self._unanswered: Unanswered | None = Unanswered(subprotocols)
        self._life: Life | None = None
        self._accept_headers: RawHeaders | None = None
        self._status: int | None = None  # that we have answered with

    @property
    def is_accepted(self) -> bool:
        """The handshake was accepted, by this side and in so many words or by a first message."""
        return self._handshake is Handshake.ACCEPTED

    @property
    def closed(self) -> CloseInfo | None:
        """How the connection ended, or None while it is open."""
        return self._transport.closed

    @property
    def status(self) -> int:
        """The HTTP status of the handshake: 101, that of a rejection, or 499 before any answer.

        It is 503 if the server has refused it, which it does when it ends.
        """
        if self._status is None:
            return 503 if self.closed is not None and not self.closed.by_peer else 499
        return self._status

    def _lifeline(self) -> Life:
        if self._life is None:
            raise StateError("this WebSocket belongs to no connection that is served")
        return self._life

    def _before_accept(self, hook: Callable[[], RawHeaders]) -> None:
        """Have the accept, if it is still to come, carry the headers that this will return."""
        if self._unanswered is not None:
            self._unanswered.hooks = (*self._unanswered.hooks, hook)

    async def accept(
        self, subprotocol: str | None = None, headers: HeadersInput | None = None
    ) -> None:
        """Accept the handshake.

        Needed only before a wait that is neither `receive` nor `send`, or to choose a
        subprotocol or add headers. Two tasks may race to it. Once the answer is with
        the server, cancelling no longer stops it.

        Raises:
            AlreadyAccepted: It was accepted before, with other arguments.
            ConnectionClosed: The peer has left, or the handshake was rejected.
            ValueError: The subprotocol was not offered, or a header is malformed.
        """
        raw = None if headers is None else encode_headers(headers)
        check_answer(subprotocol, raw, self.subprotocols)
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._wait_answered()
        if self._handshake is Handshake.ACCEPTED:
            check_same_answer((subprotocol, raw), (self.subprotocol, self._accept_headers or []))
            return
        if self.closed is not None:
            raise ConnectionClosed(self.closed, self)
        await self._answer(subprotocol, raw or [])

    async def _wait_answered(self) -> None:
        while self._handshake is Handshake.ANSWERING and self._unanswered is not None:
            await self._unanswered.wait_answered()

    async def _answer(self, subprotocol: str | None, headers: RawHeaders) -> None:
        unanswered = self._unanswered
        assert unanswered is not None, "it is forgotten when the handshake was accepted"
        self._handshake = Handshake.ANSWERING
        if subprotocol is None:
            subprotocol = choose_subprotocol(unanswered.preferred, self.subprotocols)
        try:
            extra = [header for hook in unanswered.hooks for header in hook()]
            await self._transport.accept(subprotocol, headers + extra)
            self._handshake = Handshake.ACCEPTED
            self._open(unanswered)
            self._status = 101
            self.subprotocol = subprotocol
            self._accept_headers = headers or None
            self._lifeline().accepted()
        finally:
            if self._handshake is Handshake.ANSWERING:
                self._handshake = Handshake.PENDING
            unanswered.wake()

    async def reject(
        self, status: int = 403, body: str | bytes = "", headers: HeadersInput | None = None
    ) -> None:
        """Answer the handshake with an HTTP response, like `raise Reject(...)`, and go on.

        Raises:
            AlreadyAccepted: The handshake was accepted before.
            ConnectionClosed: The peer has left, or the handshake was rejected before.
            ValueError: The status or a header is wrong; see `Reject`.
        """
        await self._reject(Reject(status, body, headers))

    async def _reject(self, answer: Reject) -> None:
        await self._wait_answered()
        if self._handshake is Handshake.ACCEPTED:
            raise AlreadyAccepted(
                f"cannot {answer}: the handshake was accepted before; close with a code instead"
            )
        if self.closed is None:
            self._status = 499  # A peer that leaves in the midst has not got it.
        await self._transport.reject(answer.status, answer.headers, answer.body)
        self._status = answer.status
        self._lifeline().closing(f"answered with HTTP {answer.status}")

    @abstractmethod
    def _open(self, unanswered: Unanswered) -> None:
        """Begin with messages: the handshake was accepted."""
