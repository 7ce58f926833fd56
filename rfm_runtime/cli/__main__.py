"""`python -m rfm_runtime.cli` is `rfm-runtime`."""

from rfm_runtime.cli import main

main()
