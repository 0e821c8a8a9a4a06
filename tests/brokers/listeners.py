"""Who listens to a broker in tests."""

from triows._broker import Message, PresenceEvent


class Recorder:
    """Notes everything that it hears."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.lapses: list[str] = []
        self.events: list[PresenceEvent] = []

    def deliver(self, message: Message) -> None:
        """Note a message."""
        self.messages.append(message)

    def lapse(self, topic: str) -> None:
        """Note a gap."""
        self.lapses.append(topic)

    def presence_changed(self, event: PresenceEvent) -> None:
        """Note who came or went."""
        self.events.append(event)
