"""The WebSocket framework for Trio."""

from triows._app import App
from triows._close import CloseInfo
from triows._context import websocket
from triows._datastructures import Headers, sdict
from triows._draining import Draining
from triows._errors import (
    AlreadyAccepted,
    BrokerError,
    BrokerUnavailable,
    Close,
    ConnectionClosed,
    HandshakeRejected,
    InvalidMessage,
    MessageTooBig,
    NotRunning,
    OutsideConnection,
    PeerError,
    ProtocolViolation,
    Reject,
    RouteError,
    StateError,
    SubscriptionLagged,
    TriowsError,
)
from triows._limits import Limits
from triows._modules import Module, ModuleGroup
from triows._pipes import Pipe
from triows._urls import url
from triows._websocket import WebSocket
from triows.server import AppFailed, Drain, serve

__all__ = [
    "AlreadyAccepted",
    "App",
    "AppFailed",
    "BrokerError",
    "BrokerUnavailable",
    "Close",
    "CloseInfo",
    "ConnectionClosed",
    "Drain",
    "Draining",
    "HandshakeRejected",
    "Headers",
    "InvalidMessage",
    "Limits",
    "MessageTooBig",
    "Module",
    "ModuleGroup",
    "NotRunning",
    "OutsideConnection",
    "PeerError",
    "Pipe",
    "ProtocolViolation",
    "Reject",
    "RouteError",
    "StateError",
    "SubscriptionLagged",
    "TriowsError",
    "WebSocket",
    "sdict",
    "serve",
    "url",
    "websocket",
]
