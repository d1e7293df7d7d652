"""wsd: a chat daemon for a website's visitors."""

__version__ = "0.1.0"
