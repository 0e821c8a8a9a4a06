"""Why something fails at present: logged once, and remembered for those who ask meanwhile."""

from triows._logs import error_log

MOST = 10
"""Reasons that are logged until it works again; some name a port, or a time."""


class Reasons:
    """Those since it worked; most often it is the connection."""

    def __init__(self) -> None:
        self._logged: set[str] = set()
        self._latest = ""

    def add(self, what: str, failure: BaseException | None) -> None:
        """Remember why something has failed, and log it unless that was done."""
        self._latest = str(failure) or type(failure).__name__
        if self._latest not in self._logged and len(self._logged) < MOST:
            self._logged.add(self._latest)
            error_log.warning("%s: %s", what, self._latest)

    def clear(self) -> None:
        """Forget all: it works."""
        self._logged.clear()
        self._latest = ""

    def told_with(self, what: str) -> str:
        """Return what has happened and, while there is no connection, why there is none."""
        return f"{what}; there is no connection: {self._latest}" if self._latest else what
