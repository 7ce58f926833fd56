"""Public help for tests: a real runtime in a folder of its own."""
