"""The command line: what is printed where, and the exit status."""

from importlib.metadata import version

import pytest

from tests.cli.conftest import Write
from triows.cli import main


def test_without_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    """The help is shown, as an error: nothing was asked for."""
    status = main([])

    captured = capsys.readouterr()
    assert 2 == status
    assert "" == captured.out
    assert captured.err.startswith("usage: triows ")
    assert "routes" in captured.err


def test_arguments_of_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script calls it without arguments, and means its own."""
    monkeypatch.setattr("sys.argv", ["triows", "--version"])

    status = main()

    assert 0 == status
    assert f"triows {version('triows')}\n" == capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["routes", "--help"], ["run", "--help"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for, the help is no error."""
    with pytest.raises(SystemExit) as leaving:
        main(arguments)

    assert 0 == leaving.value.code
    assert capsys.readouterr().out.startswith("usage: triows ")


@pytest.mark.parametrize("arguments", [["rotues"], ["routes"], ["routes", "a", "b"], ["--verse"]])
def test_malformed_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever there is not ends with 2, and says how it is used."""
    with pytest.raises(SystemExit) as leaving:
        main(arguments)

    assert 2 == leaving.value.code
    assert capsys.readouterr().err.startswith("usage: triows ")


def test_command(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that did its work ends with 0."""
    write("shop.py", "from triows import App\napp = App(__name__)\n")

    status = main(["routes", "shop:app"])

    captured = capsys.readouterr()
    assert 0 == status
    assert captured.out.startswith("PATH ")
    assert "" == captured.err


def test_target_that_does_not_exist(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what is missing, without a traceback, and the status is 2."""
    write("shop.py", "")

    status = main(["routes", "shop:app"])

    captured = capsys.readouterr()
    assert 2 == status
    assert "" == captured.out
    assert "triows: shop:app does not exist; there is no App in it\n" == captured.err


def test_target_that_fails(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """The traceback is the user's, with what it was caused by, and the status is 1."""
    path = write(
        "shop.py",
        """\
        try:
            prices = {}["hat"]
        except KeyError as exc:
            raise LookupError("no hats") from exc
        """,
    )

    status = main(["routes", "shop:app"])

    captured = capsys.readouterr()
    assert 1 == status
    assert "" == captured.out
    assert "KeyError: 'hat'" in captured.err
    assert captured.err.endswith("LookupError: no hats\n")
    files = [line for line in captured.err.splitlines() if line.startswith("  File ")]
    assert [f'  File "{path}", line {number}, in <module>' for number in (2, 4)] == files


def test_target_that_triows_refuses(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Of an error of triows there is only the user's line and what is wrong with it."""
    path = write(
        "shop.py",
        """\
        from triows import App

        app = App(__name__)
        app.converter("hat", "[", str)
        """,
    )

    status = main(["routes", "shop:app"])

    lines = capsys.readouterr().err.splitlines()
    assert 1 == status
    assert [f'  File "{path}", line 4, in <module>'] == [x for x in lines if x.startswith("  File")]
    assert "triows._errors.RouteError: the regex of converter 'hat' is malformed" in lines[-1]


def test_command_that_cannot_go_on(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says why, and the status which kind of reason it is."""
    write("shop.py", "async def app(scope, receive, send): ...\n")

    status = main(["run", "shop:app", "--bind", "fd://999999"])

    assert 3 == status
    assert "triows: cannot listen on fd://999999: bad file descriptor\n" == (
        capsys.readouterr().err
    )


def test_ctrl_c(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """A module that takes long to import is stopped without a word, as a shell knows it."""
    write("shop.py", "raise KeyboardInterrupt\n")

    status = main(["routes", "shop:app"])

    assert 130 == status
    assert "" == capsys.readouterr().err


def test_module_that_exits(write: Write) -> None:
    """A module that ends the process at its import does so here, too."""
    write("shop.py", "raise SystemExit(7)\n")

    with pytest.raises(SystemExit) as leaving:
        main(["routes", "shop:app"])

    assert 7 == leaving.value.code
