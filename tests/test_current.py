"""The topics of the app that a task belongs to."""

from collections.abc import AsyncIterator

import pytest

from triows import App, OutsideConnection, channels


async def test_the_channels_of_the_current_app() -> None:
    """`channels` is that of the app that runs here; elsewhere the error says what to use."""
    app = App(__name__)
    with pytest.raises(OutsideConnection, match=r"use `app\.channels`"):
        channels.statistics()
    assert "<channels: None>" == repr(channels)
    assert not hasattr(channels, "__wrapped__")

    @app.lifespan
    async def lifespan() -> AsyncIterator[None]:
        assert repr(app.channels) in repr(channels)
        assert 0 == channels.statistics().topics
        yield

    async with app.running():
        pass
