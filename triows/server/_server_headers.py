"""The headers that this server adds to every answer."""

import time
from collections.abc import Callable

from triows._headers import RawHeaders, header_lines


class ServerHeaders:
    """Headers with a date among them: made once a second, however many answers want them.

    Args:
        make: Returns them as they are now.
        clock: Seconds; what is made anew when a second has passed.

    Raises:
        ValueError: One of them cannot be written.
    """

    __slots__ = ("_clock", "_lines", "_make", "_raw", "_second")

    def __init__(
        self, make: Callable[[], RawHeaders], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._make = make
        self._clock = clock
        self._second = -1
        self._raw: RawHeaders = []
        self._lines = b""
        self._renew()

    @property
    def raw(self) -> RawHeaders:
        """The pairs; not to be changed."""
        self._renew()
        return self._raw

    @property
    def lines(self) -> bytes:
        """The lines, each with its end, as they go over the wire."""
        self._renew()
        return self._lines

    def _renew(self) -> None:
        second = int(self._clock())
        if second != self._second:
            self._raw = self._make()
            self._lines = header_lines(self._raw)
            self._second = second
