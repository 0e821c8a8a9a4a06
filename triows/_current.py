"""The topics of the app that a task belongs to: `channels`, a proxy over a context variable."""

from typing import Any, cast

from triows._channels import Channels
from triows._errors import OutsideConnection
from triows._urls import current_place


class ChannelsProxy:
    """Stands for the `Channels` of the app that the current task belongs to."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        place = current_place.get()
        if place is None or place.channels is None:
            raise OutsideConnection(
                "channels was used where no app is running: use `app.channels`, and that only "
                "while the app runs"
            )
        return getattr(place.channels, name)

    def __repr__(self) -> str:
        place = current_place.get()
        return f"<channels: {None if place is None else place.channels!r}>"


channels: Channels = cast("Channels", ChannelsProxy())
"""The topics of the current app, a `Channels`. Where no app runs: `OutsideConnection`."""
