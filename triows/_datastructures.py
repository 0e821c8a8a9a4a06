"""What the application reads of a request: headers, cookies and query parameters.

Each is parsed from the raw ASGI values when it is first asked for, and never again.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from triows._headers import RawHeaders

_SPACE = " \t"


# The name is Emmett's, and lower-case for the same reason as `dict`.
class sdict(dict[str, Any]):  # noqa: N801
    """A dict whose items are attributes too, and whose missing items are None.

    Asking for an item never adds one. An item named like a method of `dict`
    (`items`, `get`, `pop`) is reached by subscription only.
    """

    def __missing__(self, key: str) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        # copy, pickle and inspect look for methods they can live without.
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        self.pop(name, None)

    def copy(self) -> "sdict":
        """Return a shallow copy."""
        return sdict(self)


class Headers(Mapping[str, str]):
    """Header fields by case-insensitive name, decoded from Latin-1 (RFC 9110 §5).

    A repeated name is one key: `headers[name]` is its first value, `get_all(name)`
    has them all in order. `raw` is the list as the server gave it.
    """

    def __init__(self, raw: RawHeaders) -> None:
        self.raw = raw
        # Not looked up in `raw`: thousands of tiny headers would make `dict(headers)` slow.
        self._values: dict[str, list[str]] = {}
        for name, value in raw:
            key = name.decode("latin-1").lower()
            self._values.setdefault(key, []).append(value.decode("latin-1"))

    def __getitem__(self, name: str) -> str:
        if (values := self._values.get(name.lower())) is not None:
            return values[0]
        raise KeyError(name)

    def get_all(self, name: str) -> list[str]:
        """Return every value of that name, in the order they came; [] if there is none."""
        return list(self._values.get(name.lower(), ()))

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Headers({[(n.decode('latin-1'), v.decode('latin-1')) for n, v in self.raw]!r})"


def parse_cookies(headers: Headers) -> dict[str, str]:
    """Return the cookies of a request by name (RFC 6265 §5.4).

    Malformed pairs are skipped. Of a repeated name the first counts: browsers
    send the most specific path first.
    """
    cookies: dict[str, str] = {}
    for field in headers.get_all("cookie"):
        for pair in field.split(";"):
            name, equals, value = pair.partition("=")
            # Python's other spaces are part of a name: else what a browser let a subdomain
            # set, because it is not `__Host-`, would be read as if it were.
            name = name.strip(_SPACE)
            if equals and name:
                cookies.setdefault(name, _unquote(value.strip(_SPACE)))
    return cookies


def _unquote(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return value[1:-1]
    return value


def parse_query(query: bytes) -> sdict:
    """Return the parameters of a query string: a str each, a list where a name repeats.

    A parameter without a value is "". Bytes that are no UTF-8 become U+FFFD.
    """
    params = sdict()
    text = query.decode(errors="replace")
    for name, value in parse_qsl(text, keep_blank_values=True, errors="replace"):
        if name not in params:
            params[name] = value
        elif isinstance(params[name], list):
            params[name].append(value)
        else:
            params[name] = [params[name], value]
    return params
