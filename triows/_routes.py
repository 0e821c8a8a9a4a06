"""A route: a handler, its path, and how its connections are to be served."""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, get_args

from triows._converters import CONVERTERS, Converter, check_converter
from triows._endings import Ending
from triows._errors import RouteError
from triows._headers import is_token
from triows._limits import Limits
from triows._origins import OriginPolicy, Origins, parse_origins
from triows._paths import Template
from triows._pipes import Pipe, check_pipes, may_inject
from triows._routing import SCHEMES, Router, check_host
from triows._rules import OnDisconnect

Incoming: TypeAlias = Literal["queue", "discard"]
Handler: TypeAlias = Callable[..., Awaitable[object]]


class Owner(Protocol):
    """The module that a route belongs to."""

    @property
    def name(self) -> str:
        """Of the module; "" for the app."""

    @property
    def pipes(self) -> list[Pipe]:
        """The pipes around all its routes."""

    async def ask_error_function(self, exc: Exception) -> Ending | None:
        """Return what the error function for an exception says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the connections of a route are to be served, as `Module.websocket` has it."""

    pipeline: tuple[Pipe, ...]
    schemes: frozenset[str]
    hostname: str | None
    subprotocols: tuple[str, ...]
    origins: OriginPolicy
    on_disconnect: OnDisconnect
    incoming: Incoming
    limits: Limits

    @property
    def discards(self) -> bool:
        """What comes in is dropped."""
        return self.incoming == "discard"


