"""Runs a command of the README: `serve`, and an echo through it, or `test`."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE = 300.0
"""Seconds for the serving command to install what it needs and to listen."""

ECHO = """
import websockets.sync.client
with websockets.sync.client.connect("ws://127.0.0.1:8000/echo", proxy=None) as ws:
    ws.send("hello")
    assert ws.recv() == "hello"
"""


def command(number: int) -> str:
    """Return a command of the README, as one would copy it."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return blocks[number].strip()


def serve() -> int:
    """Start the server, talk to it, and stop it."""
    server = subprocess.Popen(command(0), shell=True, cwd=ROOT, start_new_session=True)
    deadline = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < deadline and server.poll() is None:
            time.sleep(1)
            if (ROOT / ".venv/bin/hypercorn").exists() and talks():
                print("the served example echoes")
                return 0
        print("the served example does not answer")
        return 1
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def talks() -> bool:
    """Return whether the served example echoes."""
    python = ROOT / ".venv/bin/python"
    return subprocess.run([python, "-c", ECHO], capture_output=True, check=False).returncode == 0


def test() -> int:
    """Run the tests."""
    return subprocess.run(command(1), shell=True, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit({"serve": serve, "test": test}[sys.argv[1]]())
