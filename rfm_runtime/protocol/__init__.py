"""Every message as a typed struct, and the only parsers of untrusted input.

`operation`: what is said about an operation, on every hop. `messages`, `wire`, `codes`: `rfm.v1`, between
watchers and gateways. `internal`: `rfm.zmq.v1`, between the runtime's processes. `limits`: sizes.
"""
