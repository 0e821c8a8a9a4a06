"""The pytest plugin: a `triows_client` fixture, beside pytest-trio."""

from collections.abc import AsyncGenerator

import pytest

from triows._types import ASGIApp
from triows.testing._client import Client, client


@pytest.fixture
async def triows_client(app: ASGIApp) -> AsyncGenerator[Client]:
    """A `triows.testing.Client` of the app that a fixture named `app` returns.

    pytest-trio runs it: in trio mode, or for tests marked `trio`. With its
    `autojump_clock` beside, waiting takes no time.
    """
    async with client(app) as running_client:
        yield running_client
