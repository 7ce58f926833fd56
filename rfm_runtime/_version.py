"""The one place the version is written; the build and `rfm-runtime --version` read it."""

__version__ = "0.1.0"
