"""The client: `AsyncClient`, `Client`, and a connection that resumes where it was."""
