"""`triows new`: a small project of one app, with its tests and what runs them.

What is written are the files in `project/`, without `.txt`, and with the module's name for
`module`; in them `$name`, `$module` and `$triows` are replaced.
"""

import argparse
import json
import keyword
import re
import sys
from importlib import resources
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from string import Template

from triows.cli._statuses import CommandError

NOT_WRITTEN = 7
"""The exit status if the files cannot be written."""

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")

_OWN = {"conftest", "nox", "noxfile", "pytest", "pytest_trio"}
"""Modules that the project has beside its own, or that its tests need."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of the program."""
    summary = "write a small project: an app, its tests, and what runs them"
    parser = commands.add_parser(
        "new",
        help=summary,
        description=f"{summary.capitalize()}. Nothing is ever overwritten.",
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        help="of the project and of its folder, which is made in the current directory: "
        "lower-case letters, digits, - and _",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the project, say what to do with it, and return the exit status.

    Raises:
        CommandError: It cannot have that name, there is something of that name, or it cannot
            be written.
    """
    name: str = arguments.name
    module = module_of(name)
    files = files_of(name, module, requirement())
    try:
        write(Path(name), files)
    except FileExistsError:
        raise CommandError(
            f"{name} is there already, in {Path.cwd()}, and nothing is overwritten"
        ) from None
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise CommandError(f"cannot write {exc.filename}: {reason}", NOT_WRITTEN) from exc
    print(f"wrote {', '.join(f'{name}/{file}' for file in files)}")
    print(f"\nserve it:  cd {name} && triows run {module}:app\ntest it:   see {name}/README.md")
    return 0


def module_of(name: str) -> str:
    """Return the name of the module of a project of this name.

    Raises:
        CommandError: There can be none.
    """
    if not _NAME.fullmatch(name):
        raise CommandError(
            f"{name!r} is no name for a project: write lower-case letters and digits, a letter "
            "first, with - or _ between words, as in my-chat"
        )
    module = name.replace("-", "_")
    if keyword.iskeyword(module):
        raise CommandError(f"a project cannot be called {name}: that is a word of Python's")
    if module in _OWN or module in sys.stdlib_module_names or find_spec(module) is not None:
        raise CommandError(
            f"a project cannot be called {name} here: there is a module {module} already, and "
            "one of them would hide the other"
        )
    return module


def requirement() -> str:
    """Return what a project has to require to get the triows that is installed here."""
    triows = distribution("triows")
    return requirement_of(triows.version, triows.read_text("direct_url.json"))


def requirement_of(version: str, origin: str | None) -> str:
    """Return what to require to get a triows of a version.

    Args:
        version: The least that will do.
        origin: Where it was installed from if not from an index: the text of its
            `direct_url.json`, as the Python Packaging User Guide describes it ("Recording the
            Direct URL Origin of installed distributions").
    """
    if origin is None:
        return f"triows>={version}"
    where = json.loads(origin)
    url = where["url"]
    vcs = where.get("vcs_info")
    return f"triows @ {url}" if vcs is None else f"triows @ {vcs['vcs']}+{url}@{vcs['commit_id']}"


def files_of(name: str, module: str, triows: str) -> dict[str, str]:
    """Return the files of a project, by their names."""
    templates = sorted(
        (resources.files("triows.cli") / "project").iterdir(), key=lambda file: file.name
    )
    return {
        template.name.removesuffix(".txt").replace("module", module): Template(
            template.read_text(encoding="utf-8")
        ).substitute(name=name, module=module, triows=triows)
        for template in templates
    }


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files into a folder that is made for them.

    Raises:
        FileExistsError: There is something of that name; it is left as it is.
        OSError: It cannot be written.
    """
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
