"""The WebSocket framework for Trio."""

from triows._app import App
from triows._channels import Channels, ChannelStatistics, Joined, Published, Subscription
from triows._close import CloseInfo
from triows._context import websocket
from triows._current import channels
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
from triows._static import static
from triows._urls import url
from triows._websocket import WebSocket
from triows.server import AppFailed, Drain, serve

__all__ = [
    "AlreadyAccepted",
    "App",
    "AppFailed",
    "BrokerError",
    "BrokerUnavailable",
    "ChannelStatistics",
    "Channels",
    "Close",
    "CloseInfo",
    "ConnectionClosed",
    "Drain",
    "Draining",
    "HandshakeRejected",
    "Headers",
    "InvalidMessage",
    "Joined",
    "Limits",
    "MessageTooBig",
    "Module",
    "ModuleGroup",
    "NotRunning",
    "OutsideConnection",
    "PeerError",
    "Pipe",
    "ProtocolViolation",
    "Published",
    "Reject",
    "RouteError",
    "StateError",
    "Subscription",
    "SubscriptionLagged",
    "TriowsError",
    "WebSocket",
    "channels",
    "sdict",
    "serve",
    "static",
    "url",
    "websocket",
]
