"""Every decision of the runtime, as pure functions of state, message and time.

`operations` is the broker's mind, `tiles` the engine's, `sessions` the gateway's; `reports` looks back at what was;
`resources` and `timing` are shared.
Nothing here performs I/O, reads a clock, draws a random number or starts a thread.
"""
