"""`triows routes`: the table that it prints."""

import argparse
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from tests.cli.conftest import Write
from triows import App, Pipe
from triows.cli import _routes
from triows.cli._routes import format_table, row_of


def table_of(target: str) -> int:
    """Run the command as the parser would, and return its exit status."""
    parser = argparse.ArgumentParser()
    _routes.add_command(parser.add_subparsers())
    arguments = parser.parse_args(["routes", target])
    status: int = arguments.run(arguments)
    return status


def test_table(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a route, in the order of declaration, below aligned headings."""
    write(
        "shop.py",
        """
        from triows import App, Pipe

        class Session(Pipe): ...
        class Admin(Pipe): ...
        class Log(Pipe): ...

        app = App(__name__)
        api = app.module(__name__, "api", url_prefix="/api", pipeline=[Admin()])

        @app.websocket(["/", "/start"])
        async def start(): ...

        @api.websocket(
            "/new(/<int:page>)?", schemes="wss", hostname="Shop.Example", pipeline=[Log()]
        )
        async def new(page): ...

        app.pipeline = [Session()]
        """,
    )

    status = table_of("shop.py")

    assert 0 == status
    assert [
        "PATH                    NAME     HOST          SCHEMES  PIPES                HANDLER",
        "/                       start    *             ws, wss  Session              shop.start",
        "/start                  start.1  *             ws, wss  Session              shop.start",
        "/api/new(/<int:page>)?  api.new  shop.example  wss      Session, Admin, Log  shop.new",
    ] == capsys.readouterr().out.splitlines()


def test_app_without_routes(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """The headings are there, and nothing below them."""
    write("shop.py", "from triows import App\napp = App(__name__)\n")

    status = table_of("shop:app")

    assert 0 == status
    assert "PATH  NAME  HOST  SCHEMES  PIPES  HANDLER\n" == capsys.readouterr().out


def test_names_of_pipes() -> None:
    """A pipe is named by its class, and one that was made of something else by that."""

    @asynccontextmanager
    async def transaction() -> AsyncGenerator[None]:
        yield

    class Session(Pipe):
        pass

    app = App(__name__)

    @app.websocket(pipeline=[Session(), Pipe.from_context_manager(transaction)])
    async def buy() -> None: ...

    assert "Session, Pipe.from_context_manager(transaction)" == row_of(app.routes[0])[4]


def test_route_without_pipes() -> None:
    """No cell is empty: the table can be cut at its gaps."""
    app = App(__name__)

    @app.websocket()
    async def look() -> None: ...

    assert ("/look", "look", "*", "ws, wss", "-") == row_of(app.routes[0])[:5]


def test_name_of_handler() -> None:
    """It says where the function is: in which module, class or function."""

    class Views:
        async def sell(self) -> None: ...

    app = App(__name__)
    app.websocket()(Views().sell)

    name = row_of(app.routes[0])[5]

    assert f"{__name__}.test_name_of_handler.<locals>.Views.sell" == name


def test_handler_without_a_name() -> None:
    """One that has no name of its own is shown as it shows itself."""

    async def sell(item: str) -> None: ...

    app = App(__name__)
    handler = partial(sell, item="hat")
    app.websocket(name="sell")(handler)

    assert repr(handler) == row_of(app.routes[0])[5]


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    """No line ends with spaces."""
    assert ["a    bb", "ccc  d"] == format_table([("a", "bb"), ("ccc", "d")])
