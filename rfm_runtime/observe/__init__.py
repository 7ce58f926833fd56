"""What the runtime says about itself: structured logs, metrics, the identity and health of processes."""
