"""From a path to a route: a trie over segments, so that the number of routes does not count.

Templates may overlap, and the one that was declared first wins. So a look-up follows every
branch that fits (the literal one and those whose expression matches), gathers the few
routes it arrives at, and takes the earliest whose values convert.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from triows._errors import RouteError
from triows._paths import Template, parse_template, split_path

R = TypeVar("R")


@dataclass(slots=True)
class _Leaf(Generic[R]):
    order: int
    template: Template
    route: R


@dataclass(slots=True)
class _Node(Generic[R]):
    literals: "dict[str, _Node[R]]" = field(default_factory=dict)
    patterns: "dict[re.Pattern[str], _Node[R]]" = field(default_factory=dict)
    leaves: list[_Leaf[R]] = field(default_factory=list)
    tails: list[_Leaf[R]] = field(default_factory=list)


class Router(Generic[R]):
    """Finds what was added for a path template, whatever it is."""

    def __init__(self) -> None:
        self._root: _Node[R] = _Node()
        self._count = 0

    def add(self, path: str, route: R) -> None:
        """Add a route; of those that match a path, the one added first wins.

        Raises:
            RouteError: The template is malformed, or was added before.
        """
        template = parse_template(path)
        node = self._root
        for segment in template.segments:
            if isinstance(segment, str):
                node = node.literals.setdefault(segment, _Node())
            else:
                # `re` caches by text, and equal patterns are equal keys.
                node = node.patterns.setdefault(segment, _Node())
        leaves = node.leaves if template.tail is None else node.tails
        if any(leaf.template.tail == template.tail for leaf in leaves):
            raise RouteError(f"the path {template.text} was declared before")
        leaves.append(_Leaf(self._count, template, route))
        self._count += 1

    def match(self, path: str) -> tuple[R, dict[str, Any]] | None:
        """Return the route for a decoded path, with its path parameters; None if there is none."""
        # `GET x/admin` is no path; taken for one it would get past a proxy's rules for /admin.
        if path and not path.startswith("/"):
            return None
        found = self._gather(split_path(path))
        if len(found) > 1:
            found.sort(key=lambda hit: hit[0].order)
        for leaf, texts in found:
            params = leaf.template.convert(texts)
            if params is not None:
                return leaf.route, params
        return None

    def _gather(self, segments: list[str]) -> list[tuple[_Leaf[R], tuple[str, ...]]]:
        found: list[tuple[_Leaf[R], tuple[str, ...]]] = []
        branches: list[tuple[_Node[R], tuple[str, ...]]] = [(self._root, ())]
        for depth, segment in enumerate(segments):
            following: list[tuple[_Node[R], tuple[str, ...]]] = []
            for node, texts in branches:
                if node.tails:
                    found += self._match_tails(node, texts, segments[depth:])
                if (literal := node.literals.get(segment)) is not None:
                    following.append((literal, texts))
                for pattern, child in node.patterns.items():
                    if (match := pattern.fullmatch(segment)) is not None:
                        following.append((child, texts + match.groups()))
            branches = following
        for node, texts in branches:
            found += [(leaf, texts) for leaf in node.leaves]
            found += self._match_tails(node, texts, [])
        return found

    def _match_tails(
        self, node: _Node[R], texts: tuple[str, ...], rest: list[str]
    ) -> list[tuple[_Leaf[R], tuple[str, ...]]]:
        path = "/".join(rest)
        found: list[tuple[_Leaf[R], tuple[str, ...]]] = []
        for leaf in node.tails:
            assert leaf.template.tail is not None, "a tail is a leaf with an expression"
            if (match := leaf.template.tail.fullmatch(path)) is not None:
                found.append((leaf, texts + match.groups()))
        return found
