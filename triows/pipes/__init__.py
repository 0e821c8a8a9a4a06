"""Pipes that many applications need: JSON, conditions, sessions and logs.

They are put into the pipeline of an app, a module or a route like one's own; see `Pipe`.
"""

from triows.pipes._json import JSONPipe
from triows.pipes._log import LogPipe
from triows.pipes._require import RequirePipe
from triows.pipes._session import SessionPipe

__all__ = ["JSONPipe", "LogPipe", "RequirePipe", "SessionPipe"]
