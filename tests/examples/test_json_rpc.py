"""JSON-RPC: the answers are those of the standard, and no client gets more than its share."""

import inspect
import json
import math
from typing import Any

import pytest
import trio
import trio.testing
from websockets.trio.client import ClientConnection

import examples.json_rpc
from tests.e2e.clients import connect
from tests.examples.served import example
from triows import testing

MESSAGES = examples.json_rpc.MESSAGES


def request(method: str, params: Any = (), **rest: Any) -> dict[str, Any]:
    """Return a request; with an id among the rest it is a call."""
    return {"jsonrpc": "2.0", "method": method, "params": params, **rest}


def result(value: object, request_id: object = 1) -> dict[str, Any]:
    """Return an answer with a result."""
    return {"jsonrpc": "2.0", "id": request_id, "result": value}


def error(code: int, message: str, request_id: object = 1, **data: object) -> dict[str, Any]:
    """Return an answer with an error."""
    answer = {"code": code, "message": message, **data}
    return {"jsonrpc": "2.0", "id": request_id, "error": answer}


INVALID = error(-32600, "Invalid Request", None)

CONVERSATION: list[tuple[Any, Any]] = [
    (request("divide", [7, 2], id=1), result(3.5)),
    (request("divide", {"b": 2, "a": 7}, id="one"), result(3.5, "one")),
    (request("wait", {"seconds": 0}, id=None), result(0, None)),
    ({"jsonrpc": "2.0", "id": 1, "method": "wait", "params": [0]}, result(0)),
    # A method's own errors, and its caller's.
    (
        request("divide", [7, 0], id=1),
        error(1, "nothing can be divided by 0", data={"a": 7}),
    ),
    (
        request("divide", [7], id=1),
        error(-32602, "Invalid params", data="missing a required argument: 'b'"),
    ),
    (
        request("divide", [7, 2, 1], id=1),
        error(-32602, "Invalid params", data="too many positional arguments"),
    ),
    (
        request("divide", {"a": 7, "b": 2, "c": 1}, id=1),
        error(-32602, "Invalid params", data="got an unexpected keyword argument 'c'"),
    ),
    (
        request("divide", ["7", 2], id=1),
        error(-32602, "Invalid params", data="Expected `float`, got `str`"),
    ),
    (
        request("wait", [61], id=1),
        error(-32602, "Invalid params", data="Expected `float` <= 60.0"),
    ),
    (
        request("average", [[]], id=1),
        error(-32602, "Invalid params", data="Expected `array` of length >= 1"),
    ),
    # Infinity has no JSON form.
    (request("divide", [1e308, 1e-10], id=1), error(2, "the result is too large")),
    (request("average", [[1e308, 1e308]], id=1), error(2, "the result is too large")),
    (request("subtract", [7, 2], id=1), error(-32601, "Method not found")),
    # What is no request.
    ({"jsonrpc": "2.0", "method": 1, "params": "bar"}, INVALID),
    ({"jsonrpc": "1.0", "method": "wait", "id": 1}, INVALID),
    ({"jsonrpc": "2.0", "method": "wait", "id": []}, INVALID),
    ([], INVALID),
    (1, INVALID),
    # Batches.
    ([1, [2]], [INVALID, INVALID]),
    (
        [
            request("divide", [7, 2], id=1),
            request("divide", [7, 2]),
            {"foo": "boo"},
            request("foo.get", {"name": "myself"}, id="5"),
        ],
        [result(3.5), INVALID, error(-32601, "Method not found", "5")],
    ),
]
"""What a client sends, and what it is answered; most of it is as in the standard's examples."""


async def ask(client: ClientConnection, value: Any) -> Any:
    """Send a value, and return the answer."""
    await client.send(json.dumps(value))
    return json.loads(await client.recv())


async def test_conversation() -> None:
    """Each request has its answer, whatever came before, and no failure ends the connection."""
    async with example("json_rpc.py") as server, connect(server.ws("/rpc")) as client:
        for sent, answer in CONVERSATION:
            assert answer == await ask(client, sent)
        for broken in ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar"}', "[1", "[" * 9999):
            await client.send(broken)
            assert error(-32700, "Parse error", None) == json.loads(await client.recv())
        # None of these has an answer, so the next one is that of the call.
        for quiet in (request("divide", [7, 0]), request("subtract"), [request("wait", [0])]):
            await client.send(json.dumps(quiet))
        assert result(2, 2) == await ask(client, request("divide", [4, 2], id=2))
        # One that takes long holds up no other, and ends with the connection.
        await client.send(json.dumps(request("wait", [60], id=1)))
        assert result(2, 3) == await ask(client, request("divide", [4, 2], id=3))

    assert "Traceback" not in server.log


async def test_failures(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What a method did not foresee is logged, and its caller told no more than that it failed."""
    failing = {
        "fail": lambda: 1 / 0,
        "no_json": lambda: {"value": math.inf},
    }
    for name, function in failing.items():
        signature = inspect.signature(function)
        monkeypatch.setitem(examples.json_rpc.methods, name, (function, signature))
    async with (
        testing.client(examples.json_rpc.app) as client,
        client.websocket("/rpc") as peer,
    ):
        for name in failing:
            await peer.send_json(request(name, id=1))
            assert error(-32603, "Internal error") == await peer.receive_json()

    assert [f"the method {name} failed" for name in failing] == caplog.messages


async def test_bound(autojump_clock: trio.testing.MockClock) -> None:
    """A client that has as many answers coming as it may is not read from until one is sent."""
    async with (
        testing.client(examples.json_rpc.app) as client,
        client.websocket("/rpc") as peer,
    ):
        for seconds in range(1, MESSAGES + 1):
            await peer.send_json(request("wait", [seconds], id=seconds))
        await peer.send_json(request("divide", [4, 2], id=0))
        await peer.receive_nothing()

        assert result(1, 1) == await peer.receive_json()
        assert 1 == trio.current_time()
        assert result(2, 0) == await peer.receive_json()
        assert [result(n, n) for n in range(2, MESSAGES + 1)] == [
            await peer.receive_json() for _ in range(2, MESSAGES + 1)
        ]


async def test_leaving(autojump_clock: trio.testing.MockClock) -> None:
    """What a client has called is cancelled when it leaves."""
    async with testing.client(examples.json_rpc.app) as client:
        async with client.websocket("/rpc") as peer:
            await peer.send_json(request("wait", [60], id=1))
            await peer.receive_nothing()
        left_at = trio.current_time()

    assert trio.current_time() - left_at < 1
