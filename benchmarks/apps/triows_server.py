"""Both apps of `triows_app`, served by triows from a Trio program."""

import sys
from functools import partial

import trio

from benchmarks.apps.triows_app import app
from triows.server import serve

if __name__ == "__main__":
    host, port = sys.argv[1:]
    trio.run(partial(serve, app, bind=f"{host}:{port}"))
