"""Record everything anew, one benchmark after the other, in some 20 minutes on two idle cores.

python -m benchmarks.record                 # all
python -m benchmarks.record echo redis      # these
python -m benchmarks.record --list          # with which options
"""

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping

from benchmarks.servers import ROOT

RUNS: Mapping[str, str] = {
    "routing": "--rounds 7",
    "echo": "--rounds 3 --seconds 2",
    "pipelined": "--rounds 3 --seconds 2",
    "fanout": "--rounds 3 --seconds 2",
    "handshakes": "--rounds 3 --seconds 2",
    "idle_memory": "--rounds 2",
    "echo_hypercorn": "--rounds 3 --seconds 2",
    "redis": "--rounds 3 --seconds 2",
    "fanout_scaling": "--rounds 3 --seconds 1",
    "scaling": "--rounds 3 --seconds 0.5",
}
"""The options of each."""


def command_of(name: str) -> list[str]:
    """Return what records a benchmark."""
    return [sys.executable, "-m", f"benchmarks.{name}", *shlex.split(RUNS[name]), "--record"]


def main() -> None:
    """Run those that the command line names; stop at the first that fails."""
    parser = argparse.ArgumentParser(description="Record benchmarks, one after the other.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RUNS)}; or all")
    parser.add_argument("--list", action="store_true", help="only show the commands")
    options = parser.parse_args()
    if unknown := {*options.names} - {*RUNS}:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    for name in options.names or RUNS:
        print(f"python -m benchmarks.{name} {RUNS[name]} --record", flush=True)
        if options.list:
            continue
        begun = time.monotonic()
        subprocess.run(command_of(name), cwd=ROOT, check=True)
        print(f"{name} took {time.monotonic() - begun:.0f} s\n", flush=True)


if __name__ == "__main__":
    main()
