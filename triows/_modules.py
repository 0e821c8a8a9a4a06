"""Modules: routes that have a prefix, a hostname, pipes and error functions in common.

An app is the outermost module. What a module adds lies inside of what the one around it adds:
the prefix comes after the outer prefix, the pipes are inside the outer pipes, and its error
functions are asked first.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from triows._endings import Ending
from triows._errors import Close, Reject, RouteError
from triows._limits import Limits
from triows._origins import Origins
from triows._paths import lead, parse_template
from triows._pipes import Pipe, check_pipes
from triows._routes import Incoming, Options, Route, RouteTable, signature_of
from triows._routing import check_host
from triows._rules import OnDisconnect

H = TypeVar("H", bound=Callable[..., Awaitable[object]])
ErrorFunction = TypeVar("ErrorFunction", bound=Callable[[Any], object])


class Module:
    """Routes that have something in common. Made by `module` of the app or another module.

    Attributes:
        import_name: The Python module that it is declared in.
        name: With the names of the modules around it: "chat.rooms".
    """

    def __init__(
        self,
        import_name: str,
        name: str,
        *,
        table: RouteTable,
        parent: "Module | None" = None,
        url_prefix: str | None = None,
        hostname: str | None = None,
        pipeline: Iterable[Pipe] | None = None,
    ) -> None:
        self.import_name = import_name
        self.name = name
        self._table = table
        self._parent = parent
        outer = "" if parent is None else parent._prefix
        self._prefix: str = outer + _check_prefix(url_prefix or "")
        parse_template(self._prefix, table.converters)
        inherited = None if parent is None else parent._hostname
        self._hostname: str | None = check_host(hostname) or inherited
        self._pipeline = check_pipes(pipeline or ())
        self._error_functions: dict[type[Exception], Callable[[Any], object]] = {}

    def __repr__(self) -> str:
        return f"<Module {self.name} at {self._prefix or '/'}>"

    # Pipes

    @property
    def pipeline(self) -> list[Pipe]:
        """The module's own pipes, from the outside in. They hold for routes declared before, too.

        Set another list, or change this one; connections that are open keep what they have.
        """
        return self._pipeline

    @pipeline.setter
    def pipeline(self, pipes: Iterable[Pipe]) -> None:
        self._pipeline = check_pipes(pipes)

    @property
    def pipes(self) -> list[Pipe]:
        """The pipes around every route of the module, those of the app first."""
        outer = [] if self._parent is None else self._parent.pipes
        return [*outer, *self._pipeline]

    # Registration

    def module(
        self,
        import_name: str,
        name: str,
        *,
        url_prefix: str | None = None,
        hostname: str | None = None,
        pipeline: Iterable[Pipe] | None = None,
    ) -> "Module":
        """Return a module inside of this one.

        Args:
            import_name: The Python module that it is declared in: `__name__`.
            name: Goes before the names of its routes, with a dot; not before their paths.
            url_prefix: Goes before their paths; may have parameters.
            hostname: The only host that they are for; see `websocket`.
            pipeline: The pipes around them, inside of those of this module.

        Raises:
            RouteError: The name, the prefix or a pipe is none.
        """
        return Module(
            import_name,
            self._qualify(_check_name(name)),
            table=self._table,
            parent=self,
            url_prefix=url_prefix,
            hostname=hostname,
            pipeline=pipeline,
        )

    def websocket(
        self,
        paths: str | Sequence[str] | None = None,
        name: str | None = None,
        pipeline: Iterable[Pipe] | None = None,
        schemes: str | Iterable[str] | None = None,
        hostname: str | None = None,
        *,
        subprotocols: str | Sequence[str] = (),
        origins: Origins | None = None,
        on_disconnect: OnDisconnect = "drain",
        incoming: Incoming = "queue",
        limits: Limits | None = None,
    ) -> Callable[[H], H]:
        """Decorate an async function as the handler of a path; it gets the path's parameters.

        The function itself comes back, so decorators stack.

        Args:
            paths: A path like `"/room/<int:number>(/<str:tab>)?"`, or several; "/" and
                the function's name by default. Of an optional group that is absent the
                parameters are None. Types: int, float, str, date, alpha, any, uuid, and
                the app's own. A default of the handler's is not looked at.
            name: Of the route; the function's by default. Of several paths the second
                is `name.1`, and so on. In a module its name goes before.
            pipeline: Pipes around this handler alone, inside of the module's.
            schemes: "ws", "wss" or both, which is the default.
            hostname: The only host that the route is for, in any case, and on any port
                unless one is given; the module's by default.
            subprotocols: What the handler speaks, in its order of preference: the first
                that the peer offered is accepted, unless `accept` says otherwise. A peer
                that offers none of them is accepted all the same: to refuse it, look at
                `websocket.subprotocols`.
            origins: The pages that may connect; the app's setting by default.
            on_disconnect: What becomes of a handler whose peer left while it is busy
                elsewhere. `"drain"` cancels it after `disconnect_grace`, counted anew at
                each message it still reads; `"cancel"` cancels it at once; `"raise"`
                leaves it to notice by itself.
            incoming: `"discard"` counts and drops what comes in, for handlers that only
                send; nobody reads the inbox of such a handler.
            limits: The bounds that differ from the app's.

        Raises:
            RouteError: Anything here is not as it should be, or the route could never be
                reached because one that was declared before takes all that it could.
        """
        if callable(paths):
            raise RouteError("decorate with @app.websocket(), with parentheses")
        options = self._table.check_options(
            pipeline=pipeline,
            schemes=schemes,
            hostname=hostname or self._hostname,
            subprotocols=subprotocols,
            origins=origins,
            on_disconnect=on_disconnect,
            incoming=incoming,
            limits=limits,
        )
        return partial(self._register, paths, name, options)

    def _register(
        self, paths: str | Sequence[str] | None, name: str | None, options: Options, handler: H
    ) -> H:
        signature = signature_of(handler)
        label = _check_name(_name_of(handler) if name is None else name)
        given = f"/{label}" if paths is None else paths
        given = [given] if isinstance(given, str) else given
        if not given:
            raise RouteError("a route needs a path: leave paths out for / and the function's name")
        for i, path in enumerate(given):
            template = parse_template(self._prefix + lead(path), self._table.converters)
            full = self._qualify(f"{label}.{i}" if i else label)
            self._table.add(Route(full, template, handler, signature, self, options))
        return handler

    def _qualify(self, name: str) -> str:
        return f"{self.name}.{name}" if self.name else name

    def on_error(self, kind: type[Exception]) -> Callable[[ErrorFunction], ErrorFunction]:
        """Decorate a function, sync or async, that is asked how an exception ends a connection.

        It is called with each exception of that kind that left a handler of the module, a
        task of it or a pipe around it, those further out included. It returns a `Close` or
        a `Reject`, which replaces the traceback in the log; or None, and everything is as
        without it. The innermost module that has a function for the exception is asked,
        there the one of the most specific kind. It has
        `pipe_close_timeout` seconds.

        Raises:
            RouteError: It is no kind of exception that could be asked for, or is taken.
        """
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise RouteError("decorate with @app.on_error(SomeException)")
        if issubclass(kind, Close | Reject):
            raise RouteError(f"{kind.__name__} is an ending already, not an error")
        if kind in self._error_functions:
            raise RouteError(f"there is an error function for {kind.__name__} already")

        def register(function: ErrorFunction) -> ErrorFunction:
            self._error_functions[kind] = function
            return function

        return register

    async def ask_error_function(self, exc: Exception) -> Ending | None:
        """Return what the error function for an exception says, here or further out."""
        for kind in type(exc).__mro__:
            function = self._error_functions.get(kind)
            if function is not None:
                answer = function(exc)
                if inspect.isawaitable(answer):
                    answer = await answer
                return _check_answer(function, answer)
        return None if self._parent is None else await self._parent.ask_error_function(exc)


class ModuleGroup:
    """Several modules, declared into as if they were one. Made by `app.module_group`.

    Pipes are set on each of them.
    """

    __slots__ = ("_modules",)

    def __init__(self, modules: Sequence["Module | ModuleGroup"]) -> None:
        self._modules = modules

    def module(self, import_name: str, name: str, **options: Any) -> "ModuleGroup":
        """Return the group of a module inside of each; see `Module.module`."""
        options = {name: _repeatable(value) for name, value in options.items()}
        return ModuleGroup([m.module(import_name, name, **options) for m in self._modules])

    def websocket(self, *args: Any, **kwargs: Any) -> Callable[[H], H]:
        """Decorate the handler of a route in each; see `Module.websocket`."""
        args = tuple(map(_repeatable, args))
        kwargs = {name: _repeatable(value) for name, value in kwargs.items()}
        decorators = [module.websocket(*args, **kwargs) for module in self._modules]

        def register(handler: H) -> H:
            for decorate in decorators:
                decorate(handler)
            return handler

        return register

    def on_error(self, kind: type[Exception]) -> Callable[[ErrorFunction], ErrorFunction]:
        """Decorate an error function of each; see `Module.on_error`."""
        decorators = [module.on_error(kind) for module in self._modules]

        def register(function: ErrorFunction) -> ErrorFunction:
            for decorate in decorators:
                decorate(function)
            return function

        return register


def _repeatable(value: Any) -> Any:
    """Return what can be gone through once for each module."""
    return list(value) if isinstance(value, Iterator) else value


# What is refused


def _check_name(name: str) -> str:
    if not name or "." in name:
        raise RouteError(f"{name!r} cannot be a name: the dots of a name are between modules")
    return name


def _name_of(handler: Any) -> str:
    name = getattr(handler, "__name__", None)
    if name is None:
        raise RouteError(f"the handler {handler!r} has no name; give name=")
    return str(name)


def _check_prefix(prefix: str) -> str:
    """Return a prefix as it goes before a path: with a slash in front and none at the end."""
    prefix = prefix.rstrip("/")
    return lead(prefix) if prefix else ""


def _check_answer(function: Callable[[Any], object], answer: object) -> Ending | None:
    if answer is None or isinstance(answer, Close | Reject):
        return answer
    raise TypeError(
        f"the error function {function!r} returned {answer!r}; return a Close, a Reject or None"
    )
