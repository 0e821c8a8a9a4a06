"""The servers of these tests."""

from pathlib import Path

import pytest

APPS = Path(__file__).parent / "apps"

on_both_servers = pytest.mark.parametrize("server", ["triows", "hypercorn"])
"""Run a test on our own server, and on hypercorn."""
