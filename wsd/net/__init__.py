"""The event loop, listeners and connections; nothing about chat."""
