"""Who may connect: the runtime's own token."""
