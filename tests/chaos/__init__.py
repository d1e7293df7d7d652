"""The daemon under faults: kills, stops, resets, failpoints, a full disk; and who checks it."""
