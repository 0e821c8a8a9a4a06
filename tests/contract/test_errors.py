"""The errors are as they are drawn at the top of their module."""

import re
from dataclasses import dataclass
from typing import Any

import triows
from triows import _errors
from triows._errors import PeerError, TriowsError


@dataclass(frozen=True)
class Drawn:
    """An error in the drawing: its name, parents, and the close code if one stands there."""

    name: str
    parents: tuple[str, ...]
    code: int | None = None


_BRANCH = re.compile(r"(?P<indent>[│ ]*)[├└]─ (?P<names>.+?)(?: {2,}.*)?")
_NAME = re.compile(r"(?P<name>\w+)(?: \((?P<builtin>\w+)\))?(?: (?P<code>\d{4}))?")


def read_drawing(text: str) -> list[Drawn]:
    """Return the errors of a drawing; below a branch with several, the last one is the parent."""
    root, *lines = [line for line in text.splitlines() if re.match("TriowsError|[│├└]", line)]
    errors = [Drawn(root, ("Exception",))]
    trunk = [root]
    for line in lines:
        branch = _BRANCH.fullmatch(line)
        assert branch is not None, f"a branch that cannot be read: {line}"
        del trunk[1 + len(branch["indent"]) // 4 :]
        parent = trunk[-1]
        for text_of_name in branch["names"].split(" · "):
            match = _NAME.fullmatch(text_of_name)
            assert match is not None, f"a name that cannot be read: {text_of_name}"
            parents = (parent, match["builtin"]) if match["builtin"] else (parent,)
            code = None if match["code"] is None else int(match["code"])
            errors.append(Drawn(match["name"], parents, code))
        trunk.append(errors[-1].name)
    return errors


def classes() -> list[type[TriowsError]]:
    """Return the error classes of the module."""
    values: list[Any] = list(vars(_errors).values())
    return [value for value in values if isinstance(value, type) and issubclass(value, TriowsError)]


DRAWING = read_drawing(_errors.__doc__ or "")


def test_tree_as_drawn() -> None:
    """The drawing has every error, below its parents, and none that does not exist."""
    drawn = {error.name: error.parents for error in DRAWING}

    assert drawn == {
        cls.__name__: tuple(base.__name__ for base in cls.__bases__) for cls in classes()
    }


def test_nothing_is_drawn_twice() -> None:
    """An error has one place in the drawing."""
    assert len({error.name for error in DRAWING}) == len(DRAWING)


def test_codes_as_drawn() -> None:
    """The faults of the peer have the close codes that the drawing says."""
    codes = {error.name: error.code for error in DRAWING if error.code is not None}
    faults = [cls for cls in classes() if issubclass(cls, PeerError) and cls is not PeerError]

    assert codes == {cls.__name__: cls.default_code for cls in faults}


def test_every_error_is_exported() -> None:
    """Whatever triows raises can be caught by a name that is imported from triows."""
    assert {error.name for error in DRAWING} <= set(triows.__all__)
    assert all(getattr(triows, cls.__name__) is cls for cls in classes())
