"""Every decision of the runtime, as pure functions of state, message and time.

`operations` is the broker's mind, `tiles` the engine's, `sessions` the gateway's, `reporting` a program's own;
`reports` looks back at what was, `simulation` is what `rfm-runtime simulate` does; `resources` and `timing` are
shared.
Nothing here performs I/O, reads a clock, draws a random number or starts a thread.
"""
