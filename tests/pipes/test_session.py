"""Sessions in signed cookies."""

import copy
import logging
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.support import tracebacks
from triows import (
    App,
    Close,
    HandshakeRejected,
    Pipe,
    Reject,
    RouteError,
    StateError,
    sdict,
    testing,
    websocket,
)
from triows.pipes import SessionPipe
from triows.pipes._session import MAX_COOKIE, Session
from triows.testing import Peer

KEY = "a secret of the tests"
FORTNIGHT = 14 * 24 * 3600

Change = Callable[[Any], object]


def changing(*changes: Change, **settings: Any) -> App:
    """Return an app that does this to the session, tells what is in it, and ends."""
    app = App(__name__)

    @app.websocket("/", pipeline=[SessionPipe(settings.pop("key", KEY), **settings)])
    async def handler() -> None:
        for change in changes:
            change(websocket.session)
        await websocket.send_json(websocket.session)

    return app


def jar(peer: Peer) -> dict[str, str]:
    """Return the Cookie header of a browser that got this answer."""
    (field,) = peer.headers.get_all("set-cookie")
    return {"Cookie": field.partition(";")[0]}


async def cookie_of(session: dict[str, Any], **settings: Any) -> dict[str, str]:
    """Return the Cookie header of a browser that has this session."""
    app = changing(lambda s: s.update(session), **settings)
    async with testing.client(app) as client, client.websocket("/") as peer:
        return jar(peer)


async def visit(app: App, cookies: dict[str, str] | None = None) -> tuple[Any, list[str]]:
    """Return what the app found in the session, and the cookies that it set."""
    async with testing.client(app) as client, client.websocket("/", headers=cookies) as peer:
        return await peer.receive_json(), peer.headers.get_all("set-cookie")


# Loading and sending


async def test_session_comes_back(autojump_clock: trio.testing.MockClock) -> None:
    """What is put into the session is there at the next connection, as attribute and item."""
    app = App(__name__)
    seen: list[object] = []

    @app.websocket(pipeline=[SessionPipe(KEY)])
    async def login() -> None:
        websocket.session.user = "joe"
        websocket.session["tags"] = ["a", {"b": None}]
        await websocket.accept()

    @app.websocket(pipeline=[SessionPipe(KEY)])
    async def account() -> None:
        session = websocket.session
        seen.extend([session.user, session["tags"], session.missing])
        await websocket.accept()

    async with testing.client(app) as client:
        async with client.websocket("/login") as peer:
            cookies = jar(peer)
        async with client.websocket("/account", headers=cookies) as peer:
            assert [] == peer.headers.get_all("set-cookie")

    assert ["joe", ["a", {"b": None}], None] == seen


async def test_cookies_attributes(autojump_clock: trio.testing.MockClock) -> None:
    """By default it is for the host, every path, and 14 days, and scripts do not see it."""
    _, (field,) = await visit(changing(lambda s: s.update(user="joe")))

    pair, *attributes = field.split("; ")
    assert pair.startswith("session=")
    assert [f"Max-Age={FORTNIGHT}", "Path=/", "SameSite=Lax", "HttpOnly"] == attributes


async def test_cookies_attributes_as_set(autojump_clock: trio.testing.MockClock) -> None:
    """Every setting is found in the cookie."""
    app = changing(
        lambda s: s.update(user="joe"),
        cookie="__Secure-id",
        max_age=60,
        domain="example.org",
        path="/live",
        secure=True,
        same_site="None",
    )
    _, (field,) = await visit(app)

    pair, *attributes = field.split("; ")
    assert pair.startswith("__Secure-id=")
    assert [
        "Max-Age=60",
        "Domain=example.org",
        "Path=/live",
        "SameSite=None",
        "HttpOnly",
        "Secure",
    ] == attributes


