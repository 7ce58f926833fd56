"""The broker's mind: which operations exist, who owns them, how far they are, what may be said about them.

`hub.Hub` is the whole of it: `handle(message, now) -> commands`. `table` holds the states, `record` one
operation, `progress` the merge and the ETA, `schedule` who runs next, `claims` owners and their generations,
`queries` what is answered from committed state.
"""
