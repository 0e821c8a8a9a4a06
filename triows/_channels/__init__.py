"""Topics: who has joined them in this process, and what is published to them."""

from triows._channels._channels import Channels, ThreadChannels
from triows._channels._hub import PROCESSES, Hub
from triows._channels._membership import Joined
from triows._channels._memberships import Memberships
from triows._channels._settings import Since, check_topic
from triows._channels._statistics import ChannelStatistics, Published
from triows._channels._subscription import Subscription

__all__ = [
    "PROCESSES",
    "ChannelStatistics",
    "Channels",
    "Hub",
    "Joined",
    "Memberships",
    "Published",
    "Since",
    "Subscription",
    "ThreadChannels",
    "check_topic",
]
