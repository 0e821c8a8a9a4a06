"""`triows new`: the project that it writes, and when it writes none."""

import argparse
import json
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from triows.cli import _new
from triows.cli._new import module_of, requirement_of
from triows.cli._statuses import MISUSED, CommandError


def new(name: str) -> int:
    """Run the command as the parser would, and return its exit status."""
    parser = argparse.ArgumentParser()
    _new.add_command(parser.add_subparsers())
    arguments = parser.parse_args(["new", name])
    status: int = arguments.run(arguments)
    return status


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have an empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_project(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has an app, its tests and what runs them, and it says what to do next."""
    status = new("my-chat")

    files = {path.name: path.read_text() for path in (folder / "my-chat").iterdir()}
    told = capsys.readouterr().out
    assert 0 == status
    assert {
        ".gitignore",
        "README.md",
        "my_chat.py",
        "noxfile.py",
        "pyproject.toml",
        "test_my_chat.py",
    } == files.keys()
    assert not [name for name, text in files.items() if "$" in text]
    assert all(f"my-chat/{name}" in told for name in files)
    assert "cd my-chat && triows run my_chat:app" in told


def test_its_tests_pass() -> None:
    """They do so as they were written, without a warning."""
    new("my-chat")

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    tests = subprocess.run(command, cwd="my-chat", capture_output=True, text=True, check=False)

    assert (0, "") == (tests.returncode, tests.stderr), tests.stdout
    assert "5 passed" in tests.stdout


def test_its_app_is_served() -> None:
    """The command that it names finds the app."""
    new("my-chat")

    command = [sys.executable, "-m", "triows", "routes", "my_chat:app"]
    routes = subprocess.run(command, cwd="my-chat", capture_output=True, text=True, check=False)

    assert (0, "") == (routes.returncode, routes.stderr)
    assert "my_chat.talk" in routes.stdout


def test_its_name(folder: Path) -> None:
    """The project has the name that was asked for, and requires the triows that is there."""
    new("my-chat")

    project = tomllib.loads((folder / "my-chat" / "pyproject.toml").read_text())["project"]
    assert "my-chat" == project["name"]
    assert [_new.requirement()] == project["dependencies"]
    assert _new.requirement().startswith(("triows @ ", f"triows>={version('triows')}"))


@pytest.mark.parametrize("what", ["folder", "file"])
def test_nothing_is_overwritten(folder: Path, what: str) -> None:
    """Where there is something of that name, a folder or not, it is left as it is."""
    if what == "folder":
        (folder / "shop").mkdir()
        (folder / "shop" / "README.md").write_text("mine")
    else:
        (folder / "shop").write_text("mine")
    before = sorted(folder.rglob("*"))

    with pytest.raises(CommandError, match=r"^shop is there already, in /") as failure:
        new("shop")

    assert MISUSED == failure.value.status
    assert sorted(folder.rglob("*")) == before
    assert "mine" in {path.read_text() for path in before if path.is_file()}


@pytest.mark.parametrize(
    "name", ["", "Shop", "7up", "-x", "a b", "a--b", "a-", "../shop", "/shop", "größe", "a\n"]
)
def test_names_that_are_none(folder: Path, name: str) -> None:
    """What would be no name of a package, or of a folder elsewhere, is refused."""
    with pytest.raises(CommandError, match="is no name for a project: write lower-case letters"):
        module_of(name)

    assert [] == list(folder.iterdir())


@pytest.mark.parametrize("name", ["json", "noxfile", "triows", "pytest-trio", "msgspec"])
def test_names_that_are_taken(name: str) -> None:
    """A module that would hide another, or be hidden by it, would only puzzle."""
    with pytest.raises(CommandError, match=f"cannot be called {name} here: there is a module"):
        module_of(name)


def test_names_that_python_needs() -> None:
    """What is a word of Python's cannot be imported."""
    with pytest.raises(CommandError, match="cannot be called class: that is a word of Python's"):
        module_of("class")


def test_names_of_modules() -> None:
    """Words are joined so that they can be imported."""
    assert ["shop", "my_chat", "a_b2_c"] == [
        module_of(name) for name in ("shop", "my-chat", "a_b2-c")
    ]


def test_folder_that_cannot_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says which file and why, with a status of its own."""
    gone = folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    with pytest.raises(CommandError, match=r"^cannot write shop: no such file or dir") as failure:
        new("shop")

    assert 7 == failure.value.status


def test_triows_of_an_index() -> None:
    """A project requires the release that wrote it, or a later one."""
    assert "triows>=1.2" == requirement_of("1.2", None)


@pytest.mark.parametrize(
    ("origin", "required"),
    [
        ({"url": "file:///wheels/triows.whl", "archive_info": {}}, "file:///wheels/triows.whl"),
        ({"url": "file:///triows", "dir_info": {"editable": True}}, "file:///triows"),
        (
            {
                "url": "https://git.example/triows",
                "vcs_info": {"vcs": "git", "commit_id": "d63468d"},
            },
            "git+https://git.example/triows@d63468d",
        ),
    ],
    ids=["wheel", "checkout", "git"],
)
def test_triows_of_elsewhere(origin: dict[str, object], required: str) -> None:
    """What came from no index is required from where it came."""
    assert f"triows @ {required}" == requirement_of("1.2", json.dumps(origin))
