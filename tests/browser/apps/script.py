"""The script for browsers, and its tests."""

from pathlib import Path

from starlette.staticfiles import StaticFiles

import triows
from triows import App

app = App(__name__)
app.mount("/triows", triows.static)
app.mount("/tests", StaticFiles(directory=Path(__file__).parents[1] / "static"))
