"""Runs each module's own tests, and demands every branch of the module of them.

    python tests/each_module.py FOLDER

FOLDER keeps what was covered. As many modules are looked at at once as there are cores.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path


def test_of(module: Path) -> Path:
    """Return the tests of a module: its name, without underscores, in the folder of its name."""
    test = Path("tests", *(part.strip("_") for part in module.with_suffix("").parts[1:]))
    return test.with_name(f"test_{test.name}.py")


def check(folder: Path, module: Path) -> str:
    """Return what is wrong with a module; nothing if its tests pass and cover it."""
    test = test_of(module)
    if not test.exists():
        return f"{module} has no {test}"
    data = f"--data-file={folder / '.'.join(module.with_suffix('').parts)}"
    for command in (
        ["run", data, f"--include={module}", "-m", "pytest", "-q", f"{test}"],
        ["report", data, "--fail-under=100"],
    ):
        run = subprocess.run(
            [sys.executable, "-m", "coverage", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if run.returncode != 0:
            return f"{module} by {test}:\n{run.stdout}"
    return ""


def main() -> int:
    """Check all modules; those that only import are read by tests/contract/test_public.py."""
    folder = Path(sys.argv[1])
    modules = [path for path in sorted(Path("triows").rglob("*.py")) if path.stem != "__init__"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = list(filter(None, pool.map(partial(check, folder), modules)))
    print(*faults, f"{len(modules)} modules, {len(faults)} with a fault", sep="\n")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
