"""A program's own operations: `ProgressReporter`, `progress`, `track` and what carries them to the broker.

The program's threads only set attributes; one background thread looks at them ten times a second, shows the local
bar and talks to the broker through `core.reporting.Desk`. Nothing here ever blocks the program or raises into it.
"""
