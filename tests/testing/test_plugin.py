"""The pytest plugin, in a project of a user's."""

import pytest

pytest_plugins = ["pytester"]

PROJECT = """
    import pytest
    import trio
    from triows import App, websocket

    @pytest.fixture
    def app():
        app = App(__name__)

        @app.websocket("/slow")
        async def slow():
            message = await websocket.receive()
            await trio.sleep(3600)
            await websocket.send(message)

        @app.websocket("/broken")
        async def broken():
            await websocket.accept()
            raise ValueError("the handler's")

        return app
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """Make a project in trio mode, whose conftest has an app."""
    # Asserts are plain, as where these tests run may have imported what else would be rewritten.
    ini = "trio_mode = true\nfilterwarnings = error\naddopts = --assert=plain\n"
    pytester.makeini(f"[pytest]\n{ini}")
    pytester.makeconftest(PROJECT)
    return pytester


def test_fixture(project: pytest.Pytester) -> None:
    """`triows_client` drives the `app` of the project; an hour takes no time."""
    project.makepyfile(
        """
        async def test_slow(triows_client, autojump_clock):
            async with triows_client.websocket("/slow") as peer:
                await peer.send("hello")
                await peer.receive_nothing()

        async def test_slow_answer(app, autojump_clock):
            from triows import testing

            async with testing.client(app, timeout=4000) as client:
                async with client.websocket("/slow") as peer:
                    await peer.send("hello")
                    assert "hello" == await peer.receive()
        """
    )

    project.runpytest().assert_outcomes(passed=2)


def test_failing_handler(project: pytest.Pytester) -> None:
    """A handler's failure is the test's, with the handler's line in the traceback."""
    project.makepyfile(
        """
        async def test_broken(triows_client, autojump_clock):
            async with triows_client.websocket("/broken") as peer:
                await peer.receive()
        """
    )

    result = project.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ['*raise ValueError("the handler\'s")', "*ValueError: the handler's"]
    )


def test_lifespan(project: pytest.Pytester) -> None:
    """The app is running before the test begins, and is shut down after it."""
    project.makepyfile(
        """
        import pytest
        from triows import App

        story = []

        @pytest.fixture
        def app():
            app = App(__name__)

            @app.lifespan
            async def lifespan():
                story.append("up")
                yield
                story.append("down")

            return app

        async def test_running(triows_client):
            assert ["up"] == story

        def test_ended():
            assert ["up", "down"] == story
        """
    )

    project.runpytest().assert_outcomes(passed=2)


def test_without_an_app(pytester: pytest.Pytester) -> None:
    """A project without an `app` fixture is told what is missing; others never notice."""
    pytester.makeini("[pytest]\ntrio_mode = true\n")
    pytester.makepyfile(
        """
        async def test_client(triows_client):
            pass

        def test_of_something_else():
            pass
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fixture 'app' not found*"])


def test_without_trio_mode(project: pytest.Pytester) -> None:
    """Outside of trio mode the fixture works for tests that are marked."""
    project.makeini("[pytest]\n")
    project.makepyfile(
        """
        import pytest

        @pytest.mark.trio
        async def test_marked(triows_client, autojump_clock):
            async with triows_client.websocket("/slow") as peer:
                await peer.receive_nothing()
        """
    )

    project.runpytest().assert_outcomes(passed=1)
