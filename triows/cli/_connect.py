"""`triows connect`: talk to a WebSocket server, from a terminal or a pipe."""

import argparse
import signal
from collections.abc import AsyncIterator

import trio
from trio_websocket import WebSocketConnection

from triows._close import ABNORMAL, GOING_AWAY, NO_STATUS, NORMAL, CloseInfo
from triows.cli._connect_options import Options, add_options, make_tls, options_of
from triows.cli._dial import NotConnected, open_connection
from triows.cli._talk import USAGE, Talk
from triows.cli._terminal import Terminal

BROKEN = 1
MISUSED = 2
REFUSED = 3
INTERRUPTED = 130
"""As a shell says of a command that SIGINT has ended."""

EXPECTED = frozenset({NORMAL, GOING_AWAY, NO_STATUS})
"""Close codes that a peer ends a good connection with: it is done, it restarts, or it does not
say."""

EPILOG = f"""\
Lines that are read are sent as text messages, and messages that come are printed. Ctrl-D closes
with 1000; where the input is no terminal its end does so once the peer is silent. On a terminal
these lines are commands:
  {USAGE}

exit status:
  {0:<5}the closing handshake was completed, by us, or by the peer with 1000, 1001 (it goes
       away) or 1005 (without a code)
  {BROKEN:<5}the connection ended otherwise, or not all could be sent or printed
  {MISUSED:<5}the arguments are wrong
  {REFUSED:<5}there was no connection: no such host, no server, no trust, or a refused handshake
  {INTERRUPTED:<5}interrupted by Ctrl-C
"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of the program."""
    parser = commands.add_parser(
        "connect",
        help="talk to a WebSocket server",
        description="Talk to a WebSocket server, from a terminal or a pipe.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Connect, talk, and return the exit status."""
    terminal = Terminal.of_files(max_size=arguments.max_size, pretty=arguments.pretty)
    try:
        tls = make_tls(arguments.cafile, insecure=arguments.insecure)
    except OSError as exc:
        terminal.tell(f"triows: cannot use {arguments.cafile}: {exc.strerror or exc}")
        return MISUSED
    return trio.run(connect, options_of(arguments, tls), terminal)


async def connect(options: Options, terminal: Terminal) -> int:
    """Connect, talk, and return the exit status.

    Minds SIGINT meanwhile, and so runs in the main thread only.
    """
    visit = Visit(options, terminal)
    with trio.open_signal_receiver(signal.SIGINT) as interrupts:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(visit.heed, interrupts, nursery.cancel_scope)
            await visit.run()
            nursery.cancel_scope.cancel()
    return visit.status


class Visit:
    """One connection, from dialling to the exit status."""

    def __init__(self, options: Options, terminal: Terminal) -> None:
        self._options = options
        self._terminal = terminal
        self._talk: Talk | None = None
        self._status = BROKEN
        self._was_interrupted = False

    @property
    def status(self) -> int:
        """The exit status, once it is over."""
        return INTERRUPTED if self._was_interrupted else self._status

    async def run(self) -> None:
        """Connect and talk, and tell the user what becomes of it."""
        options = self._options
        try:
            async with open_connection(
                options.address,
                options.offer,
                tls=options.tls,
                patience=options.timeout,
                max_size=options.max_size,
            ) as connection:
                self._talk = self._begin(connection)
                await self._talk.run()
        except NotConnected as exc:
            self._status = REFUSED
            self._terminal.tell(f"triows: cannot connect to {options.address.url}: {exc}")
        else:
            self._end(self._talk)

    async def heed(self, interrupts: AsyncIterator[int], whole: trio.CancelScope) -> None:
        """Let the first Ctrl-C close the connection, and the second drop it."""
        async for _ in interrupts:
            if self._talk is None or self._was_interrupted:
                whole.cancel()
            else:
                self._talk.leave()
            self._was_interrupted = True

    def _begin(self, connection: WebSocketConnection) -> Talk:
        options = self._options
        chosen = connection.subprotocol
        using = "" if chosen is None else f", subprotocol {chosen}"
        self._terminal.tell(f"connected to {options.address.url}{using}")
        return Talk(
            connection, self._terminal, wait=options.wait, ping_interval=options.ping_interval
        )

    def _end(self, talk: Talk) -> None:
        ending = talk.ending()
        self._terminal.tell(describe(ending))
        is_good = bool(ending.clean) and (not ending.by_peer or ending.code in EXPECTED)
        self._status = 0 if is_good and talk.is_complete else BROKEN


def describe(ending: CloseInfo) -> str:
    """Return a line about how a connection has ended."""
    what = f"{ending.code} {ending.reason}".rstrip()
    match ending.clean, ending.by_peer:
        case True, True:
            return f"closed by the peer: {what}"
        case True, False:
            return f"closed: {what}"
        case _, False:
            return f"closed: {what}, but the peer has not answered"
    if ending.code == ABNORMAL:
        return f"the connection was lost: {what}"
    return f"ended for a fault of the peer's: {what}"
