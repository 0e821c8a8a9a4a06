"""Runs each module's own tests, and demands every branch of the module of them.

    python tests/each_module.py

As many modules are looked at at once as there are cores. Each has a process of its own, which is
forked from one that has imported what is not ours: that takes longer than most tests.
"""

import importlib
import io
import os
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path

import pytest
from coverage import Coverage

sys.path.insert(0, str(Path.cwd()))  # what is looked at, and not what is installed
for name in ("hypercorn.trio.run", "msgspec", "pytest_trio.plugin", "websockets"):
    importlib.import_module(name)


def test_of(module: Path) -> Path:
    """Return the tests of a module: its name, without underscores, in the folder of its name."""
    test = Path("tests", *(part.strip("_") for part in module.with_suffix("").parts[1:]))
    return test.with_name(f"test_{test.name}.py")


def check(module: Path) -> str:
    """Return what is wrong with a module; nothing if its tests pass and cover it."""
    test = test_of(module)
    if not test.exists():
        return f"{module} has no {test}"
    with tempfile.TemporaryFile() as output:
        for fd in (1, 2):
            os.dup2(output.fileno(), fd)
        coverage = Coverage(data_file=None, include=[f"{module}"])
        coverage.start()
        # Asserts are plain: what is imported already cannot be rewritten.
        status = pytest.main(["-q", "--assert=plain", f"{test}"])
        coverage.stop()
        report = io.StringIO()
        covered = coverage.report(file=report, skip_covered=False)
        if status == 0 and covered == 100:
            return ""
        sys.stdout.flush()
        output.seek(0)
        said = output.read().decode(errors="replace")
        return f"{module} by {test}:\n{said}\n{report.getvalue()}"


def main() -> int:
    """Check all modules; those that only import are read by tests/contract/test_public.py."""
    assert not any(name.startswith("triows") for name in sys.modules), "imports are covered too"
    modules = [path for path in sorted(Path("triows").rglob("*.py")) if path.stem != "__init__"]
    with get_context("fork").Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        faults = list(filter(None, pool.imap(check, modules)))
    print(*faults, f"{len(modules)} modules, {len(faults)} with a fault", sep="\n")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
