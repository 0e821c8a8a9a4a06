"""The reading side: who is inside the server's `receive`, and what becomes of the messages.

ASGI tells that the peer left only to whoever is inside the server's `receive`. A reader task
beside every handler would see it, and cost a task switch a message. So the handler is its own
reader: `receive` awaits the server directly. A watcher takes over only when nobody has been
inside for `UNATTENDED` seconds; what it gets goes to the inbox, and it stands down when a
receiver waits for it. At most one task is inside the server's `receive` at a time.

The watcher reads at once, without that pause, when there is nobody to wait for: after this
side's close (only the server's `websocket.disconnect` says that the peer has seen it), and
when the route discards what comes in.

A full inbox stops the watcher, and hides the disconnect queued behind it; `stall_timeout` is
the only promise there.

Relied upon, because servers were seen to do it: `receive` after the disconnect may never
return, so it is not called.
"""

from collections import deque
from collections.abc import Awaitable, Callable

import trio

from triows._asgi._link import Link, departure
from triows._close import TRY_AGAIN_LATER
from triows._errors import MessageTooBig
from triows._limits import Limits
from triows._outbox import size_of
from triows._timer import Timer
from triows._transport import TURN_MASK
from triows._types import Data, Event, Receive

UNATTENDED = 0.25
"""Seconds without a receiver after which the watcher reads."""

LONGEST_PAUSE = 0.5
"""Seconds between two looks at a busy receiver: its absence is seen after twice that at most."""

_STALL = "stall_timeout"


