"""The hub process, which orders and stores every event, and the workers' link to it."""
