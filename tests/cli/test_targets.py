"""How a command finds the app that it is to work on, and what it says if there is none."""

import argparse
import sys
import traceback

import pytest

from tests.cli.conftest import Write
from triows.cli._targets import (
    TargetFailed,
    TargetNotFound,
    add_target,
    load_app,
    load_asgi_app,
)

APP = """
    from triows import App

    app = App(__name__)
    other = App("the other one")
"""


def test_argument() -> None:
    """A command takes one target, which its help explains."""
    parser = argparse.ArgumentParser()
    add_target(parser)

    assert "app.py" == parser.parse_args(["app.py"]).target
    assert "module:attribute" in parser.format_help()


@pytest.mark.parametrize(
    ("target", "import_name"),
    [
        ("shop:app", "shop"),
        ("shop:other", "the other one"),
        ("shop", "shop"),
        ("shop.py", "shop"),
        ("shop.py:app", "shop"),
        ("shop.py:other", "the other one"),
        ("./shop.py", "shop"),
        ("parts.live:app", "parts.live"),
        ("parts/live.py", "live"),
        ("parts/live-chat.py", "live-chat"),
    ],
)
def test_app_is_found(write: Write, target: str, import_name: str) -> None:
    """By module or by file, with or without an attribute; that is `app` by default."""
    write("shop.py", APP)
    write("parts/live.py", APP)
    write("parts/live-chat.py", APP)

    assert import_name == load_app(target).import_name


def test_absolute_file(write: Write) -> None:
    """A file may be anywhere, and have a colon in its folder."""
    path = write("on:disk/shop.py", APP)

    assert "shop" == load_app(str(path)).import_name
    assert "the other one" == load_app(f"{path}:other").import_name


def test_current_directory_is_on_the_path(write: Write) -> None:
    """A module imports what lies beside it, though the command itself lies elsewhere."""
    write("shop.py", APP + "    import prices\n")
    write("prices.py", "")

    assert "shop" == load_app("shop:app").import_name


def test_folder_of_the_file_is_on_the_path(write: Write) -> None:
    """A file imports what lies beside it, from whichever directory the command is used."""
    write("parts/shop.py", APP + "    import prices\n")
    write("parts/prices.py", "")

    assert "shop" == load_app("parts/shop.py").import_name


def test_file_is_run_once(write: Write) -> None:
    """What a file imports may import the file: it finds the one that is being run."""
    write("shop.py", APP + "    import views\n    runs = [1, *globals().get('runs', [])]\n")
    write("views.py", "import shop\napp = shop.app\n")

    app = load_app("shop.py")

    assert app is sys.modules["views"].app
    assert [1] == sys.modules["shop"].runs


def refusal_of(target: str) -> str:
    """Return what is said of a target that is none."""
    with pytest.raises(TargetNotFound) as refusal:
        load_app(target)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("target", "missing"),
    [("nowhere:app", "nowhere"), ("nowhere.at.all", "nowhere"), ("shop.live:app", "shop.live")],
)
def test_missing_module(write: Write, target: str, missing: str) -> None:
    """The module that is missing is named, and where it was looked for."""
    folder = write("shop.py", APP).parent

    assert (
        f"there is no module {missing!r}; the current directory, {folder}, is on the path"
        == refusal_of(target)
    )


def test_missing_file(write: Write) -> None:
    """The file is named as it was given, and what that is relative to."""
    folder = write("shop.py", APP).parent

    assert f"there is no file parts/shop.py in {folder}" == refusal_of("parts/shop.py:app")


def test_missing_attribute(write: Write) -> None:
    """The apps that the module has are suggested, ready to be copied."""
    write("shop.py", APP)

    assert "shop:ap does not exist; did you mean shop:app or shop:other?" == refusal_of("shop:ap")
    assert "shop.py:ap does not exist; did you mean shop.py:app or shop.py:other?" == refusal_of(
        "shop.py:ap"
    )


def test_module_without_any_app(write: Write) -> None:
    """There is nothing to suggest, and that is said."""
    write("shop.py", "")

    assert "shop:app does not exist; there is no App in it" == refusal_of("shop")


def test_not_an_app(write: Write) -> None:
    """What is there instead is named by its type: None is not the same as nothing."""
    write("shop.py", APP + "    def factory(): ...\n    nothing = None\n")

    hint = "did you mean shop:app or shop:other?"
    assert f"shop:factory is no App, but of type function; {hint}" == refusal_of("shop:factory")
    assert f"shop:nothing is no App, but of type NoneType; {hint}" == refusal_of("shop:nothing")


