"""Messages on their way through pipes."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from triows import (
    App,
    ConnectionClosed,
    InvalidMessage,
    Limits,
    Pipe,
    StateError,
    WebSocket,
    testing,
    websocket,
)


def serving(handler: Callable[[], Awaitable[object]], *pipes: Pipe) -> App:
    """Return an app that has this handler at /, inside these pipes."""
    app = App(__name__)
    app.websocket("/", name="handler", pipeline=pipes)(handler)
    return app


class Tagging(Pipe):
    """Puts its tag behind what comes in and what goes out."""

    def __init__(self, tag: str) -> None:
        self.tag = tag

    def on_receive(self, data: str) -> str:
        """Tag a message."""
        return data + self.tag

    async def on_send(self, data: str) -> str:
        """Tag a message, after a while."""
        await trio.lowlevel.checkpoint()
        return data + self.tag


class Slow(Pipe):
    """Takes a second for a message in each direction, and remembers which it has begun."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def on_receive(self, data: str) -> str:
        """Take a second."""
        self.seen.append(data)
        await trio.sleep(1)
        return data

    async def on_send(self, data: str) -> str:
        """Take a second."""
        return await self.on_receive(data)


class TestReceive:
    """From the peer to the handler."""

    async def test_through_every_hook(self, autojump_clock: trio.testing.MockClock) -> None:
        """The first pipe is the first to see a message in, and the last to see one out."""

        async def echo() -> None:
            await websocket.send(await websocket.receive_text() + "|")

        app = serving(echo, Tagging("a"), Tagging("b"))
        async with testing.client(app) as client, client.websocket("/") as peer:
            await peer.send("")
            assert "ab|ba" == await peer.receive()

    async def test_hooks_for_one_direction(self, autojump_clock: trio.testing.MockClock) -> None:
        """What a pipe has no hook for goes by it unchanged."""

        class Upper(Pipe):
            def on_send(self, data: str) -> str:
                return data.upper()

        async def echo() -> None:
            await websocket.send(await websocket.receive())

        app = serving(echo, Upper())
        async with testing.client(app) as client, client.websocket("/") as peer:
            await peer.send("a")
            assert "A" == await peer.receive()

    async def test_other_objects(self, autojump_clock: trio.testing.MockClock) -> None:
        """Handlers receive whatever the pipes make of a message, one by one or in a loop."""
        seen: list[object] = []

        class Numbers(Pipe):
            def on_receive(self, data: str) -> list[int]:
                return [int(part) for part in data.split()]

            def on_send(self, data: list[int]) -> str:
                return " ".join(map(str, data))

        async def handler() -> None:
            seen.append(await websocket.receive())
            async for message in websocket:
                seen.append(message)
                await websocket.send(message)

        app = serving(handler, Numbers())
        async with testing.client(app) as client, client.websocket("/") as peer:
            await peer.send("1 2")
            await peer.send("3")
            assert "3" == await peer.receive()

        assert [[1, 2], [3]] == seen

    async def test_falsy_objects_are_messages(self, autojump_clock: trio.testing.MockClock) -> None:
        """Only `DROPPED` stands for no message: None, "" and 0 are received."""
        seen: list[object] = []
        made = [None, "", 0]

        class Falsy(Pipe):
            def on_receive(self, data: str) -> object:
                return made[len(seen)]

        async def handler() -> None:
            async for message in websocket:
                seen.append(message)  # noqa: PERF401  # the hook looks at it

        async with (
            testing.client(serving(handler, Falsy())) as client,
            client.websocket("/") as peer,
        ):
            for _ in made:
                await peer.send("")

        assert made == seen

    async def test_dropped(self, autojump_clock: trio.testing.MockClock) -> None:
        """A message that a pipe drops is not seen further in, and the handler waits on."""
        seen: list[str] = []

        class Inner(Pipe):
            def on_receive(self, data: str) -> str:
                seen.append(data)
                return data

        class NoPings(Pipe):
            async def on_receive(self, data: str) -> Any:
                if data != "ping":
                    return data
                await websocket.send("pong")
                return self.DROPPED

        async def echo() -> None:
            async for message in websocket:
                await websocket.send(message)

        app = serving(echo, NoPings(), Inner())
        async with testing.client(app) as client, client.websocket("/") as peer:
            for message in ("ping", "a", "ping"):
                await peer.send(message)
            assert ["pong", "a", "pong"] == [await peer.receive() for _ in range(3)]

        assert ["a"] == seen

    async def test_cancelled_in_a_hook(self, autojump_clock: trio.testing.MockClock) -> None:
        """The message is received by the next call, through all hooks again, and only once."""
        first, second = Slow(), Slow()
        received: list[object] = []

        async def handler() -> None:
            await websocket.accept()
            with trio.move_on_after(1.5):
                await websocket.receive()
            assert (["a"], ["a"]) == (first.seen, second.seen)
            received.append(await websocket.receive())
            received.append(await websocket.receive())

        app = serving(handler, first, second)
        async with testing.client(app) as client, client.websocket("/") as peer:
            await peer.send("a")
            await peer.send("b")
            await peer.wait_closed()

        assert ["a", "b"] == received
        assert ["a", "a", "b"] == second.seen

    async def test_cancelled_before_it_takes_a_message_again(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A call that is cancelled from the start takes nothing."""
        received: list[object] = []

        async def handler() -> None:
            await websocket.accept()
            for deadline in (0.5, 0):
                with trio.move_on_after(deadline):
                    await websocket.receive()
            received.append(await websocket.receive())

        slow = Slow()
        async with testing.client(serving(handler, slow)) as client, client.websocket("/") as peer:
            await peer.send("a")
            await peer.wait_closed()

        assert ["a"] == received
        assert ["a", "a"] == slow.seen

    async def test_cancelled_in_the_tasks_of_a_hook(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A cancellation that comes in groups loses no message either."""

        class Parallel(Pipe):
            async def on_receive(self, data: str) -> str:
                async with trio.open_nursery() as nursery:
                    for _ in range(2):
                        nursery.start_soon(trio.sleep, 1)
                return data

        async def handler() -> None:
            await websocket.accept()
            with trio.move_on_after(0.5):
                await websocket.receive()
            await websocket.send(await websocket.receive())

        async with (
            testing.client(serving(handler, Parallel())) as client,
            client.websocket("/") as peer,
        ):
            await peer.send("a")
            assert "a" == await peer.receive()

    async def test_a_failing_hook(self, autojump_clock: trio.testing.MockClock) -> None:
        """Its exception comes out of `receive`, and the message is gone."""

        class Numbers(Pipe):
            async def on_receive(self, data: str) -> int:
                try:
                    return int(data)
                except ValueError as exc:
                    raise InvalidMessage("no number") from exc

        async def handler() -> None:
            with pytest.raises(InvalidMessage):
                await websocket.receive()
            await websocket.send(str(await websocket.receive()))

        app = serving(handler, Numbers())
        async with testing.client(app) as client, client.websocket("/") as peer:
            await peer.send("a")
            await peer.send("1")
            assert "1" == await peer.receive()

    async def test_a_hook_that_fails_as_it_is_cancelled(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """What fails beside the cancellation has used the message up."""

        class Clumsy(Pipe):
            async def on_receive(self, data: str) -> str:
                if data == "b":
                    return data
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.fail)
                return data

            async def fail(self) -> None:
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError

        async def handler() -> None:
            await websocket.accept()
            with pytest.RaisesGroup(ValueError):
                with trio.move_on_after(1):
                    await websocket.receive()
            await websocket.send(await websocket.receive())

        async with (
            testing.client(serving(handler, Clumsy())) as client,
            client.websocket("/") as peer,
        ):
            await peer.send("a")
            await peer.send("b")
            assert "b" == await peer.receive()

    @pytest.mark.parametrize("seconds", [1, 1.5])
    async def test_two_receivers(
        self, autojump_clock: trio.testing.MockClock, seconds: float
    ) -> None:
        """The second is refused while the first waits, for a message or inside a hook."""

        async def handler() -> None:
            await websocket.accept()
            websocket.start_soon(websocket.receive)
            await trio.sleep(seconds)
            with pytest.raises(trio.BusyResourceError, match="already receiving"):
                await websocket.receive()
            await websocket.send("busy")

        app = serving(handler, Slow())
        async with testing.client(app) as client, client.websocket("/") as peer:
            await trio.sleep(1.2)
            await peer.send("a")
            assert "busy" == await peer.receive()

    async def test_what_was_left_when_the_peer_left(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A message whose receiver was cancelled is still delivered, and then the end comes."""
        received: list[object] = []

        async def handler() -> None:
            await websocket.accept()
            with trio.move_on_after(0.5):
                await websocket.receive()
            while websocket.closed is None:
                await trio.sleep(0.1)
            received.append(await websocket.receive())
            with pytest.raises(ConnectionClosed):
                await websocket.receive()

        async with (
            testing.client(serving(handler, Slow())) as client,
            client.websocket("/") as peer,
        ):
            await peer.send("a")
            await trio.sleep(0.2)

        assert ["a"] == received

    async def test_what_was_left_before_a_message_too_big(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """What came before the peer's fault is received, and then the end comes."""
        received: list[object] = []
        app = App(__name__, limits=Limits(max_message_size=1))

        @app.websocket("/", pipeline=[Slow()])
        async def handler() -> None:
            await websocket.accept()
            with trio.move_on_after(0.5):
                await websocket.receive()
            await trio.sleep(1)
            received.extend([message async for message in websocket])

        async with testing.client(app) as client, client.websocket("/") as peer:
            await peer.send("a")
            await peer.send("too much")
            assert 1009 == (await peer.wait_closed()).code
            await trio.sleep(4)

        assert ["a"] == received

    async def test_what_was_left_when_this_side_closed(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """After a close of its own a handler receives nothing any more."""
        slow = Slow()

        async def handler() -> None:
            await websocket.accept()
            with trio.move_on_after(0.5):
                await websocket.receive()
            await websocket.close(4000)
            with pytest.raises(ConnectionClosed):
                await websocket.receive()

        async with (
            testing.client(serving(handler, slow)) as client,
            client.websocket("/") as peer,
        ):
            await peer.send("a")
            assert 4000 == (await peer.wait_closed()).code

        assert ["a"] == slow.seen


class TestSend:
    """From the handler to the peer."""

    async def test_concurrent_sends_stay_in_call_order(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """The hooks of one message are through before those of the next begin."""

        class Shrinking(Pipe):
            seconds = 3

            async def on_send(self, data: str) -> str:
                self.seconds -= 1
                await trio.sleep(self.seconds)
                return data

        async def handler() -> None:
            await websocket.accept()
            async with trio.open_nursery() as nursery:
                for message in "abc":
                    nursery.start_soon(websocket.send, message)
                    await trio.testing.wait_all_tasks_blocked()

        async with (
            testing.client(serving(handler, Shrinking())) as client,
            client.websocket("/") as peer,
        ):
            assert "abc" == "".join([str(await peer.receive()) for _ in range(3)])

    async def test_cancelled_in_a_hook(self, autojump_clock: trio.testing.MockClock) -> None:
        """It sends nothing, nor do those that were cancelled in the queue; later ones go on."""

        async def handler() -> None:
            await websocket.accept()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(websocket.send, "a")
                await trio.sleep(0.5)
                nursery.start_soon(websocket.send, "c")
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            with trio.move_on_after(0.5):
                await websocket.send("b")
            await websocket.send("d")

        slow = Slow()
        async with (
            testing.client(serving(handler, slow)) as client,
            client.websocket("/") as peer,
        ):
            assert "d" == await peer.receive()

        assert ["a", "b", "d"] == slow.seen

    async def test_one_that_waits_after_one_that_was_cancelled(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """The turn of a send that was cancelled in a hook is the next one's."""

        async def give_up() -> None:
            with trio.move_on_after(0.5):
                await websocket.send("a")

        async def handler() -> None:
            await websocket.accept()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(give_up)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(websocket.send, "b")

        async with (
            testing.client(serving(handler, Slow())) as client,
            client.websocket("/") as peer,
        ):
            assert "b" == await peer.receive()

    @pytest.mark.parametrize("is_async", [True, False])
    async def test_sending_inside_of_on_send(
        self, autojump_clock: trio.testing.MockClock, is_async: bool
    ) -> None:
        """It would wait for itself, so it is refused; the connection goes on."""

        class Recursive(Pipe):
            async def on_send(self, data: str) -> str:
                if is_async:
                    await trio.sleep(1)
                if data == "a":
                    await websocket.send("b")
                return data

        async def handler() -> None:
            with pytest.raises(StateError, match=r"^cannot send in on_send: return what is to be"):
                await websocket.send("a")
            await websocket.send("c")

        async with (
            testing.client(serving(handler, Recursive())) as client,
            client.websocket("/") as peer,
        ):
            assert "c" == await peer.receive()

    async def test_sending_to_another_connection_inside_of_on_send(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """Another connection's sends have a turn of their own."""
        others: list[WebSocket] = []

        class Mirror(Pipe):
            async def on_send(self, data: str) -> str:
                for other in others:
                    if other is not websocket.unwrap():
                        await other.send(f"other: {data}")
                return data

        async def handler() -> None:
            await websocket.accept()
            async for message in websocket:
                await websocket.send(message)

        app = serving(handler, Mirror())

        @app.websocket()
        async def watch() -> None:
            await websocket.accept()
            others.append(websocket.unwrap())
            await trio.sleep_forever()

        async with (
            testing.client(app) as client,
            client.websocket("/watch") as watcher,
            client.websocket("/") as peer,
        ):
            await trio.testing.wait_all_tasks_blocked()
            await peer.send("a")
            assert "a" == await peer.receive()
            assert "other: a" == await watcher.receive()

    @pytest.mark.parametrize("value", [None, 7, ["a"]])
    async def test_a_result_that_is_no_message(
        self, autojump_clock: trio.testing.MockClock, value: object
    ) -> None:
        """What comes out of the last hook must be text or bytes."""

        class Make(Pipe):
            def on_send(self, data: str) -> object:
                return value if data == "a" else data

        async def handler() -> None:
            with pytest.raises(TypeError, match=rf"^cannot send a {type(value).__name__}: "):
                await websocket.send("a")
            await websocket.send("b")

        async with (
            testing.client(serving(handler, Make())) as client,
            client.websocket("/") as peer,
        ):
            assert "b" == await peer.receive()

    async def test_a_result_that_is_like_bytes(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A pipe may make a bytearray; an empty one is a message."""

        class Make(Pipe):
            def on_send(self, data: bytes) -> bytearray:
                return bytearray(data)

        async def handler() -> None:
            await websocket.send(b"")

        async with (
            testing.client(serving(handler, Make())) as client,
            client.websocket("/") as peer,
        ):
            assert b"" == await peer.receive()

    async def test_dropped(self, autojump_clock: trio.testing.MockClock) -> None:
        """What a pipe drops is not seen further out, and nothing is sent."""
        outer = Slow()

        class NoA(Pipe):
            def on_send(self, data: str) -> Any:
                return self.DROPPED if data == "a" else data

        async def handler() -> None:
            await websocket.send("a")
            await websocket.send("b")

        async with (
            testing.client(serving(handler, outer, NoA())) as client,
            client.websocket("/") as peer,
        ):
            assert "b" == await peer.receive()

        assert ["b"] == outer.seen

    async def test_dropping_is_a_checkpoint(self, autojump_clock: trio.testing.MockClock) -> None:
        """A handler all of whose messages are dropped can still be cancelled."""

        class Nothing(Pipe):
            def on_send(self, data: str) -> Any:
                return self.DROPPED

        async def handler() -> None:
            await websocket.accept()
            with trio.move_on_after(0) as scope:
                await websocket.send("a")
            assert scope.cancelled_caught
            await websocket.close(4000)

        async with (
            testing.client(serving(handler, Nothing())) as client,
            client.websocket("/") as peer,
        ):
            assert 4000 == (await peer.wait_closed()).code

    async def test_after_the_end(self, autojump_clock: trio.testing.MockClock) -> None:
        """`ConnectionClosed` comes at once, and the hooks see nothing of it."""
        slow = Slow()

        async def handler() -> None:
            await websocket.accept()
            await websocket.close()
            with pytest.raises(ConnectionClosed):
                await websocket.send("a")

        async with testing.client(serving(handler, slow)) as client, client.websocket("/"):
            pass

        assert [] == slow.seen

    async def test_the_end_while_it_waits_for_its_turn(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """The hooks are not asked about what can no longer be sent."""
        slow = Slow()

        async def fail(message: str) -> None:
            with pytest.raises(ConnectionClosed):
                await websocket.send(message)

        async def handler() -> None:
            await websocket.accept()
            async with trio.open_nursery() as nursery:
                for message in "ab":
                    nursery.start_soon(fail, message)
                    await trio.testing.wait_all_tasks_blocked()
                await websocket.close()

        async with testing.client(serving(handler, slow)) as client, client.websocket("/"):
            await trio.sleep(5)

        assert ["a"] == slow.seen
