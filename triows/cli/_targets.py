"""What commands work on: an app, named as `module:attribute` or by a file.

A module is looked for as `python -m` does: in the current directory first. A file is run as
`python file.py` runs it, with its folder first on the path, but under its own name.
"""

import argparse
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, TracebackType

from triows._app import App
from triows._errors import TriowsError
from triows._types import ASGIApp
from triows.cli._statuses import CommandError

PACKAGE = "triows"

_TARGET = re.compile(r"(?P<place>.+?)(?::(?P<attribute>\w+))?", re.DOTALL)

_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


class TargetNotFound(CommandError):
    """There is no such app; the message says what to do."""


class TargetFailed(Exception):
    """The user's own module raised while it was imported.

    Attributes:
        failure: What it raised, with a traceback that begins in the user's code.
    """

    def __init__(self, failure: Exception) -> None:
        super().__init__(failure)
        self.failure = failure


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names an app."""
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="module:attribute, or a file: app.py, app.py:attribute; the attribute is app "
        "by default",
    )


def load_app(target: str) -> App:
    """Import the app that a target names.

    The folder that it is looked for in stays on `sys.path`, for what the app imports later.

    Raises:
        TargetNotFound: There is no such module, file or attribute, or it is no App.
        TargetFailed: The module raised.
    """
    module, place, attribute = _import(target)
    found = getattr(module, attribute, None)
    if isinstance(found, App):
        return found
    raise _not_found(module, place, attribute, "App", lambda value: isinstance(value, App))


def load_asgi_app(target: str) -> ASGIApp:
    """Like `load_app`, but for any ASGI app: what can be called with scope, receive and send."""
    module, place, attribute = _import(target)
    found = getattr(module, attribute, None)
    if callable(found) and _takes_three(found):
        app: ASGIApp = found
        return app
    raise _not_found(module, place, attribute, "ASGI app", _looks_like_asgi)


def _import(target: str) -> tuple[ModuleType, str, str]:
    """Return the module of a target, how that was named, and the attribute's name."""
    match = _TARGET.fullmatch(target)
    place = "" if match is None else match["place"]
    attribute = (match and match["attribute"]) or "app"
    if place.endswith(".py"):
        return _load_file(Path(place)), place, attribute
    if _MODULE.fullmatch(place):
        return _load_module(place), place, attribute
    raise TargetNotFound(
        f"{target!r} names no app: write module:attribute, as in shop.live:app, or a file, "
        "as in app.py or app.py:attribute"
    )


def _load_module(name: str) -> ModuleType:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        missing = exc.name or ""
        if f"{name}.".startswith(f"{missing}.") and _users_part(exc) is None:
            raise TargetNotFound(
                f"there is no module {missing!r}; the current directory, {folder}, is on the path"
            ) from None
        raise _failure(exc) from None
    except Exception as exc:
        raise _failure(exc) from None


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise TargetNotFound(f"there is no file {path} in {Path.cwd()}")
    path = path.resolve()
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None, "a name that ends with .py is that of Python source"
    assert spec.loader is not None, "as above"
    module = importlib.util.module_from_spec(spec)
    # What it imports may import it in turn, and must not run it again.
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as exc:
        raise _failure(exc) from None
    return module


def _not_found(
    module: ModuleType, place: str, attribute: str, kind: str, is_one: Callable[[object], bool]
) -> TargetNotFound:
    apps = [f"{place}:{name}" for name, value in vars(module).items() if is_one(value)]
    hint = f"did you mean {' or '.join(apps)}?" if apps else f"there is no {kind} in it"
    if hasattr(module, attribute):
        what = f"is no {kind}, but of type {type(getattr(module, attribute)).__qualname__}"
    else:
        what = "does not exist"
    return TargetNotFound(f"{place}:{attribute} {what}; {hint}")


def _takes_three(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind(None, None, None)
    except TypeError:
        return False
    except ValueError:
        # Not everything that is written in C says what it takes.
        return True
    return True


def _looks_like_asgi(value: object) -> bool:
    if not callable(value) or isinstance(value, type):
        return False
    try:
        return list(inspect.signature(value).parameters) == ["scope", "receive", "send"]
    except ValueError:
        return False


# Tracebacks


def _failure(exc: Exception) -> TargetFailed:
    """Wrap what the user's module raised, without the frames that led to the module."""
    trace = _users_part(exc)
    if isinstance(exc, TriowsError):
        _cut_behind_user(trace)
    return TargetFailed(exc.with_traceback(trace))


def _users_part(exc: Exception) -> TracebackType | None:
    ours = (PACKAGE, "importlib")
    return next((part for part in _parts(exc.__traceback__) if _room_of(part) not in ours), None)


def _cut_behind_user(trace: TracebackType | None) -> None:
    """Let a traceback end with the call of ours that was wrong."""
    users = [part for part in _parts(trace) if _room_of(part) != PACKAGE]
    for last in users[-1:]:
        last.tb_next = None


def _parts(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _room_of(trace: TracebackType) -> str:
    """Return the outermost package of the code of a frame."""
    return str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0]
