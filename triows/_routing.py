"""From a path to a route: a trie over segments, so that the number of routes does not count.

Templates may overlap, and the one that was declared first wins. So a look-up follows every
branch that fits (the literal one and those whose expression matches), gathers the few
routes it arrives at, and takes the earliest whose values convert.

The same walk, with a template's segments in the place of a path's, finds the routes that
take everything a new one could: declared after them, it would never be reached.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from triows._converters import ANY, Converter
from triows._errors import RouteError
from triows._paths import Segment, Template, Variant, convert, split_path

R = TypeVar("R")

SCHEMES = frozenset({"ws", "wss"})

_HOST = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[0-9A-Za-z._-]+)(?::[0-9]+)?")
_PORT = re.compile(r":[0-9]*\Z")


@dataclass(slots=True, eq=False)
class _Entry(Generic[R]):
    """A route, as it was declared."""

    order: int
    template: Template
    schemes: frozenset[str]
    route: R


@dataclass(slots=True)
class _Leaf(Generic[R]):
    """One of the paths of a route."""

    order: tuple[int, int]
    entry: _Entry[R]
    tail: Segment | None
    names: tuple[str, ...]
    converters: tuple[Converter, ...]
    absent: dict[str, None]

    def convert(self, texts: tuple[str, ...]) -> dict[str, Any] | None:
        """Return the values of the captured texts by name, or None if one is no such value."""
        values = convert(self.converters, texts)
        if values is None:
            return None
        return self.absent | dict(zip(self.names, values, strict=True))

    def takes_all(self) -> bool:
        """Return whether the rest of a path may be anything."""
        return self.tail is not None and self.tail.pattern.pattern == f"({ANY.regex})"


@dataclass(slots=True)
class _Node(Generic[R]):
    literals: "dict[str, _Node[R]]" = field(default_factory=dict)
    patterns: "dict[Segment, _Node[R]]" = field(default_factory=dict)
    leaves: list[_Leaf[R]] = field(default_factory=list)
    tails: list[_Leaf[R]] = field(default_factory=list)


class Router(Generic[R]):
    """Finds what was added for a path template, a hostname and schemes, whatever it is."""

    def __init__(self) -> None:
        self._root: _Node[R] = _Node()
        self._hosts: dict[str, _Node[R]] = {}
        self._count = 0

    def add(
        self,
        template: Template,
        route: R,
        *,
        hostname: str | None = None,
        schemes: frozenset[str] = SCHEMES,
    ) -> None:
        """Add a route; of those that match a path, the one added first wins.

        Args:
            template: Of the path.
            route: What `match` returns.
            hostname: The only host that it is for. With a port, only for that port.
            schemes: Those that it is for, of "ws" and "wss".

        Raises:
            RouteError: One that was added before takes everything that this one could.
        """
        hostname = None if hostname is None else hostname.lower()
        if (other := self._find_cover(template, hostname, schemes)) is not None:
            raise RouteError(
                f"the route {template.text} can never be reached: {other.text}, which was "
                "declared before, takes all that it could"
            )
        entry = _Entry(self._count, template, schemes, route)
        root = self._root if hostname is None else self._hosts.setdefault(hostname, _Node())
        for i, variant in enumerate(template.variants):
            node = _descend(root, variant)
            leaves = node.leaves if variant.tail is None else node.tails
            leaves.append(_leaf(entry, i, variant))
        self._count += 1

    # Looking up

    def match(
        self, path: str, *, host: str = "", scheme: str | None = None
    ) -> tuple[R, dict[str, Any]] | None:
        """Return the route for a decoded path, with its path parameters; None if there is none.

        Args:
            path: From the slash on.
            host: The Host header.
            scheme: "ws" or "wss", or None for either.
        """
        for leaf, texts in self._find(path, host):
            if scheme is not None and scheme not in leaf.entry.schemes:
                continue
            params = leaf.convert(texts)
            if params is not None:
                return leaf.entry.route, params
        return None

    def read(self, path: str) -> dict[str, str] | None:
        """Return the texts that `match` would convert, by name; without those of absent groups."""
        for leaf, texts in self._find(path, ""):
            if leaf.convert(texts) is not None:
                return dict(zip(leaf.names, texts, strict=True))
        return None

    def _find(self, path: str, host: str) -> list[tuple[_Leaf[R], tuple[str, ...]]]:
        # `GET x/admin` is no path; taken for one it would get past a proxy's rules for /admin.
        if path and not path.startswith("/"):
            return []
        found = _gather(self._root, path)
        for root in self._roots_of(host):
            found += _gather(root, path)
        if len(found) > 1:
            found.sort(key=lambda hit: hit[0].order)
        return found

    def _roots_of(self, host: str) -> list[_Node[R]]:
        if not self._hosts:
            return []
        return [self._hosts[name] for name in hosts_of(host) if name in self._hosts]

    # Refusing

    def _find_cover(
        self, template: Template, hostname: str | None, schemes: frozenset[str]
    ) -> Template | None:
        """Return the first template of which one route takes all that this one would."""
        roots = [self._root, *self._roots_of(hostname or "")]
        covers = [
            {
                leaf.entry.order: leaf.entry.template
                for root in roots
                for leaf in _find_covers(root, variant)
                if leaf.entry.schemes >= schemes
            }
            for variant in template.variants
        ]
        common = set(covers[0]).intersection(*covers[1:])
        return covers[0][min(common)] if common else None


def check_host(host: str | None) -> str | None:
    """Return a host, in lower case: a name or address, and a port if it is to be that one.

    Raises:
        RouteError: It is none, but a URL or a pattern, for example.
    """
    if host is None:
        return None
    if not _HOST.fullmatch(host):
        raise RouteError(
            f"{host!r} is no host: write 'example.org', 'example.org:8000' or '[::1]', and a name "
            "in other letters as it goes over the wire, with xn--"
        )
    return host.lower()


def hosts_of(host: str) -> list[str]:
    """Return the names that a Host header answers to: with its port, and without."""
    host = host.lower()
    return list(dict.fromkeys((host, _PORT.sub("", host))))


def _leaf(entry: _Entry[R], index: int, variant: Variant) -> _Leaf[R]:
    present = set(variant.names)
    return _Leaf(
        order=(entry.order, index),
        entry=entry,
        tail=variant.tail,
        names=variant.names,
        converters=tuple(parameter.converter for parameter in variant.parameters),
        absent={p.name: None for p in entry.template.parameters if p.name not in present},
    )


def _descend(node: _Node[R], variant: Variant) -> _Node[R]:
    for segment in variant.segments:
        if isinstance(segment, str):
            node = node.literals.setdefault(segment, _Node())
        else:
            node = node.patterns.setdefault(segment, _Node())
    return node


def _gather(root: _Node[R], path: str) -> list[tuple[_Leaf[R], tuple[str, ...]]]:
    segments = split_path(path)
    slash = "/" if path.endswith("/") else ""
    found: list[tuple[_Leaf[R], tuple[str, ...]]] = []
    branches: list[tuple[_Node[R], tuple[str, ...]]] = [(root, ())]
    for depth, segment in enumerate(segments):
        following: list[tuple[_Node[R], tuple[str, ...]]] = []
        for node, texts in branches:
            if node.tails:
                found += _match_tails(node, texts, "/".join(segments[depth:]), slash)
            if (literal := node.literals.get(segment)) is not None:
                following.append((literal, texts))
            for pattern, child in node.patterns.items():
                if (match := pattern.pattern.fullmatch(segment)) is not None:
                    following.append((child, texts + match.groups()))
        branches = following
    for node, texts in branches:
        found += [(leaf, texts) for leaf in node.leaves]
        if node.tails:
            found += _match_tails(node, texts, "", "")
    return found


def _match_tails(
    node: _Node[R], texts: tuple[str, ...], rest: str, slash: str
) -> list[tuple[_Leaf[R], tuple[str, ...]]]:
    found: list[tuple[_Leaf[R], tuple[str, ...]]] = []
    for leaf in node.tails:
        assert leaf.tail is not None, "a tail is a leaf with an expression"
        # A slash at the end belongs to the value, if that may have one.
        more = leaf.tail.split(rest + slash) or leaf.tail.split(rest)
        if more is not None:
            found.append((leaf, texts + more))
    return found


def _find_covers(root: _Node[R], variant: Variant) -> list[_Leaf[R]]:
    """Return the leaves that take whatever the variant does; not all, but the plain ones."""
    found: list[_Leaf[R]] = []
    nodes = [root]
    for segment in variant.segments:
        following: list[_Node[R]] = []
        for node in nodes:
            found += [leaf for leaf in node.tails if leaf.takes_all()]
            if isinstance(segment, str) and segment in node.literals:
                following.append(node.literals[segment])
            following += [
                child for pattern, child in node.patterns.items() if pattern.covers(segment)
            ]
        nodes = following
    for node in nodes:
        if variant.tail is None:
            found += node.leaves
        found += [leaf for leaf in node.tails if leaf.takes_all() or leaf.tail == variant.tail]
    return found
