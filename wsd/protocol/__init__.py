"""Bytes in, values out: HTTP, the WebSocket handshake and frames. No sockets, no clock."""
