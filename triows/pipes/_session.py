"""Sessions in signed cookies.

A session is read when the connection opens and written with the accept, the only answer of a
WebSocket that has headers. So there are two times: before, it is a dict like any other; after,
nothing could carry a change to the browser, and trying is an error. The peer can read what is
in its cookie, but not change it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from hashlib import sha256
from typing import Any, Literal, get_args

from triows._answers import Handshake
from triows._context import the_websocket
from triows._datastructures import sdict
from triows._errors import RouteError, StateError
from triows._headers import RawHeaders, encode_headers, is_token
from triows._pipes import Pipe

SameSite = Literal["Lax", "Strict", "None"]

MAX_COOKIE = 4093
"""Bytes of a cookie, its name and attributes included: the least that a browser in use keeps."""

MAX_AGE = 14 * 24 * 60 * 60
"""Seconds: long enough for somebody who comes back every week."""

_ATTRIBUTE = re.compile(r"[\x21-\x3a\x3c-\x7e]+")  # RFC 6265 §4.1.1, without spaces


def _guarded(name: str) -> Callable[..., Any]:
    """Return a method of dict that refuses to write when it would be in vain."""
    write = getattr(dict, name)

    @wraps(write)
    def guarded(self: "Session", *args: Any, **kwargs: Any) -> Any:
        if self._is_sealed():
            raise StateError(
                "cannot change the session after accept: its cookie went out with the accept. "
                "Change it before, and so before the first receive or send"
            )
        return write(self, *args, **kwargs)

    return guarded


class Session(sdict):
    """The items of a session, attributes too; after accept they can only be read.

    A copy is an ordinary dict. What is inside an item, a list for example, is not watched
    after accept.
    """

    __slots__ = ("_is_sealed",)

    _is_sealed: Callable[[], bool]

    def __init__(self, items: Mapping[str, Any], is_sealed: Callable[[], bool]) -> None:
        super().__init__(items)
        # Not an item, as every other attribute is.
        object.__setattr__(self, "_is_sealed", is_sealed)

    def __reduce__(self) -> tuple[Any, ...]:
        return sdict, (dict(self),)

    __setitem__ = _guarded("__setitem__")
    __delitem__ = _guarded("__delitem__")
    __ior__ = _guarded("__ior__")
    clear = _guarded("clear")
    pop = _guarded("pop")
    popitem = _guarded("popitem")
    setdefault = _guarded("setdefault")
    update = _guarded("update")


class SessionPipe(Pipe):
    """Gives connections a `websocket.session`, which the browser keeps in a signed cookie.

    The session is a dict of JSON values whose items are attributes too. It is loaded
    when the pipe opens; a cookie that is missing, forged, expired or unreadable gives an
    empty one. Change it before accept: a session that was changed, also deep inside, is
    sent with the accept, an emptied one deletes its cookie, and otherwise nothing is
    sent. After accept every change is a `StateError`. A rejection sets no cookie.

    `accept`, the first `receive` or the first `send` raises ValueError if the cookie
    would be larger than 4093 bytes, which is what browsers keep, and TypeError if an item
    has no JSON form; nothing was sent by then.

    The cookie is signed and not encrypted: whoever has it can read it. Of two of these
    pipes around one handler, with cookies of different names, the inner one's session is
    `websocket.session`.

    Args:
        key: The secret that signs, long and random. Several for a change of keys: the
            first signs, and sessions signed with any of them are read.
        cookie: Its name.
        max_age: Seconds that a session lives after its last change; 14 days by default.
        domain: The domain whose subdomains get it too; by default only the host itself.
        path: The path below which it is sent.
        secure: Whether browsers send it over TLS only; by default if the connection's
            scheme is wss. Behind a proxy that ends TLS, say True.
        same_site: "Lax", "Strict" or "None", which browsers take with `secure` only.

    Raises:
        ImportError: itsdangerous is missing: install `triows[session]`.
        RouteError: There is no key, or a setting does not fit into a cookie.
    """

    def __init__(
        self,
        key: str | bytes | Sequence[str | bytes],
        *,
        cookie: str = "session",
        max_age: int = MAX_AGE,
        domain: str | None = None,
        path: str = "/",
        secure: bool | None = None,
        same_site: SameSite = "Lax",
    ) -> None:
        try:
            import itsdangerous  # noqa: PLC0415  # an extra
        except ImportError as exc:
            raise ImportError("a SessionPipe needs itsdangerous: install triows[session]") from exc
        self._serializer = itsdangerous.URLSafeTimedSerializer(
            _check_keys(key),
            # With the name in it: one session's value is none of another's, under one key.
            salt=f"triows.session.{cookie}",
            signer_kwargs={"key_derivation": "hmac", "digest_method": sha256},
        )
        self._unreadable = itsdangerous.BadData
        self._cookie = cookie
        self._max_age = max_age
        self._secure = secure
        _check_settings(cookie, max_age, same_site)
        self._attributes = "".join(
            f"; {name}={_check_attribute(name, value)}"
            for name, value in (("Domain", domain), ("Path", path), ("SameSite", same_site))
            if value is not None
        )

    def open(self) -> None:
        """Load the session, and have it sent with the accept if it changes until then."""
        websocket = the_websocket()
        session = Session(
            self._load(websocket.cookies.get(self._cookie)),
            is_sealed=lambda: (
                websocket._handshake is not Handshake.PENDING or websocket.closed is not None
            ),
        )
        is_secure = websocket.scheme == "wss" if self._secure is None else self._secure
        websocket._session = session
        websocket._before_accept(partial(self._headers, session, self._dump(session), is_secure))

    def _load(self, value: str | None) -> dict[str, Any]:
        if value is None:
            return {}
        try:
            items = self._serializer.loads(value, max_age=self._max_age)
        except self._unreadable:
            return {}
        return items if isinstance(items, dict) else {}

    def _dump(self, session: Session) -> bytes:
        try:
            return self._serializer.dump_payload(session)
        except (TypeError, ValueError, RecursionError) as exc:
            raise TypeError(f"the session has no JSON form: {exc}") from exc

    def _headers(self, session: Session, before: bytes, is_secure: bool) -> RawHeaders:
        """Return what the accept has to say of a session: something only if it changed."""
        if self._dump(session) == before:
            return []
        value, max_age = (self._serializer.dumps(session), self._max_age) if session else ("", 0)
        field = f"{self._cookie}={value}; Max-Age={max_age}{self._attributes}; HttpOnly"
        if is_secure:
            field += "; Secure"
        if len(field) > MAX_COOKIE:
            raise ValueError(
                f"cannot send the session: its cookie would have {len(field)} bytes, and browsers "
                f"keep {MAX_COOKIE}. Keep less in it, the key of a database's record for example"
            )
        return encode_headers([("set-cookie", field)])


def _check_keys(key: str | bytes | Sequence[str | bytes]) -> list[bytes]:
    """Return the keys as itsdangerous wants them, the one that signs last."""
    keys = [key] if isinstance(key, str | bytes) else list(key or ())
    if not keys or not all(isinstance(key, str | bytes) and key for key in keys):
        raise RouteError("a SessionPipe needs a key, a str or bytes that is not empty")
    return [key.encode() if isinstance(key, str) else key for key in reversed(keys)]


def _check_settings(cookie: str, max_age: int, same_site: str) -> None:
    if not is_token(cookie):
        raise RouteError(f"cookie={cookie!r}: the name of a cookie is a token (RFC 6265 §4.1.1)")
    if not isinstance(max_age, int) or max_age <= 0:
        raise RouteError(f"max_age={max_age!r}: a session lives for a positive number of seconds")
    if same_site not in get_args(SameSite):
        raise RouteError(f"same_site={same_site!r}: choose one of 'Lax', 'Strict', 'None'")


def _check_attribute(name: str, value: str) -> str:
    if not _ATTRIBUTE.fullmatch(value):
        raise RouteError(f"{name.lower()}={value!r} cannot be written into a cookie")
    return value
