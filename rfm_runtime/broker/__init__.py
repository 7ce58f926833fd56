"""The single authority on operations: a thin shell around `core.operations`."""
