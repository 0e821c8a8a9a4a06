"""The checks. `nox` runs all of them but the benchmarks; `nox -s tests -- -k name` runs one."""

from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = True
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = [
    "lint",
    "types",
    "tests",
    "contract",
    "coverage",
    "e2e",
    "examples",
    "docs",
]

PYTHONS = ["3.11", "3.12", "3.13"]
PROJECT = nox.project.load_toml("pyproject.toml")
CODE = ["triows", "tests", "examples", "benchmarks", "noxfile.py"]


def install(session: nox.Session, *groups: str) -> None:
    """Install triows as users get it, with the development tools of the named groups."""
    session.install(".[http]", *nox.project.dependency_groups(PROJECT, *groups))


@nox.session
def lint(session: nox.Session) -> None:
    """Style, formatting, and the rules of async code."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", *CODE)
    session.run("ruff", "format", "--check", *CODE)
    session.run("flake8", "--select=ASYNC", *CODE)


@nox.session
def types(session: nox.Session) -> None:
    """Types inside (mypy --strict), and of the public face (pyright --verifytypes)."""
    install(session, "test", "types", "coverage", "bench")
    session.install("nox")
    session.run("mypy")
    session.run("pyright", "--verifytypes", "triows", "--ignoreexternal")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests of each module, on every supported Python."""
    install(session, "test")
    session.run("pytest", "--ignore=tests/e2e", "--ignore=tests/contract", *session.posargs)


@nox.session
def contract(session: nox.Session) -> None:
    """The rules of the house."""
    install(session, "test")
    session.run("pytest", "tests/contract", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Every branch of every module, by that module's own tests."""
    install(session, "test", "coverage")
    for module in sorted(Path("triows").rglob("*.py")):
        test = Path("tests", *module.parts[1:-1], f"test_{module.stem.strip('_')}.py")
        if not test.exists():
            session.error(f"{module} has no {test}")
        data = f"--data-file={session.create_tmp()}/coverage"
        session.run("coverage", "run", data, f"--include={module}", "-m", "pytest", "-q", test)
        session.run("coverage", "report", data, "--fail-under=100")


@nox.session
def e2e(session: nox.Session) -> None:
    """Real server processes, and clients that others wrote."""
    install(session, "test")
    session.run("pytest", "tests/e2e", *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """Every example, run as its first lines say, against a real server."""
    install(session, "test")
    session.run("pytest", "examples", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The code in README and docs, run."""
    install(session, "test")
    session.run("pytest", "README.md", "docs", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Echo on hypercorn, beside bare ASGI, Starlette and Quart-Trio: CPU a message, and ratios."""
    install(session, "bench")
    session.run("python", "-m", "benchmarks.echo_hypercorn", *session.posargs)
