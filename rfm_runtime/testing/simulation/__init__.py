"""The three cores, clients and programs that report, on a simulated network, clock and disk; one seed, one history.

`schedule` makes the steps of a history from a seed, `world` carries them out and looks at the invariants after each,
`runner` runs tens of thousands, makes a failing history small and replays it, `mutants` breaks rules on purpose.
`python -m rfm_runtime.testing.simulation --help`. No process, socket, file or clock takes part.
"""
