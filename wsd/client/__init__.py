"""A client for bots and backends: blocking, without threads, with the recovery that browsers have.

    from wsd.client import Client

    with Client("https://chat.example", name="bot", token_file="bot.token") as chat:
        chat.join("lobby")
        for message in chat.messages():
            chat.say("lobby", f"hello {message.name}")

docs/python-client.md has the whole.  Of the daemon it uses the protocol layer and nothing else.
"""

from wsd.client.client import Client
from wsd.client.errors import ClientError, Refused, Stopped, TimedOut
from wsd.client.events import (
    Delete,
    Edit,
    Event,
    Excluded,
    Gap,
    Message,
    Mode,
    Other,
    Page,
    Presence,
    Sent,
    Typing,
)

__all__ = [
    "Client",
    "ClientError",
    "Delete",
    "Edit",
    "Event",
    "Excluded",
    "Gap",
    "Message",
    "Mode",
    "Other",
    "Page",
    "Presence",
    "Refused",
    "Sent",
    "Stopped",
    "TimedOut",
    "Typing",
]
