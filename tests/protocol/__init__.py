"""Tests of wsd.protocol: bytes in, values out."""
