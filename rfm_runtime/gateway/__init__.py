"""WebSocket and HTTP face of the broker: a thin shell around `core.sessions`. Any number of them."""
