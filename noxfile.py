"""The checks. `nox` runs all of them but the benchmarks; `nox -s tests -- -k name` runs one."""

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
    "browser",
    "examples",
    "docs",
]

PYTHONS = ["3.11", "3.12", "3.13"]
PROJECT = nox.project.load_toml("pyproject.toml")
CODE = [".ci", "benchmarks", "docs", "examples", "noxfile.py", "tests", "triows"]

NOT_OF_MODULES = ("benchmarks", "browser", "conformance", "contract", "docs", "e2e", "examples")
"""Folders of `tests` that mirror no part of the package."""

ALONE = [f"tests/e2e/test_{name}.py" for name in ("hostile", "server_hostile", "server_scale")]
"""Attacks, and ten thousand clients: beside others they would be attacks on those."""

OPTIONAL = range(900, 914)
"""Rules of flake8-async that nobody follows unasked."""

NOT_IN_TESTS = "ASYNC105,ASYNC109,ASYNC110"
"""Rules that fakes and polls break on purpose."""


def install(session: nox.Session, *groups: str) -> None:
    """Install triows as users get it, with the development tools of the named groups."""
    session.install(
        ".[http]",
        *nox.project.dependency_groups(PROJECT, *groups),
        # Once, and not in each of the hundreds of processes that the tests start.
        env={"UV_COMPILE_BYTECODE": "1"},
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Style, formatting, and the rules of async code."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", *CODE)
    session.run("ruff", "format", "--check", *CODE)
    disabled = ",".join(f"ASYNC{rule}" for rule in OPTIONAL)
    others = [folder for folder in CODE if folder != "tests"]
    # flake8 alone has other opinions than ruff; here it only spreads the work over the cores.
    session.run("flake8", "--isolated", "--select=ASYNC", f"--disable={disabled}", *others)
    # There are many tests, and ruff's part of these rules takes no time.
    session.run(
        "ruff", "check", "--isolated", "--select=ASYNC", f"--ignore={NOT_IN_TESTS}", "tests"
    )


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
    others = [f"--ignore=tests/{folder}" for folder in NOT_OF_MODULES]
    session.run("pytest", "--numprocesses=auto", *others, *session.posargs)


@nox.session
def contract(session: nox.Session) -> None:
    """The rules of the house."""
    install(session, "test")
    session.run("pytest", "tests/contract", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Every branch of every module, by that module's own tests."""
    install(session, "test", "coverage")
    session.run("python", "tests/each_module.py")


@nox.session
def e2e(session: nox.Session) -> None:
    """Real server processes, and clients that others wrote."""
    install(session, "test")
    others = [f"--ignore={path}" for path in ALONE]
    # With a choice of tests, there may be none in one of the two.
    codes = [0, 5] if session.posargs else [0]
    for options in (["--numprocesses=auto", "tests/e2e", *others], ALONE):
        session.run("pytest", *options, *session.posargs, success_codes=codes)


@nox.session
def browser(session: nox.Session) -> None:
    """Pages in Debian's Chromium; pictures of them are left in build/browser."""
    install(session, "test")
    session.run("pytest", "--numprocesses=auto", "tests/browser", *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """Every example, served as its first lines say; and that the benchmarks run."""
    install(session, "test", "bench")
    folders = ("tests/examples", "tests/benchmarks")
    session.run("pytest", "--numprocesses=auto", *folders, *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The site, built into docs/_build/html without a warning, and the code in it, run."""
    install(session, "test", "docs")
    # By files: the site is built once, by the process that has its tests.
    shared = ("--numprocesses=auto", "--dist=loadfile")
    session.run("pytest", *shared, "tests/docs", *session.posargs)


@nox.session
def conformance(session: nox.Session) -> None:
    """Autobahn|Testsuite's fuzzing client against `triows run`; it needs a CPython 2.7."""
    install(session)
    session.run("python", "tests/conformance/autobahn.py", session.create_tmp(), *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """A benchmark: `nox -s bench -- fanout --rounds 7`; without a name, echo on hypercorn."""
    install(session, "bench")
    name, *options = session.posargs or ["echo_hypercorn"]
    session.run("python", "-m", f"benchmarks.{name}", *options)