@pytest.mark.parametrize(
    ("scheme", "secure", "expected"),
    [
        ("ws", None, False),
        ("wss", None, True),
        ("ws", True, True),
        ("wss", False, False),
    ],
)
async def test_secure(
    scheme: str, secure: bool | None, expected: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """A cookie of a connection over TLS is for TLS only, unless the setting says otherwise."""
    app = changing(lambda s: s.update(user="joe"), secure=secure)
    async with testing.client(app) as client, client.websocket("/", scheme=scheme) as peer:
        assert expected == peer.headers["set-cookie"].endswith("; Secure")


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(user="ann"),
        lambda s: s.pop("user"),
        lambda s: s["cart"].append(2),
        lambda s: s["cart"][0].update(n=2),
        lambda s: s["cart"][0].update(n=True),
    ],
)
async def test_changes_are_sent(change: Change, autojump_clock: trio.testing.MockClock) -> None:
    """A change is sent wherever in the session it is, even if Python calls the values equal."""
    cookies = await cookie_of({"user": "joe", "cart": [{"n": 1}]})

    changed, fields = await visit(changing(change), cookies)

    assert 1 == len(fields)
    assert (changed, []) == await visit(changing(), {"Cookie": fields[0].partition(";")[0]})


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.user,
        lambda s: s.update(user="joe"),
        lambda s: (s.update(new=1), s.pop("new")),
    ],
)
async def test_nothing_is_sent_without_a_change(
    change: Change, autojump_clock: trio.testing.MockClock
) -> None:
    """A session that is at accept what it was at first sets no cookie."""
    cookies = await cookie_of({"user": "joe"})

    assert ({"user": "joe"}, []) == await visit(changing(change), cookies)


async def test_new_session_that_stays_empty(autojump_clock: trio.testing.MockClock) -> None:
    """Who has no session gets no cookie for having none."""
    assert ({}, []) == await visit(changing(lambda s: s.clear()))


async def test_emptied_session_is_deleted(autojump_clock: trio.testing.MockClock) -> None:
    """An emptied session makes the browser forget the cookie, by the same attributes."""
    cookies = await cookie_of({"user": "joe"})

    _, fields = await visit(changing(lambda s: s.clear(), path="/live"), cookies)

    assert ["session=; Max-Age=0; Path=/live; SameSite=Lax; HttpOnly"] == fields


async def test_headers_of_the_handler_stay(autojump_clock: trio.testing.MockClock) -> None:
    """The cookie goes beside what the handler itself accepts with."""
    app = App(__name__)

    @app.websocket("/", pipeline=[SessionPipe(KEY)])
    async def handler() -> None:
        websocket.session.user = "joe"
        await websocket.accept(headers={"Set-Cookie": "theme=dark"})
        await websocket.accept(headers={"Set-Cookie": "theme=dark"})

    async with testing.client(app) as client, client.websocket("/") as peer:
        names = [field.partition("=")[0] for field in peer.headers.get_all("set-cookie")]

    assert ["theme", "session"] == names


async def test_rejection_sets_no_cookie(autojump_clock: trio.testing.MockClock) -> None:
    """A handshake that is rejected carries no session."""
    app = App(__name__)

    @app.websocket("/", pipeline=[SessionPipe(KEY)])
    async def handler() -> None:
        websocket.session.user = "joe"
        raise Reject(403)

    async with testing.client(app) as client:
        with pytest.raises(HandshakeRejected) as caught:
            async with client.websocket("/"):
                pass
    assert "set-cookie" not in dict(caught.value.headers)


