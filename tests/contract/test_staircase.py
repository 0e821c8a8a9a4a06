"""The package is a staircase: a module imports only from the steps below its own."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "triows"

STAIRS = (
    (
        "_close",
        "_draining",
        "_groups",
        "_headers",
        "_logs",
        "_timer",
        "_turnstile",
        "_types",
    ),
    ("_errors", "_guard", "_limits"),
    ("_converters", "_grace", "_outbox"),
    ("_broker",),
    ("_codecs", "_datastructures", "_endings", "_paths", "_pipes", "_transport"),
    (
        "_answers",
        "_asgi",
        "_channels",
        "_flow",
        "_native",
        "_origins",
        "_request",
        "_routing",
        "brokers",
    ),
    ("_life", "_rules"),
    ("_answerable",),
    ("_websocket",),
    ("_connection", "_context", "_http", "_lifespan", "_urls"),
    ("_current", "_routes", "_static", "pipes"),
    ("_modules",),
    ("_app",),
    ("server",),
    ("testing",),
    ("cli",),
    ("__main__",),
    ("__init__",),
)

STEP = {room: step for step, rooms in enumerate(STAIRS) for room in rooms}


def room_of(path: Path) -> str:
    """Return the room that a file belongs to: a module, or a folder of modules."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def rooms_imported(path: Path) -> set[str]:
    """Return the rooms that a file imports from, wherever in the file it does."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the step"
            names.append(node.module or "")
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    inside = [name.split(".") for name in names if name.split(".")[0] == "triows"]
    return {parts[1] if len(parts) > 1 else "__init__" for parts in inside}


FILES = sorted(ROOT.rglob("*.py"))


def test_every_room_is_on_the_staircase() -> None:
    """A new module is given its step here, and a removed one loses it."""
    assert {room_of(path) for path in FILES} == set(STEP)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_from_lower_steps(path: Path) -> None:
    """A module imports from lower steps; a folder's modules also from each other."""
    room = room_of(path)
    for imported in rooms_imported(path) - ({room} if path.parent != ROOT else set()):
        assert STEP[imported] < STEP[room], f"{room} must not import {imported}"
