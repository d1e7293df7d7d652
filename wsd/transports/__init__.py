"""One file per kind of client; each offers a room the same member interface."""
