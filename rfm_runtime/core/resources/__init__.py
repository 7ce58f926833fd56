"""What follows from measured resources: whether a process is healthy (`health`), and what would help (`advice`)."""
