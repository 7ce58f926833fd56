"""Pages that commands alone make: of errors, rights and chaos runs. What they are put together from is `core.pages`."""
