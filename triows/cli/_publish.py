"""`triows publish`: a message to a topic, from the shell."""

import argparse
from uuid import uuid4

import trio

from triows._broker import Message, PresenceEvent, Receipt
from triows._channels import check_topic
from triows._codecs import decode_json
from triows._errors import BrokerUnavailable, InvalidMessage
from triows.brokers import RedisBroker
from triows.brokers._redis import PREFIX, TIMEOUT
from triows.cli._statuses import CommandError

NO_BROKER = 6
"""The exit status if the broker cannot be reached, or did not answer."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of the program."""
    summary = "publish a message to everybody who has joined a topic"
    parser = commands.add_parser("publish", help=summary, description=f"{summary.capitalize()}.")
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument("message", metavar="MESSAGE", help="text")
    parser.add_argument(
        "--broker",
        metavar="URL",
        required=True,
        help="the app's Redis, as redis://HOST:PORT, or redis+cluster://HOST:PORT",
    )
    parser.add_argument(
        "--prefix", default=PREFIX, help="the app's prefix there (default: %(default)s)"
    )
    parser.add_argument("--sharded", action="store_true", help="the app's channels are sharded")
    parser.add_argument("--json", action="store_true", help="the message is JSON")
    parser.add_argument("--key", help='what it is about, for the overflow policy "latest"')
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=TIMEOUT,
        help="for each answer of the broker (default: %(default)g)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Publish the message, say who has heard it, and return the exit status."""
    try:
        broker = RedisBroker(
            arguments.broker,
            prefix=arguments.prefix,
            sharded=arguments.sharded,
            timeout=arguments.timeout,
        )
        topic = check_topic(arguments.topic)
        for text in (arguments.message, arguments.key or ""):
            _check_text(text)
        if arguments.json:
            decode_json(arguments.message)
    except (ImportError, ValueError, InvalidMessage) as exc:
        raise CommandError(str(exc)) from exc
    message = Message(
        topic, arguments.message, uuid4().hex, is_json=arguments.json, key=arguments.key
    )
    try:
        receipt = trio.run(_publish, broker, message)
    except BrokerUnavailable as exc:
        raise CommandError(str(exc), NO_BROKER) from exc
    print(_told(receipt))
    return 0


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise CommandError(f"a message and its key are text, this is not UTF-8: {text!r}") from exc


async def _publish(broker: RedisBroker, message: Message) -> Receipt:
    async with broker.open(_Nobody()) as session:
        return await session.publish(message, None)


def _told(receipt: Receipt) -> str:
    processes = "1 process" if receipt.sessions == 1 else f"{receipt.sessions} processes"
    position = receipt.position
    where = "" if position is None else f", as {position.offset} of epoch {position.epoch}"
    return f"published to {processes}{where}"


class _Nobody:
    """Listens to nothing, so nothing is delivered."""

    def deliver(self, message: Message) -> None: ...

    def lapse(self, topic: str) -> None: ...

    def presence_changed(self, event: PresenceEvent) -> None: ...
