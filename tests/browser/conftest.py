"""One browser for all tests, which open windows of their own."""

from collections.abc import Generator

import pytest

from tests.browser.chromium import Chromium, chromium


@pytest.fixture(scope="session")
def browser() -> Generator[Chromium]:
    """A Chromium."""
    with chromium() as running:
        yield running
