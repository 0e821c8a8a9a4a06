"""What a connection is told about the route that it belongs to."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from triows._channels import Hub
from triows._endings import Ending
from triows._limits import Limits
from triows._pipes import Pipe

OnDisconnect: TypeAlias = Literal["drain", "cancel", "raise"]
Handler: TypeAlias = Callable[..., Awaitable[object]]
ErrorHook: TypeAlias = Callable[[Exception], Awaitable[Ending | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a route wants its connections to live.

    Attributes:
        handler: What is called, with the path parameters and what pipes have added.
        limits: The route's over the app's.
        on_disconnect: What becomes of a busy handler whose peer left.
        pipes: What lies around the handler, from the outside in.
        ask_hook: Finds and calls the application's hook for an exception.
        hub: The topics of the app.
    """

    handler: Handler
    limits: Limits
    on_disconnect: OnDisconnect
    pipes: Sequence[Pipe]
    ask_hook: ErrorHook
    hub: Hub
