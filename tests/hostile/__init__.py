"""Hostile and broken clients in full size, against the real daemon: ``bin/test hostile``."""
