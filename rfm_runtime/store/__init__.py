"""The journal: what anybody was told is on disk. SQLite, and memory by explicit choice."""
