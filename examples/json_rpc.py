"""JSON-RPC 2.0: calls and notifications, alone and in batches, and errors as the standard has them.

    triows run examples.json_rpc:app

Then call something:

    triows connect ws://127.0.0.1:8000/rpc
    {"jsonrpc": "2.0", "id": 1, "method": "wait", "params": [10]}
    {"jsonrpc": "2.0", "id": 2, "method": "divide", "params": {"a": 7, "b": 2}}

Each message is answered as soon as it can be, whatever came before it. Of one client's messages
eight are worked on at a time, and the requests of a batch one after the other; what is more waits
on the client's side. What a client has called ends with its connection.
"""

import inspect
import json
import logging
import math
from typing import Annotated, Literal

import msgspec
import trio

from triows import App, Limits, websocket

MESSAGES = 8  # of one client that are worked on at a time

PARSE_ERROR = {"code": -32700, "message": "Parse error"}
INVALID_REQUEST = {"code": -32600, "message": "Invalid Request"}
METHOD_NOT_FOUND = {"code": -32601, "message": "Method not found"}
INVALID_PARAMS = {"code": -32602, "message": "Invalid params"}
INTERNAL_ERROR = {"code": -32603, "message": "Internal error"}

app = App(__name__)
log = logging.getLogger(__name__)
methods = {}


class RpcError(Exception):
    """Raised by a method that answers with an error instead of a result."""

    def __init__(self, code, message, **more):
        super().__init__(message)
        self.error = {"code": code, "message": message, **more}


class Request(msgspec.Struct):
    """A call; or, without an id, a notification, which is never answered."""

    jsonrpc: Literal["2.0"]
    method: str
    params: list | dict = []
    id: str | int | float | msgspec.UnsetType | None = msgspec.UNSET


# What can be called


def method(function):
    """Let clients call a function, with arguments of the types that it names."""
    methods[function.__name__] = function, inspect.signature(function)
    return function


@method
def divide(a: float, b: float):
    if b == 0:
        raise RpcError(1, "nothing can be divided by 0", data={"a": a})
    return finite(a / b)


@method
def average(numbers: Annotated[list[float], msgspec.Meta(min_length=1)]):
    return finite(sum(numbers) / len(numbers))


@method
async def wait(seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = 1):
    await trio.sleep(seconds)
    return seconds


def finite(number):
    """Return a number if it has a JSON form, which infinity has not."""
    if not math.isfinite(number):
        raise RpcError(2, "the result is too large")
    return number


# The protocol


@app.websocket(limits=Limits(max_message_size=64 * 1024))
async def rpc():
    slots = trio.Semaphore(MESSAGES)
    async for message in websocket:
        # As long as there is none, nothing more is read from this client.
        await slots.acquire()
        websocket.start_soon(respond, message, slots)


async def respond(message, slots):
    """Send the answer to a message, if there is one."""
    try:
        if answer := await answer_message(message):
            await websocket.send_json(answer)
    finally:
        slots.release()


async def answer_message(message):
    """Return the answer to a message: to a request, or a list of those to a batch."""
    try:
        value = msgspec.json.decode(message)
    except (msgspec.DecodeError, RecursionError):
        return answer_of(None, error=PARSE_ERROR)
    if isinstance(value, list) and value:
        answers = [await answer_request(request) for request in value]
        return [answer for answer in answers if answer]
    return await answer_request(value)


async def answer_request(value):
    """Return the answer to a request, or None if it is to have none."""
    try:
        request = msgspec.convert(value, Request)
    except msgspec.ValidationError:
        return answer_of(None, error=INVALID_REQUEST)
    try:
        # Encoded here, since a result that has no JSON form is a failure of the method; and not
        # by msgspec, which makes null of infinity.
        result = json.dumps(await call(request), allow_nan=False)
        outcome = {"result": msgspec.Raw(result.encode())}
    except RpcError as exc:
        outcome = {"error": exc.error}
    except Exception:
        log.exception("the method %s failed", request.method)
        outcome = {"error": INTERNAL_ERROR}
    return None if request.id is msgspec.UNSET else answer_of(request.id, **outcome)


async def call(request):
    """Call what a request names, and return the result."""
    if request.method not in methods:
        raise RpcError(**METHOD_NOT_FOUND)
    function, signature = methods[request.method]
    try:
        if isinstance(request.params, list):
            given = signature.bind(*request.params).arguments
        else:
            given = signature.bind(**request.params).arguments
        arguments = {
            name: msgspec.convert(value, signature.parameters[name].annotation)
            for name, value in given.items()
        }
    except (TypeError, msgspec.ValidationError) as exc:
        raise RpcError(**INVALID_PARAMS, data=str(exc)) from None
    result = function(**arguments)
    return await result if inspect.isawaitable(result) else result


def answer_of(request_id, **outcome):
    """Return an answer: a result or an error."""
    return {"jsonrpc": "2.0", "id": request_id, **outcome}