# Cookies that are no good


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: "",
        lambda _: "nonsense",
        lambda _: "a.b.c",
        lambda value: value[:-1],
        lambda value: "x" + value,
        lambda value: value.replace(".", "!", 1),
        lambda _: "ÿ" * 100,
    ],
)
async def test_spoilt_cookie(
    spoil: Callable[[str], str],
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever forges a cookie has an empty session, and is no error."""
    name, _, value = (await cookie_of({"user": "joe"}))["Cookie"].partition("=")

    assert ({}, []) == await visit(changing(), {"Cookie": f"{name}={spoil(value)}"})
    assert [] == tracebacks(caplog)


@given(value=st.text())
def test_no_cookie_is_an_error(value: str) -> None:
    """Whatever stands in a cookie, it is read as no session."""
    assert {} == SessionPipe(KEY)._load(value)


async def test_signed_but_no_session(autojump_clock: trio.testing.MockClock) -> None:
    """What is signed with the right key and no dict is no session."""
    value = SessionPipe(KEY)._serializer.dumps(["user"])

    assert ({}, []) == await visit(changing(), {"Cookie": f"session={value}"})


async def test_signed_with_another_key(autojump_clock: trio.testing.MockClock) -> None:
    """A session that another key has signed is empty here."""
    cookies = await cookie_of({"user": "joe"}, key="another secret")

    assert ({}, []) == await visit(changing(), cookies)


async def test_signed_for_another_cookie(autojump_clock: trio.testing.MockClock) -> None:
    """The value of one cookie is none of another's, though the key is the same."""
    cookies = await cookie_of({"admin": True}, cookie="mine")

    renamed = {"Cookie": cookies["Cookie"].replace("mine=", "session=")}
    assert ({}, []) == await visit(changing(), renamed)


async def test_expired(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session is read until max_age seconds after it was signed, and then it is empty."""
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    cookies = await cookie_of({"user": "joe"})

    monkeypatch.setattr("time.time", lambda: 1_000_060.0)
    assert ({"user": "joe"}, []) == await visit(changing(max_age=60), cookies)

    monkeypatch.setattr("time.time", lambda: 1_000_061.0)
    assert ({}, []) == await visit(changing(max_age=60), cookies)


async def test_a_change_of_keys(autojump_clock: trio.testing.MockClock) -> None:
    """Sessions of the old key are read, and what is changed is signed with the new one."""
    cookies = await cookie_of({"user": "joe"}, key="old")
    both = {"key": [b"new", "old"]}

    assert ({"user": "joe"}, []) == await visit(changing(**both), cookies)
    _, (field,) = await visit(changing(lambda s: s.update(n=1), **both), cookies)

    renewed = {"Cookie": field.partition(";")[0]}
    assert {"user": "joe", "n": 1} == (await visit(changing(key="new"), renewed))[0]
    assert {} == (await visit(changing(key="old"), renewed))[0]


# After accept


def merge(session: Any) -> None:
    """Write with an operator."""
    session |= {"user": "ann"}


def set_attribute(session: Any) -> None:
    """Write an attribute."""
    session.user = "ann"


def delete_attribute(session: Any) -> None:
    """Delete an attribute."""
    del session.user


WRITES: list[Change] = [
    lambda s: s.__setitem__("user", "ann"),
    lambda s: s.__delitem__("user"),
    set_attribute,
    delete_attribute,
    merge,
    lambda s: s.clear(),
    lambda s: s.pop("user"),
    lambda s: s.pop("missing", None),
    lambda s: s.popitem(),
    lambda s: s.setdefault("user", "ann"),
    lambda s: s.update(user="ann"),
    lambda s: s.update({}),
]


@pytest.mark.parametrize("write", WRITES)
async def test_write_after_accept(write: Change, autojump_clock: trio.testing.MockClock) -> None:
    """No way of writing is left after accept: the error says why, and reading goes on."""
    app = App(__name__)

    @app.websocket("/", pipeline=[SessionPipe(KEY)])
    async def handler() -> None:
        websocket.session.user = "joe"
        await websocket.accept()
        with pytest.raises(StateError, match="its cookie went out with the accept"):
            write(websocket.session)
        assert {"user": "joe"} == websocket.session
        assert "joe" == websocket.session.user

    async with testing.client(app) as client, client.websocket("/"):
        pass


@pytest.mark.parametrize("write", WRITES)
async def test_write_before_accept(write: Change, autojump_clock: trio.testing.MockClock) -> None:
    """Before accept it is a dict like any other."""
    twin = sdict(user="joe")
    write(twin)
    cookies = await cookie_of({"user": "joe"})

    session, _ = await visit(changing(write), cookies)

    assert dict(twin) == session


async def test_write_after_the_first_receive(autojump_clock: trio.testing.MockClock) -> None:
    """The first receive accepts, and so ends the time for changes: the handler is told."""
    app = App(__name__)

    @app.websocket("/", pipeline=[SessionPipe(KEY)])
    async def handler() -> None:
        websocket.session.last = await websocket.receive()

    with pytest.raises(StateError, match=r"^cannot change the session after accept"):
        async with testing.client(app) as client, client.websocket("/") as peer:
            await peer.send("hi")
            assert 1011 == (await peer.wait_closed()).code


async def test_write_while_it_accepts(autojump_clock: trio.testing.MockClock) -> None:
    """A task that writes while another one's accept is on its way is not ignored either."""
    errors: list[StateError] = []

    async def write() -> None:
        try:
            sessions[0].late = True
        except StateError as exc:
            errors.append(exc)

    sessions: list[Any] = []
    app = App(__name__)

    @app.websocket("/", pipeline=[SessionPipe(KEY)])
    async def handler() -> None:
        sessions.append(websocket.session)
        websocket.nursery.start_soon(write)
        await websocket.accept()
        await trio.testing.wait_all_tasks_blocked()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        async def send_slowly(event: Any) -> None:
            await trio.sleep(1)
            await send(event)

        await app(scope, receive, send_slowly if scope["type"] == "websocket" else send)

    async with testing.client(slow) as client, client.websocket("/") as peer:
        assert [] == peer.headers.get_all("set-cookie")
    assert 1 == len(errors)


async def test_pipe_outside_has_accepted(autojump_clock: trio.testing.MockClock) -> None:
    """Where a pipe outside accepts first, the session can be read and not written."""

    class Hasty(Pipe):
        async def open(self) -> None:
            await websocket.accept()

    app = App(__name__)

    @app.websocket("/", pipeline=[Hasty(), SessionPipe(KEY)])
    async def handler() -> None:
        assert "joe" == websocket.session.user
        with pytest.raises(StateError):
            websocket.session.user = "ann"

    cookies = await cookie_of({"user": "joe"})
    async with testing.client(app) as client, client.websocket("/", headers=cookies):
        pass


async def test_copies_are_dicts(autojump_clock: trio.testing.MockClock) -> None:
    """A copy of any kind is free: it can be changed, kept and pickled."""
    app = App(__name__)
    copies: list[Any] = []

    @app.websocket("/", pipeline=[SessionPipe(KEY)])
    async def handler() -> None:
        session = websocket.session
        session.cart = [1]
        await websocket.accept()
        copies.extend([session.copy(), copy.copy(session), copy.deepcopy(session)])
        copies.append(pickle.loads(pickle.dumps(session)))  # noqa: S301  # our own
        copies.append(session | {})

    async with testing.client(app) as client, client.websocket("/"):
        pass

    for twin in copies:
        assert not isinstance(twin, Session)
        assert {"cart": [1]} == twin
        twin["cart"] = [2]


# What does not fit


async def failing_accept(change: Change) -> list[Exception]:
    """Return how the first accept fails; after the session was emptied, one succeeds."""
    errors: list[Exception] = []
    app = App(__name__)

    @app.websocket("/", pipeline=[SessionPipe(KEY)])
    async def handler() -> None:
        change(websocket.session)
        try:
            await websocket.accept()
        except (TypeError, ValueError) as exc:
            errors.append(exc)
        assert not websocket.is_accepted
        websocket.session.clear()
        await websocket.accept()

    async with testing.client(app) as client, client.websocket("/") as peer:
        assert [] == peer.headers.get_all("set-cookie")
    return errors


def noise(length: int) -> str:
    """Return text that no compression makes smaller by much."""
    return "".join(chr(33 + (i * i * 7919 + i * 31) % 9973 % 90) for i in range(length))


async def test_too_large(autojump_clock: trio.testing.MockClock) -> None:
    """A cookie that browsers would ignore is an error, and nothing was accepted."""
    (error,) = await failing_accept(lambda s: s.update(noise=noise(20_000)))

    assert isinstance(error, ValueError)
    assert "cannot send the session: its cookie would have" in str(error)


async def test_as_large_as_can_be(autojump_clock: trio.testing.MockClock) -> None:
    """The bound is that of the whole field, and its last byte is still good."""

    def app(path: str) -> App:
        return changing(lambda s: s.update(user="joe"), path=path)

    _, (field,) = await visit(app("/"))
    longest = "/" + "p" * (MAX_COOKIE - len(field))

    _, (field,) = await visit(app(longest))
    assert MAX_COOKIE == len(field)
    with pytest.raises(ValueError, match=f"would have {MAX_COOKIE + 1} bytes"):
        await visit(app(longest + "p"))


def circular(session: Any) -> None:
    """Put a list into itself."""
    session.loop = []
    session.loop.append(session.loop)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(user=object()),
        lambda s: s.update(user=b"bytes"),
        lambda s: s.update({("a", "b"): 1}),
        lambda s: s.update(user="\ud800"),
        circular,
    ],
)
async def test_no_json_form(change: Change, autojump_clock: trio.testing.MockClock) -> None:
    """What has no JSON form is an error, and nothing was accepted."""
    (error,) = await failing_accept(change)

    assert isinstance(error, TypeError)
    assert str(error).startswith("the session has no JSON form: ")


