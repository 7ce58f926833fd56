"""ZeroMQ: every socket with its options and their reasons, the raw drain, request and reply."""