@dataclass(frozen=True, slots=True)
class Signature:
    """What a handler can be called with.

    Attributes:
        names: Of its parameters; None if it takes any.
        needed: Those of them that it cannot do without.
    """

    names: frozenset[str] | None
    needed: frozenset[str]

    def select(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return those of the parameters that the handler has."""
        if self.names is None:
            return params
        return {name: value for name, value in params.items() if name in self.names}


def signature_of(handler: Any) -> Signature:
    """Return what a handler can be called with.

    Raises:
        RouteError: It is no async function, or one that cannot be called with names.
    """
    if not inspect.iscoroutinefunction(handler):
        raise RouteError(f"the handler {handler!r} must be an async function")
    own, takes_any = _parameters(handler, follow_wrapped=False)
    # What is needed is for a decorator to say: it may be the one that gives the handler the rest.
    needed = frozenset(p.name for p in own if p.default is p.empty)
    names = frozenset(p.name for p in own)
    if takes_any:
        # What it takes, it passes on to a handler that may not take all of it.
        wrapped, takes_any = _parameters(handler, follow_wrapped=True)
        names |= frozenset(p.name for p in wrapped)
    return Signature(None if takes_any else names, needed)


def _parameters(handler: Any, *, follow_wrapped: bool) -> tuple[list[inspect.Parameter], bool]:
    """Return the parameters that can be given by name, and whether it takes any others."""
    parameters = inspect.signature(handler, follow_wrapped=follow_wrapped).parameters.values()
    for p in parameters:
        if p.kind is p.POSITIONAL_ONLY and p.default is p.empty:
            raise RouteError(
                f"the handler {handler!r} cannot be given {p.name}: arguments go by name"
            )
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)


@dataclass(frozen=True, slots=True)
class Route:
    """A handler, and how its connections are to be served.

    Attributes:
        name: With the names of its modules.
        template: Of its path.
        handler: The function.
        signature: What it can be called with.
        module: What it was declared in.
        options: How its connections are to be served.
    """

    name: str
    template: Template
    handler: Handler
    signature: Signature
    module: Owner
    options: Options

    @property
    def hostname(self) -> str | None:
        """The only host that it is for."""
        return self.options.hostname

    @property
    def schemes(self) -> frozenset[str]:
        """The schemes that it is for."""
        return self.options.schemes

    @property
    def pipes(self) -> list[Pipe]:
        """Every pipe around the handler, the app's first."""
        return [*self.module.pipes, *self.options.pipeline]

    def call(self, /, **params: Any) -> Awaitable[object]:
        """Call the handler with what it has parameters for."""
        # No coroutine of our own: each one is resumed whenever the innermost is.
        return self.handler(**self.signature.select(params))

    def check_path(self) -> None:
        """Refuse a handler that has no parameter for one of its path.

        Raises:
            RouteError: It has none.
        """
        names = self.signature.names
        unknown = [] if names is None else [p for p in self._path_names() if p not in names]
        if unknown:
            raise RouteError(
                f"the handler {self.handler!r} has no parameter for {', '.join(unknown)}, which "
                f"is in its path {self.template.text}"
            )

    def check_needs(self) -> None:
        """Refuse a handler that needs what neither its path nor any pipe could give it.

        Raises:
            RouteError: It does, or one of its pipes is no pipe.
        """
        pipes = check_pipes(self.pipes)
        missing = sorted(self.signature.needed.difference(self._path_names()))
        if missing and not any(may_inject(pipe) for pipe in pipes):
            raise RouteError(
                f"the handler {self.handler!r} needs {', '.join(missing)}: there is no such "
                f"parameter in its path {self.template.text}, and it has no pipe that could add one"
            )

    def _path_names(self) -> list[str]:
        return [parameter.name for parameter in self.template.parameters]


@dataclass(slots=True)
class RouteTable:
    """All routes of an app, and what its modules share."""

    limits: Limits
    origins: OriginPolicy
    router: Router[Route] = field(default_factory=Router)
    routes: dict[str, Route] = field(default_factory=dict)
    converters: dict[str, Converter] = field(default_factory=lambda: dict(CONVERTERS))

    def add(self, route: Route) -> None:
        """Add a route, to be found by path and by name.

        Raises:
            RouteError: The name is taken, the handler does not fit its path, or it could
                never be reached.
        """
        route.check_path()
        if route.name in self.routes:
            raise RouteError(f"there is a route named {route.name!r} already; give name=")
        self.router.add(route.template, route, hostname=route.hostname, schemes=route.schemes)
        self.routes[route.name] = route

    def add_converter(self, name: str, converter: Converter) -> None:
        """Add a type of path parameter."""
        check_converter(name, converter, self.converters)
        self.converters[name] = converter

    def check_options(
        self,
        *,
        pipeline: Iterable[Pipe] | None,
        schemes: str | Iterable[str] | None,
        hostname: str | None,
        subprotocols: str | Sequence[str],
        origins: Origins | None,
        on_disconnect: OnDisconnect,
        incoming: Incoming,
        limits: Limits | None,
    ) -> Options:
        """Return the options of a route, with the app's where it has none of its own.

        Raises:
            RouteError: One is not as it should be.
        """
        _check_choice("on_disconnect", on_disconnect, get_args(OnDisconnect))
        _check_choice("incoming", incoming, get_args(Incoming))
        return Options(
            pipeline=tuple(check_pipes(pipeline or ())),
            schemes=_check_schemes(schemes),
            hostname=check_host(hostname),
            subprotocols=_check_subprotocols(subprotocols),
            origins=self.origins if origins is None else parse_origins(origins),
            on_disconnect=on_disconnect,
            incoming=incoming,
            limits=self._put_over(check_limits(limits)),
        )

    def _put_over(self, own: Limits | None) -> Limits:
        if own is None:
            return self.limits
        limits = own.over(self.limits)
        if limits.max_connections != self.limits.max_connections:
            raise RouteError("max_connections is of the whole app: give it to App(limits=...)")
        return limits


def check_limits(limits: object) -> Limits | None:
    """Return what was given as limits.

    Raises:
        RouteError: It is something else.
    """
    if limits is None or isinstance(limits, Limits):
        return limits
    raise RouteError(f"limits={limits!r}: give Limits(...)")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise RouteError(f"{name}={value!r}: choose one of {', '.join(map(repr, choices))}")


def _check_schemes(schemes: str | Iterable[str] | None) -> frozenset[str]:
    if schemes is None:
        return SCHEMES
    chosen = frozenset([schemes] if isinstance(schemes, str) else schemes)
    if not chosen or not chosen <= SCHEMES:
        raise RouteError(f"schemes={schemes!r}: there are 'ws' and 'wss'")
    return chosen


def _check_subprotocols(subprotocols: str | Sequence[str]) -> tuple[str, ...]:
    chosen = (subprotocols,) if isinstance(subprotocols, str) else tuple(subprotocols)
    for name in chosen:
        if not is_token(name):
            raise RouteError(f"subprotocol {name!r} is not a token (RFC 6455 §4.1)")
    return chosen
