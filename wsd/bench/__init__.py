"""``wsd bench``: what this machine's wsd carries, measured on a daemon of its own."""
