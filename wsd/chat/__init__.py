"""The product: rooms, guests, commands and events; no sockets."""
