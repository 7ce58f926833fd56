"""The part of dask that is subclassed: its own annotations leave it out."""
