"""Runs Autobahn|Testsuite's fuzzing client against `triows run`, without deflate and with it.

    nox -s conformance

The suite needs CPython 2.7, which is looked for among pyenv's versions and on the path, or named
by AB_PYTHON2. AB_VENV names an environment that has the suite already. Fails if a case failed,
has no result, or is non-strict and not one of `NON_STRICT`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent

PROCESSES = 2
"""Of the suite, side by side: each waits most of the time."""

PINS = [
    "setuptools==44.0.0",
    "txaio==2.1.0",
    "incremental==16.10.1",
    "pyOpenSSL==19.1.0",
    "cryptography==3.3.2",
    "Twisted==19.10.0",
    "zope.interface==4.6.0",
    "jinja2==2.11.3",
    "markupsafe==1.1.1",
    "Werkzeug==1.0.1",
    "klein==17.10.0",
    "service_identity==18.1.0",
    "unittest2==1.1.0",
    "six==1.16.0",
    "wsaccel==0.6.6",
    "ujson==2.0.3",
    "autobahn[twisted,accelerate]==0.10.9",
]

SUITE = "autobahntestsuite==25.10.1"

NON_STRICT = {
    *("3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"),
}
"""Cases in which a fault follows a message at once: the suite would like the message to be
echoed first. The server of `websockets` does not either."""

SECTIONS = [*(f"{n}.*" for n in range(1, 11)), "12.*", "13.*"]

_LISTENING = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")


def find_python2() -> str:
    """Return a CPython 2.7.

    Raises:
        SystemExit: There is none.
    """
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob("2.7*/bin/python"))
    found = os.environ.get("AB_PYTHON2") or next(map(str, pyenv), None) or shutil.which("python2.7")
    if not found:
        sys.exit("the suite needs a CPython 2.7: name one in AB_PYTHON2")
    return found


def suite_in(folder: Path) -> Path:
    """Return the suite's `wstest`, installed below a folder if it is not there."""
    if ready := os.environ.get("AB_VENV"):
        return Path(ready) / "bin" / "wstest"
    wstest = folder / "suite" / "bin" / "wstest"
    if not wstest.exists():
        tool = folder / "tool"
        run = subprocess.check_call
        run([sys.executable, "-m", "venv", tool])
        # The last virtualenv that makes environments for Python 2.7.
        run([tool / "bin" / "pip", "install", "-q", "virtualenv<20.22"])
        run([str(tool / "bin" / "virtualenv"), "-q", "-p", find_python2(), str(folder / "suite")])
        pip = folder / "suite" / "bin" / "pip"
        run([pip, "install", "-q", *PINS])
        run([pip, "install", "-q", "--no-deps", SUITE])
    return wstest


@contextmanager
def serving(*options: str) -> Generator[str]:
    """Serve the echo app around a block; yield its URL."""
    command = [sys.executable, "-m", "triows", "run", "echo.py", "--bind", "127.0.0.1:0", *options]
    server = subprocess.Popen(
        [*command, "--no-access-log"], cwd=HERE, stderr=subprocess.PIPE, text=True
    )
    assert server.stderr is not None, "it is piped"
    try:
        found = _LISTENING.search(server.stderr.readline())
        assert found is not None, "the first line says where it listens"
        with tempfile.TemporaryFile("w") as log:
            drain = subprocess.Popen(["cat"], stdin=server.stderr, stdout=log)
            yield f"ws://127.0.0.1:{found[1]}/"
            server.terminate()
            server.wait(30)
            drain.wait(10)
    finally:
        server.kill()
        server.wait()


def run_cases(wstest: Path, url: str, sections: list[str]) -> dict[str, dict[str, str]]:
    """Run sections of the suite, some side by side; return each case's result."""
    results: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        clients = []
        for number in range(PROCESSES):
            part = Path(folder, str(number))
            part.mkdir()
            spec = {
                "outdir": str(part),
                "servers": [{"agent": "triows", "url": url}],
                "cases": sections[number::PROCESSES],
                "exclude-cases": [],
                "exclude-agent-cases": {},
                "options": {"failByDrop": False},
            }
            (part / "spec.json").write_text(json.dumps(spec))
            command = [str(wstest), "-m", "fuzzingclient", "-s", "spec.json"]
            quiet = subprocess.DEVNULL
            clients.append((part, subprocess.Popen(command, cwd=part, stdout=quiet, stderr=quiet)))
        for part, client in clients:
            client.wait(1200)
            results |= json.loads((part / "index.json").read_text())["triows"]
    return results


def judge(name: str, results: dict[str, dict[str, str]], *, has_deflate: bool) -> bool:
    """Print a summary; return whether it is as it should be."""
    counts = Counter(result["behavior"] for result in results.values())
    bad = []
    for case, result in results.items():
        behavior = result["behavior"]
        is_known = behavior == "NON-STRICT" and case in NON_STRICT
        is_apart = behavior == "UNIMPLEMENTED" and not has_deflate and case[:2] in ("12", "13")
        is_good = behavior in ("OK", "INFORMATIONAL") and result["behaviorClose"] != "FAILED"
        if not (is_known or is_apart or is_good):
            bad.append(f"{case} {behavior}/{result['behaviorClose']}")
    summary = ", ".join(f"{count} {behavior}" for behavior, count in sorted(counts.items()))
    print(f"{name}: {len(results)} cases, {summary}; bad: {', '.join(bad) or 'none'}", flush=True)
    return not bad and len(results) > 200


def main() -> None:
    """Run both ways; the folder of the suite is the first argument."""
    sections = sys.argv[2:] or SECTIONS
    wstest = suite_in(Path(sys.argv[1]).resolve())
    is_good = True
    for name, options in {"plain": [], "deflate": ["--compression", "deflate"]}.items():
        with serving(*options) as url:
            results = run_cases(wstest, url, sections)
        is_good = judge(name, results, has_deflate=bool(options)) and is_good
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