class Reader:
    """Takes messages from the server, for a receiver or into the inbox.

    Attributes:
        received: Messages so far, discarded ones included.
        last_received: When the last one came; kept up where `idle_timeout` is set.
        discards: The watcher reads all the time, and drops what comes.
    """

    __slots__ = (
        "_arrivals",
        "_asgi_receive",
        "_fault_is_told",
        "_inbox",
        "_inbox_bytes",
        "_inside",
        "_is_full",
        "_is_paused",
        "_is_receiving",
        "_is_timed",
        "_is_waiting",
        "_limits",
        "_link",
        "_surely_small",
        "_tell_fault",
        "_timer",
        "_visits",
        "_watcher",
        "_watcher_awaits_exit",
        "discards",
        "last_received",
        "received",
    )

    def __init__(
        self,
        receive: Receive,
        link: Link,
        limits: Limits,
        timer: Timer,
        tell_fault: Callable[[], Awaitable[None]],
    ) -> None:
        self.received = 0
        self.last_received = trio.current_time()
        self.discards = False
        self._asgi_receive = receive
        self._link = link
        self._limits = limits
        self._timer = timer
        self._tell_fault = tell_fault
        self._fault_is_told = False
        # UTF-8 takes at most four bytes a character; most messages are far below that.
        self._surely_small = limits.max_message_size // 4
        self._is_timed = limits.idle_timeout is not None
        self._is_receiving = False
        self._visits = 0
        self._inside: str | None = None  # who is inside the server's receive
        self._inbox: deque[tuple[Data, int]] = deque()
        self._inbox_bytes = 0
        self._is_full = False
        self._is_paused = False
        self._is_waiting = False  # a receiver waits for what the watcher brings
        self._arrivals = trio.lowlevel.ParkingLot()
        self._watcher = trio.lowlevel.ParkingLot()
        self._watcher_awaits_exit = False

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self._arrivals.unpark_all()
        self._watcher.unpark_all()

    @property
    def last_seen(self) -> float:
        """When the peer last showed that it is there, as far as anybody was looking."""
        return trio.current_time() if self._is_full else self.last_received

    @property
    def is_received_from(self) -> bool:
        """A receiver, not the watcher, is inside the server's `receive`."""
        return self._inside == "receiver"

    async def receive(self) -> Data:
        """Return the next message, read by this task if no other is reading."""
        if self._is_receiving:
            raise trio.BusyResourceError("another task is already receiving from this connection")
        self._is_receiving = True
        try:
            self._visits += 1
            if self._visits & TURN_MASK:
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                await trio.lowlevel.checkpoint()
            while True:
                if self._inbox:
                    return self._take()
                if self._link.closed is not None and not self._link.has_more:
                    raise self._link.ended()
                if self._inside is not None:
                    await self._wait_for_arrival()
                    continue
                # As `_read`, but for the coroutine: this is the way of every message.
                self._inside = "receiver"
                try:
                    event = await self._asgi_receive()
                except Exception as exc:
                    event = departure(exc)
                finally:
                    self._inside = None
                    if self._watcher_awaits_exit:
                        self._release_watcher()
                message = self._admit(event)
                if message is not None:
                    return message
        finally:
            self._is_receiving = False

    async def _wait_for_arrival(self) -> None:
        self._is_waiting = True
        try:
            await self._arrivals.park()
        finally:
            self._is_waiting = False

    def _release_watcher(self) -> None:
        self._watcher_awaits_exit = False
        self._watcher.unpark_all()

    async def _read(self) -> Data | None:
        """Take one event from the server; None if it was no message, or none to be had."""
        self._inside = "watcher"
        try:
            event = await self._asgi_receive()
        except Exception as exc:
            event = departure(exc)
        finally:
            self._inside = None
        return self._admit(event, is_delivered=False)

    def _admit(self, event: Event, *, is_delivered: bool = True) -> Data | None:
        """Return the message of an event; None if it has none, or one that ends the connection."""
        link = self._link
        if event["type"] != "websocket.receive":
            if event["type"] == "websocket.disconnect":
                link.depart(event)
            return None
        if link.closed is not None and not link.has_more:
            return None
        # An empty frame is data: never choose between text and bytes with `or`.
        message: Data | None = event.get("text")
        if message is None:
            message = event.get("bytes")
            assert message is not None, "servers put text or bytes into websocket.receive (ASGI)"
        if len(message) > self._surely_small and size_of(message) > self._limits.max_message_size:
            limit = self._limits.max_message_size
            link.fail(MessageTooBig(f"a message is larger than {limit} bytes"))
            return None
        self.received += 1
        if self._is_timed:
            self.last_received = trio.current_time()
        if link.has_more and is_delivered:
            link.on_delivery()
        return message

    # The inbox

    def _take(self) -> Data:
        message, size = self._inbox.popleft()
        self._inbox_bytes -= size
        if self._is_full:
            self._check_room()
        if self._link.closed is not None:
            self._link.on_delivery()
        return message

    def _keep(self, message: Data) -> None:
        size = size_of(message)
        self._inbox.append((message, size))
        self._inbox_bytes += size
        self._check_room()

    def _check_room(self) -> None:
        was_full = self._is_full
        limits = self._limits
        self._is_full = (
            len(self._inbox) >= limits.inbox_messages or self._inbox_bytes >= limits.inbox_bytes
        )
        if self._is_full != was_full:
            # Nobody looked meanwhile: for `idle_timeout` the peer has been alive.
            self.last_received = trio.current_time()
        if self._is_full:
            self._timer.set(_STALL, trio.current_time() + limits.stall_timeout, self._overrun)
        elif was_full:
            self._timer.clear(_STALL)
            self._watcher.unpark_all()

    def _overrun(self) -> None:
        reason = f"inbox unread for {self._limits.stall_timeout:g} s"
        self._link.on_overrun(TRY_AGAIN_LATER, reason)

    def drop_inbox(self) -> None:
        """Forget what nobody will receive any more."""
        self._link.has_more = False
        self._inbox.clear()
        self._inbox_bytes = 0
        self._is_full = False
        self._timer.clear(_STALL)

    def set_reading(self, reading: bool) -> None:
        """Stop or go on taking messages that no receiver waits for."""
        self._is_paused = not reading
        self._watcher.unpark_all()

    # The watcher

    async def watch(self) -> None:
        """Read whenever nobody else does, until the peer is gone."""
        while not self._link.is_departed:
            await self._wait_unattended()
            if self._has_fault_to_tell():
                self._fault_is_told = True
                await self._tell_fault()
            # Nothing may come between this look and the read: a receiver may be inside by then.
            while self._should_read():
                message = await self._read()
                if message is not None and not self._is_eager():
                    self._keep(message)
                is_awaited = self._is_waiting
                self._arrivals.unpark_all()
                await trio.lowlevel.checkpoint()
                if is_awaited:
                    break

    def _is_eager(self) -> bool:
        link = self._link
        return self.discards or (link.closed is not None and not link.has_more)

    def _has_fault_to_tell(self) -> bool:
        return self._link.fault is not None and not self._fault_is_told

    def _should_read(self) -> bool:
        if self._link.is_departed or self._inside is not None or self._has_fault_to_tell():
            return False
        return self._is_eager() or not (self._is_paused or self._is_full)

    async def _wait_unattended(self) -> None:
        visits, pause = -1, UNATTENDED
        while not self._link.is_departed:
            if self._inside is None and self._is_eager():
                return
            if self._inside is not None and (self._is_eager() or visits == self._visits):
                # Somebody waits for the next message, maybe for hours: look no more.
                self._watcher_awaits_exit = True
                await self._watcher.park()
                visits, pause = -1, UNATTENDED
            elif self._is_full or self._is_paused:
                await self._watcher.park()
            elif visits == self._visits:
                return
            else:
                visits = self._visits
                with trio.move_on_after(pause):
                    await self._watcher.park()
                # A busy receiver is looked after less and less.
                pause = min(2 * pause, LONGEST_PAUSE)

    async def wait_departed(self) -> None:
        """Wait until the server says that the peer is gone."""
        while not self._link.is_departed:
            await self._arrivals.park()