# Several, and none


async def test_two_sessions(autojump_clock: trio.testing.MockClock) -> None:
    """Of two pipes with different cookies the inner one's is the session; each keeps its own."""

    class Between(Pipe):
        def open(self) -> None:
            websocket.session.who = "outer"

    app = App(__name__)
    app.pipeline = [SessionPipe(KEY, cookie="outer"), Between()]

    @app.websocket("/", pipeline=[SessionPipe(KEY, cookie="inner")])
    async def handler() -> None:
        assert None is websocket.session.who
        websocket.session.who = "inner"
        await websocket.accept()

    async with testing.client(app) as client, client.websocket("/") as peer:
        pairs = [field.partition(";")[0] for field in peer.headers.get_all("set-cookie")]

    assert ["outer", "inner"] == [pair.partition("=")[0] for pair in pairs]
    for pair in pairs:
        name = pair.partition("=")[0]
        assert ({"who": name}, []) == await visit(changing(cookie=name), {"Cookie": pair})


async def test_no_session_pipe(autojump_clock: trio.testing.MockClock) -> None:
    """Without the pipe asking for the session is an error that names it."""
    app = App(__name__)

    @app.websocket("/")
    async def handler() -> None:
        await websocket.accept()
        with pytest.raises(StateError, match="SessionPipe"):
            _ = websocket.session

    async with testing.client(app) as client, client.websocket("/"):
        pass