@pytest.mark.parametrize("target", ["", ":app", "shop:", "shop/live:app", "shop live", "shop:1+1"])
def test_no_target_at_all(write: Write, target: str) -> None:
    """What is neither a module nor a file is shown how both are written."""
    write("shop.py", APP)

    said = refusal_of(target)

    assert said.startswith(f"{target!r} names no app: write module:attribute")


ASGI_APPS = """
    from starlette.applications import Starlette
    from triows import App

    live = App(__name__)
    page = Starlette()
    async def plain(scope, receive, send): ...
    async def other_names(a, b, c=1): ...
    class Class:
        def __init__(self, scope, receive, send): ...
    from builtins import max as written_in_c
    def factory(): ...
    nothing = None
"""


@pytest.mark.parametrize("name", ["live", "page", "plain", "other_names", "Class", "written_in_c"])
def test_asgi_app(write: Write, name: str) -> None:
    """Whatever takes scope, receive and send is one, triows' own or not."""
    write("shop.py", ASGI_APPS)

    app = load_asgi_app(f"shop:{name}")

    assert getattr(sys.modules["shop"], name) is app


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("factory", "is no ASGI app, but of type function"),
        ("nothing", "is no ASGI app, but of type NoneType"),
        ("app", "does not exist"),
    ],
)
def test_no_asgi_app(write: Write, name: str, said: str) -> None:
    """What looks like one is suggested."""
    write("shop.py", ASGI_APPS)

    with pytest.raises(TargetNotFound) as refusal:
        load_asgi_app(f"shop:{name}")
    assert f"shop:{name} {said}; did you mean shop:live or shop:page or shop:plain?" == str(
        refusal.value
    )


def test_module_without_any_asgi_app(write: Write) -> None:
    """There is nothing to suggest, and that is said."""
    write("shop.py", "")

    with pytest.raises(TargetNotFound, match="there is no ASGI app in it"):
        load_asgi_app("shop")


def report_of(target: str) -> str:
    """Return the traceback of a module that fails."""
    with pytest.raises(TargetFailed) as failure:
        load_app(target)
    return "".join(traceback.format_exception(failure.value.failure))


@pytest.mark.parametrize("target", ["shop:app", "shop.py"])
def test_failing_module(write: Write, target: str) -> None:
    """The traceback begins in the user's file: how the command got there is left out."""
    path = write("shop.py", "def sell():\n    return 1 / 0\n\nsell()\n")

    lines = report_of(target).splitlines()

    assert f'  File "{path}", line 4, in <module>' == lines[1]
    assert 2 == sum(line.startswith("  File ") for line in lines)
    assert "ZeroDivisionError: division by zero" == lines[-1]


@pytest.mark.parametrize("target", ["shop:app", "shop.py"])
def test_malformed_module(write: Write, target: str) -> None:
    """A syntax error is shown where it is, without any frame."""
    path = write("shop.py", "def (\n")

    lines = report_of(target).splitlines()

    assert f'  File "{path}", line 1' == lines[0]
    assert lines[-1].startswith("SyntaxError: ")


@pytest.mark.parametrize("target", ["shop:app", "shop.py"])
@pytest.mark.parametrize("missing", ["nowhere", "shop.nowhere"])
def test_module_that_imports_what_is_missing(write: Write, target: str, missing: str) -> None:
    """That is the module's failure: the target itself was found."""
    path = write("shop.py", f"import {missing}\n")

    lines = report_of(target).splitlines()

    assert f'  File "{path}", line 1, in <module>' == lines[1]
    assert lines[-1].startswith(f"ModuleNotFoundError: No module named {missing!r}")


@pytest.mark.parametrize("target", ["shop:app", "shop.py"])
def test_refused_registration(write: Write, target: str) -> None:
    """The traceback of an error of triows ends with the call that was wrong."""
    path = write(
        "shop.py",
        """\
        from triows import App

        app = App(__name__)


        @app.websocket("/<item>")
        async def sell(item): ...
        """,
    )

    lines = report_of(target).splitlines()

    files = [line for line in lines if line.startswith("  File ")]
    assert [f'  File "{path}", line 6, in <module>'] == files
    assert lines[-1].endswith("<item> has no type; write <str:item>")


def test_error_of_triows_in_a_callback(write: Write) -> None:
    """What the user's own code has between calls of triows stays in the traceback."""
    write(
        "shop.py",
        """\
        from triows import App, Pipe

        app = App(__name__)


        def pipes():
            yield Pipe()
            app.mount("no slash", app)


        app.module(__name__, "part", pipeline=pipes())
        """,
    )

    files = [line for line in report_of("shop").splitlines() if line.startswith("  File ")]

    assert files[0].endswith("line 11, in <module>")
    assert files[-1].endswith("line 8, in pipes")
