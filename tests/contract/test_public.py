"""The public face: sorted, documented, and nothing else."""

import inspect
from collections.abc import Iterator
from functools import cached_property
from types import ModuleType
from typing import Any

import pytest

import triows
import triows.brokers
import triows.pipes
import triows.testing

DOORS = (triows, triows.brokers, triows.pipes, triows.testing)

NAMES = [
    pytest.param(getattr(door, name), name, id=f"{door.__name__}.{name}")
    for door in DOORS
    for name in door.__all__
]


def members(cls: type) -> Iterator[tuple[str, object]]:
    """Yield the public methods and properties that a class has from triows itself."""
    for base in inspect.getmro(cls):
        if base.__module__.startswith("triows."):
            for name, value in vars(base).items():
                is_code = callable(value) or isinstance(
                    value, property | cached_property | staticmethod | classmethod
                )
                if is_code and not name.startswith("_"):
                    yield f"{base.__name__}.{name}", value


CLASSES = {
    getattr(door, name)
    for door in DOORS
    for name in door.__all__
    if inspect.isclass(getattr(door, name))
}

MEMBERS = sorted({name: value for cls in CLASSES for name, value in members(cls)}.items())


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_all_is_sorted(door: ModuleType) -> None:
    """`__all__` is sorted, so that there is one place for a name, and has each name once."""
    assert sorted(set(door.__all__)) == list(door.__all__)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_nothing_leaks(door: ModuleType) -> None:
    """Beside what `__all__` names there are only submodules; imports of our own stay hidden."""
    public = {name for name in vars(door) if name.isidentifier() and not name.startswith("_")}
    submodules = {
        name
        for name in public
        if getattr(vars(door)[name], "__name__", "") == f"{door.__name__}.{name}"
    }

    assert set(door.__all__) == public - submodules


@pytest.mark.parametrize(("value", "name"), NAMES)
def test_name_is_documented(value: object, name: str) -> None:
    """What can be imported says what it is, in words of its own."""
    text = inspect.getdoc(value) or ""

    assert begins_with_a_sentence(text), name
    assert not text.startswith(f"{name}("), "a dataclass without a docstring gets its signature"


@pytest.mark.parametrize(("name", "member"), MEMBERS, ids=[name for name, _ in MEMBERS])
def test_member_is_documented(name: str, member: Any) -> None:
    """A method or property of a public class says what it does."""
    assert begins_with_a_sentence(inspect.getdoc(member) or ""), name


def begins_with_a_sentence(text: str) -> bool:
    """Return whether a docstring begins with a line that is a sentence, alone in its paragraph."""
    first, _, rest = text.partition("\n")
    return first.endswith((".", "`.")) and (not rest or rest.startswith("\n"))