async def test_connections_at_the_same_time(autojump_clock: trio.testing.MockClock) -> None:
    """One pipe serves many connections, and none sees another's session."""
    app = App(__name__)

    @app.websocket("/<str:user>", pipeline=[SessionPipe(KEY)])
    async def handler(user: str) -> None:
        websocket.session.user = user
        await trio.sleep(1)
        await websocket.send(websocket.session.user)
        await websocket.receive()

    async with (
        testing.client(app) as client,
        trio.open_nursery() as nursery,
    ):

        async def stay(user: str) -> None:
            async with client.websocket(f"/{user}") as peer:
                assert user == await peer.receive()

        nursery.start_soon(stay, "joe")
        nursery.start_soon(stay, "ann")


# Settings


@pytest.mark.parametrize("key", ["", b"", [], None, ["good", ""], [None]])
def test_key_is_missing(key: Any) -> None:
    """A key that is empty or was not found in the environment is refused at once."""
    with pytest.raises(RouteError, match=r"^a SessionPipe needs a key"):
        SessionPipe(key)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("cookie", ""),
        ("cookie", "a b"),
        ("cookie", "a=b"),
        ("max_age", 0),
        ("max_age", -1),
        ("max_age", 1.5),
        ("max_age", None),
        ("same_site", "lax"),
        ("same_site", None),
        ("path", ""),
        ("path", "/; Secure"),
        ("path", "/\r\nX: y"),
        ("domain", ""),
        ("domain", "exämple.org"),
    ],
)
def test_setting_does_not_fit(setting: str, value: Any) -> None:
    """What browsers would misread is refused at once, by its name."""
    with pytest.raises(RouteError, match=f"^{setting}="):
        SessionPipe(KEY, **{setting: value})


def test_without_itsdangerous(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error says what to install."""
    monkeypatch.setitem(sys.modules, "itsdangerous", None)

    with pytest.raises(ImportError, match=r"install triows\[session\]"):
        SessionPipe(KEY)


def test_itsdangerous_is_imported_when_needed() -> None:
    """The other pipes work, and start, without the library."""
    code = "import sys, triows.pipes; sys.exit('itsdangerous' in sys.modules)"

    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode


@pytest.mark.parametrize("value", [random.Random(1).randbytes(5000).hex(), object()])
async def test_a_cookie_that_cannot_be_sent_with_a_close(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, value: object
) -> None:
    """A close before accept accepts, and so fails: one traceback and a 500, as for any failure."""
    caplog.set_level(logging.INFO)
    app = App(__name__)

    @app.websocket("/", pipeline=[SessionPipe(KEY)])
    async def handler() -> None:
        websocket.session.value = value
        raise Close(4001, "bye")

    with pytest.raises((ValueError, TypeError)) as failure:
        async with testing.client(app) as client, client.websocket("/"):
            pass

    assert '"WS /" 500 -' in caplog.text
    assert [type(failure.value).__name__] == tracebacks(caplog)


async def test_changes_after_a_rejection(autojump_clock: trio.testing.MockClock) -> None:
    """They would be lost, and so are refused like those after accept."""
    app = App(__name__)

    @app.websocket("/", pipeline=[SessionPipe(KEY)])
    async def handler() -> None:
        await websocket.reject(401)
        websocket.session.user = "joe"

    with pytest.raises(StateError):
        async with testing.client(app) as client, client.websocket("/"):
            pass


async def test_the_session_itself_stays(autojump_clock: trio.testing.MockClock) -> None:
    """It can be updated in every way, and not be replaced by a dict that no cookie would get."""
    app = App(__name__)

    @app.websocket("/", pipeline=[SessionPipe(KEY)])
    async def handler() -> None:
        websocket.session |= {"user": "joe"}
        with pytest.raises(StateError, match=r"change its items, as by update\(\)"):
            websocket.session = {"user": "jane"}
        await websocket.send(websocket.session.user)

    async with testing.client(app) as client, client.websocket("/") as peer:
        assert "joe" == await peer.receive()
