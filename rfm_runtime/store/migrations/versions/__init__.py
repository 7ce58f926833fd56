"""Revision "2" makes schema version 2 of version 1, and so on. A released one is never changed."""
